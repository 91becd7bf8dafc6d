/**
 * Leases on jobs that are no payment's (the audit, retention): every process asks for the same work, and who claims a part of it first does
 * it; until the lease has run out nobody else tries. Payments, pipelines and notices have leases in their own rows.
 */
import type pg from 'pg';

export interface ClaimsOptions {
  readonly pool: pg.Pool;
  /** Name of the sweeper; those of all processes share the claims of one name. */
  readonly job: string;
  readonly leaseMs?: number;
}

export interface Claims {
  /**
   * Claims up to `limit` rows that are not claimed.
   * @param find ids of up to so many rows, those that wait longest first. It is asked for more than `limit` when some are claimed.
   */
  take(limit: number, find: (limit: number) => Promise<readonly string[]>): Promise<string[]>;
  /** Claims this row for a whole lease from now: the work takes longer than one. */
  renew(id: string): Promise<void>;
  /** Lets go of this row before its work was done, so that others need not wait for the lease to run out. */
  release(id: string): Promise<void>;
}

/** Longer than a round takes; work waits so long again when the process that claimed it dies. */
const LEASE_MS = 10_000;

/** Claims for the sweeper of that name. */
export function createClaims({ pool, job, leaseMs = LEASE_MS }: ClaimsOptions): Claims {
  return {
    async take(limit, find) {
      const { rows: [known] } = await pool.query<{ claimed: number }>({ name: 'sweep-claimed', values: [job], text: CLAIMED });
      const ids = await find(limit + (known?.claimed ?? 0));
      if (ids.length === 0) {
        await forget(pool, job);
        return [];
      }
      const { rows } = await pool.query<{ id: string }>({ name: 'sweep-claim', text: CLAIM, values: [job, ids, limit, leaseMs] });
      return rows.map(({ id }) => id);
    },
    async renew(id) {
      await pool.query({ name: 'sweep-renew', text: RENEW, values: [job, id, leaseMs] });
    },
    async release(id) {
      await pool.query({ name: 'sweep-renew', text: RENEW, values: [job, id, 0] });
    },
  };
}

const CLAIMED = 'SELECT count(*)::integer AS claimed FROM sweep_claim WHERE job = $1 AND claimed_until > clock_timestamp()';

// In the order of ids, so that two processes never wait for one another in a ring; the oldest are chosen before that.
const CLAIM = `
  INSERT INTO sweep_claim AS c (job, id, claimed_until)
  SELECT $1, chosen.id, clock_timestamp() + $4 * interval '1 millisecond'
    FROM (SELECT found.id FROM unnest($2::text[]) WITH ORDINALITY AS found(id, place)
           WHERE NOT EXISTS (SELECT 1 FROM sweep_claim o WHERE o.job = $1 AND o.id = found.id AND o.claimed_until > clock_timestamp())
           ORDER BY found.place LIMIT $3) AS chosen
   ORDER BY chosen.id
  ON CONFLICT (job, id) DO UPDATE SET claimed_until = excluded.claimed_until WHERE c.claimed_until <= clock_timestamp()
  RETURNING id`;

const RENEW = `UPDATE sweep_claim SET claimed_until = clock_timestamp() + $3 * interval '1 millisecond' WHERE job = $1 AND id = $2`;

/** Claims of rows that are long done with. Done when it is quiet. */
async function forget(pool: pg.Pool, job: string): Promise<void> {
  await pool.query({
    name: 'sweep-forget', values: [job],
    text: `DELETE FROM sweep_claim WHERE (job, id) IN (
             SELECT job, id FROM sweep_claim
              WHERE job = $1 AND claimed_until < clock_timestamp() - interval '1 minute' FOR UPDATE SKIP LOCKED)`,
  });
}
