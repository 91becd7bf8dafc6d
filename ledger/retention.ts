/**
 * Removes what has been kept long enough, in small batches that lock nothing anybody waits for: each finds its rows by an index, skips
 * those that somebody works with, and is a transaction of its own. Books never leave, and neither do sessions of single calls: each
 * explains the hold of its call, and the audit asks for it.
 */
import type pg from 'pg';
import type { RetentionKind } from '../domain/retention.ts';
import { query } from './query.ts';

/** How long each kind is kept, in milliseconds. */
export type RetentionTimes = Readonly<Record<RetentionKind, number>>;

/** Removes old rows. */
export interface Retention {
  /**
   * Removes what is due of one kind, batch after batch, until nothing is left or the time is up. Errors: unavailable.
   * @returns how many rows were removed, or, of answers, emptied.
   */
  remove(kind: RetentionKind): Promise<number>;
}

/** What the removal needs, and how gently it goes about it. */
export interface RetentionOptions {
  readonly pool: pg.Pool;
  readonly keptMs: RetentionTimes;
  readonly batchMax?: number;
  /** Between two batches, so that the others come before us. */
  readonly pauseMs?: number;
  /** After this time no further batch is begun. */
  readonly budgetMs?: number;
}

const BATCH_MAX = 1_000;
const PAUSE_MS = 20;
const BUDGET_MS = 1_000;

const bound = `now() - $1 * interval '1 millisecond'`;

/** Parameters: milliseconds to keep, rows at most, kind. Each writes its mark with what it removes. `done` says: nothing more is due. */
const statements: Readonly<Record<RetentionKind, string>> = {
  idempotency_keys: removal({ table: 'idempotency', age: 'created_at' }),
  // A timeline is made of the events of its payment, so those stay; calls keep their own times. Undelivered ones wait, however old.
  call_events: removal({ table: 'outbox', age: 'delivered_at', only: `topic LIKE 'call.%'` }),
  attempt_refusals: removal({ table: 'payment_refusal', age: 'created_at' }),
  ownership_challenges: removal({ table: 'ownership_challenge', age: 'expires_at' }),
  seller_failures: removal({ table: 'seller_failure', age: 'failed_at', returning: 'seller', also: `, counted AS (
    INSERT INTO seller_failure_past AS past (seller, failures) SELECT seller, count(*) FROM gone GROUP BY seller ORDER BY seller
    ON CONFLICT (seller) DO UPDATE SET failures = past.failures + excluded.failures)` }),
  // By id, which begins with the time: calls need no index for this, which each of them would pay for. What a compensation has to hand
  // to its seller stays until that is over.
  answers: `
    WITH batch AS (
      SELECT id FROM gateway_call
       WHERE id > coalesce((SELECT after_id FROM retention_mark WHERE kind = $3), 'call_')
         AND id < 'call_' || lpad(to_hex((extract(epoch FROM now()) * 1000 - $1)::bigint), 11, '0')
       ORDER BY id LIMIT $2),
    emptied AS (UPDATE gateway_call c SET response = NULL FROM batch
                 WHERE c.id = batch.id AND c.response IS NOT NULL AND c.state IN ('settled', 'released')
                   AND coalesce(c.undo_state, 'done') NOT IN ('registered', 'pending') RETURNING c.id),
    marked AS (INSERT INTO retention_mark AS mark (kind, removed_before, after_id)
               SELECT $3, ${bound}, (SELECT max(id) FROM batch)
               ON CONFLICT (kind) DO UPDATE SET removed_before = greatest(mark.removed_before, excluded.removed_before),
                      after_id = coalesce(excluded.after_id, mark.after_id))
    SELECT (SELECT count(*) FROM emptied)::integer AS removed, (SELECT count(*) FROM batch) < $2 AS done`,
};

interface Removal {
  readonly table: string;
  /** The column that has the age of a row. */
  readonly age: string;
  /** Which of the old rows; all of them when left out. */
  readonly only?: string;
  readonly returning?: string;
  /** A further part of the statement, about the rows `gone`. */
  readonly also?: string;
}

function removal({ table, age, only = 'true', returning = age, also = '' }: Removal): string {
  return `
    WITH gone AS (DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ${table} WHERE ${age} < ${bound} AND ${only} ORDER BY ${age} LIMIT $2 FOR UPDATE SKIP LOCKED))
      RETURNING ${returning}),
    marked AS (INSERT INTO retention_mark AS mark (kind, removed_before) SELECT $3, ${bound}
               ON CONFLICT (kind) DO UPDATE SET removed_before = greatest(mark.removed_before, excluded.removed_before))${also}
    SELECT (SELECT count(*) FROM gone)::integer AS removed, (SELECT count(*) FROM gone) < $2 AS done`;
}

/** Creates what the job of retention calls. Several may run at once: each takes rows that the others have not locked. */
export function createRetention(
  { pool, keptMs, batchMax = BATCH_MAX, pauseMs = PAUSE_MS, budgetMs = BUDGET_MS }: RetentionOptions,
): Retention {
  return {
    async remove(kind) {
      const endsAt = performance.now() + budgetMs;
      let removed = 0;
      for (;;) {
        const [batch] = await query<{ removed: number; done: boolean }>(pool,
          { text: statements[kind], values: [keptMs[kind], batchMax, kind] });
        removed += batch?.removed ?? 0;
        if (batch?.done !== false || performance.now() >= endsAt) return removed;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
  };
}

/**
 * When each kind was seen to last, by the times that kinds are kept now; kinds that nobody has seen to yet are absent.
 * Errors: unavailable.
 */
export async function retentionRanAt(pool: pg.Pool, keptMs: RetentionTimes): Promise<Partial<Record<RetentionKind, Date>>> {
  const rows = await query<{ kind: RetentionKind; removed_before: Date }>(pool,
    { name: 'retention-marks', text: 'SELECT kind, removed_before FROM retention_mark' });
  return Object.fromEntries(rows.map(({ kind, removed_before: before }) => [kind, new Date(before.getTime() + keptMs[kind])]));
}
