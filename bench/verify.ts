/** After a run: what does the ledger say? A call counts only when its seller was really paid. */
import type pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';

/** A moment in the ledger; runs are compared with what was posted after it. */
export interface LedgerMark {
  readonly postingId: string;
}

export interface LedgerFigures {
  /** What was captured for the sellers of the case since the mark, in micros. */
  readonly paidMicros: bigint;
  /** Calls that were accepted and are neither settled nor released after the wait. */
  readonly stuck: number;
}

/** Longer than the platform's sweeper needs to find what was lost. */
const QUIET_MAX_MS = 45_000;

export async function markLedger(pool: pg.Pool): Promise<LedgerMark> {
  const { rows } = await pool.query<{ id: string }>('SELECT coalesce(max(id), 0)::text AS id FROM posting');
  return { postingId: rows[0]?.id ?? '0' };
}

/** Waits until no call is under way, then counts what the payees received since the mark. */
export async function readLedger(pool: pg.Pool, mark: LedgerMark, payees: readonly string[]): Promise<LedgerFigures> {
  const stuck = await waitUntilQuiet(pool);
  const { rows } = await pool.query<{ paid: string }>(
    `SELECT coalesce(sum(p.amount), 0)::text AS paid FROM posting p JOIN account a ON a.id = p.credit_account
      WHERE p.kind = 'capture' AND p.id > $1 AND a.owner = ANY ($2)`,
    [mark.postingId, payees],
  );
  return { paidMicros: BigInt(rows[0]?.paid ?? 0), stuck };
}

/** Sum of what the agents own and can spend; the rise of it over a run must be what the postings say. */
export async function availableOf(pool: pg.Pool, owners: readonly string[]): Promise<bigint> {
  const { rows } = await pool.query<{ sum: string }>('SELECT coalesce(sum(available), 0)::text AS sum FROM account WHERE owner = ANY ($1)',
    [owners]);
  return BigInt(rows[0]?.sum ?? 0);
}

async function waitUntilQuiet(pool: pg.Pool): Promise<number> {
  const until = Date.now() + QUIET_MAX_MS;
  for (;;) {
    const { rows } = await pool.query<{ open: string }>(
      `SELECT count(*)::text AS open FROM gateway_call WHERE state IN ('accepted', 'planned', 'delivered')`);
    const open = Number(rows[0]?.open ?? 0);
    if (open === 0 || Date.now() > until) return open;
    await sleep(200);
  }
}
