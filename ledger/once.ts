import type pg from 'pg';
import { SuretyError } from '../domain/errors.ts';
import type { IdempotencyClaim } from '../domain/gateway.ts';
import { withSqlErrors } from './sql-errors.ts';

/** Whose key it is, and what the request makes. */
export interface OnceSpec {
  /** Keys of different owners never meet. */
  readonly owner: string;
  readonly claim: IdempotencyClaim | null;
  readonly resourceId: string;
}

/**
 * Does a movement and remembers its answer under the idempotency key, in one transaction. The same key and request again gives the
 * first answer; a request that comes while the first is under way waits for it. Without a key the movement is simply done.
 * Errors: idempotency_mismatch, unavailable, and those of `run`.
 * @param run gets the connection of the transaction; its answer must be JSON.
 */
export function once<T>(pool: pg.Pool, { owner, claim, resourceId }: OnceSpec, run: (client: pg.PoolClient) =>
    Promise<T>): Promise<{ answer: T; replayed: boolean }> {
  return withSqlErrors(async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const earlier = claim === null ? null : await take(client, owner, claim, resourceId);
      const answer = earlier === null ? await run(client) : (earlier.answer as T);
      if (claim !== null && earlier === null) {
        await client.query('UPDATE idempotency SET answer = $3 WHERE agent_address = $1 AND key = $2',
          [owner, claim.key, JSON.stringify(answer)]);
      }
      await client.query('COMMIT');
      client.release();
      return { answer, replayed: earlier !== null };
    } catch (error) {
      const undone = await client.query('ROLLBACK').then(() => true, () => false);
      client.release(!undone);
      throw error;
    }
  });
}

/** Takes the key, or finds what it was used for. The insert waits while another transaction holds the same key. */
async function take(client: pg.PoolClient, owner: string, claim: IdempotencyClaim,
    resourceId: string): Promise<{ answer: unknown } | null> {
  const taken = await client.query(
    'INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
    [owner, claim.key, claim.requestHash, resourceId],
  );
  if (taken.rowCount === 1) return null;
  const { rows } = await client.query<{ request_hash: string; answer: unknown }>(
    'SELECT request_hash, answer FROM idempotency WHERE agent_address = $1 AND key = $2', [owner, claim.key],
  );
  const earlier = rows[0];
  if (earlier === undefined) throw new SuretyError('idempotency_in_progress',
    'The first request with this Idempotency-Key has just been undone.');
  if (earlier.request_hash !== claim.requestHash) throw new SuretyError('idempotency_mismatch',
    'This Idempotency-Key was used before with a different request.');
  return { answer: earlier.answer };
}
