/**
 * What a crash, or an absence of Temporal, has left unsaid to workflows: notices in Postgres that nobody has confirmed. Processes
 * claim them by lease, and back off together with Temporal.
 */
import type pg from 'pg';
import type { Logger } from '../platform/log.ts';
import type { KeptKind, KeptRow } from './keeper.ts';

/** `refused`: this one only, Temporal works. `unreachable`: the next would fare no better. */
export type Told = 'told' | 'refused' | 'unreachable';

export interface NoticesOptions {
  readonly pool: pg.Pool;
  readonly log: Logger;
  /** Tells the workflow of a row. Never rejects. */
  readonly tell: (kind: KeptKind, row: KeptRow) => Promise<Told>;
  readonly leaseMs?: number;
}

export interface Notices {
  /** One round for a shape of payment. Does nothing while it backs off. */
  sweep(kind: KeptKind): Promise<void>;
  /** Temporal has answered: no reason to wait any longer. */
  answered(): void;
}

/** Whoever wrote the notice is believed to be telling it for so long. */
const NOTICE_AGE_MS = 3_000;
/** Longer than Temporal is waited for. */
const LEASE_MS = 10_000;
const AT_ONCE = 100;
/** After a round in which nothing came through: enough to find out whether something does now. */
const AT_ONCE_WHILE_FAILING = 8;
const PAUSE_MS_MIN = 2_000;
const PAUSE_MS_MAX = 30_000;

/** gRPC codes of answers about one request: INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE. */
const ABOUT_ONE_REQUEST: readonly unknown[] = [3, 5, 6, 9, 11];

/** Whether a failure says something of Temporal, or only of the row that it was told of. */
export function toldOf(error: unknown): Exclude<Told, 'told'> {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (ABOUT_ONE_REQUEST.includes((inner as { code?: unknown }).code)) return 'refused';
  }
  return 'unreachable';
}

/** The sweeper of notices. One for all shapes: they have the same Temporal. */
export function createNotices({ pool, log, tell, leaseMs = LEASE_MS }: NoticesOptions): Notices {
  let pauseMs = 0;
  let pauseUntilMs = 0;

  const answered = (): void => {
    pauseMs = 0;
    pauseUntilMs = 0;
  };
  const backOff = (): void => {
    pauseMs = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, pauseMs * 2));
    pauseUntilMs = Date.now() + pauseMs;
  };

  /** A row that cannot be read must not hide the others. */
  async function read(kind: KeptKind, ids: readonly string[]): Promise<readonly KeptRow[]> {
    try {
      return await kind.read(ids);
    } catch (error) {
      if (ids.length === 1) {
        log.warn({ err: error, paymentId: ids[0] }, 'A payment whose workflow is to be told could not be read; it is tried again.');
        return [];
      }
      const rows: KeptRow[] = [];
      for (const id of ids) rows.push(...(await read(kind, [id])));
      return rows;
    }
  }

  return {
    answered,
    async sweep(kind) {
      if (Date.now() < pauseUntilMs) return;
      const atOnce = pauseMs > 0 ? AT_ONCE_WHILE_FAILING : AT_ONCE;
      const { rows: claimed } = await pool.query<{ payment_id: string }>({
        name: 'kept-notices-claim', text: CLAIM, values: [kind.queue, NOTICE_AGE_MS, atOnce, leaseMs],
      });
      if (claimed.length === 0) return;
      const rows = await read(kind, claimed.map(({ payment_id: id }) => id));
      const told = await Promise.all(rows.map((row) => tell(kind, row)));
      if (told.length === 0) return;
      if (!told.includes('unreachable') || told.includes('told')) answered();
      else backOff();
    },
  };
}

// Those that failed before come after those that nobody has tried.
const CLAIM = `
  UPDATE workflow_notice SET claimed_until = clock_timestamp() + $4 * interval '1 millisecond'
   WHERE payment_id IN (
     SELECT payment_id FROM workflow_notice
      WHERE kind = $1 AND noted_at < clock_timestamp() - $2 * interval '1 millisecond'
        AND (claimed_until IS NULL OR claimed_until < clock_timestamp() OR noted_at > claimed_until - $4 * interval '1 millisecond')
      ORDER BY claimed_until NULLS FIRST, noted_at LIMIT $3 FOR UPDATE SKIP LOCKED)
  RETURNING payment_id`;
