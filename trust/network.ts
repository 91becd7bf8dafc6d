/** The size of the network in four numbers, for the front page. Counted at most every few seconds, whoever asks. */
import type pg from 'pg';
import { micros, type Micros } from '../domain/money.ts';
import { remembered } from '../platform/remembered.ts';

export interface NetworkStats {
  readonly totalAgents: number;
  readonly totalServices: number;
  /** Settled payments. */
  readonly totalTransactions: number;
  readonly totalVolume: Micros;
  readonly updatedAt: Date;
}

const freshMs = 5_000;

// The reputation job counts every payment once at its seller; summing its rows is cheap where counting the postings is not.
const statsSql = `
SELECT (SELECT count(*) FROM agent WHERE deleted_at IS NULL) AS agents,
       (SELECT count(*) FROM service WHERE active AND deleted_at IS NULL) AS services,
       coalesce(sum(settled_count), 0)::bigint AS transactions, coalesce(sum(volume_micros), 0)::bigint AS volume FROM agent_stats`;

/** Creates the counter; its answers are at most {@link freshMs} behind the rows, which are themselves up to half a minute old. */
export function createNetworkStats({ pool }: { pool: pg.Pool }): () => Promise<NetworkStats> {
  return remembered(async () => {
    const { rows: [row] } = await pool.query<{ agents: string; services: string; transactions: string; volume: string }>(
      { name: 'network-stats', text: statsSql });
    return {
      totalAgents: Number(row?.agents ?? 0), totalServices: Number(row?.services ?? 0), totalTransactions: Number(row?.transactions ?? 0),
      totalVolume: micros(row?.volume ?? 0), updatedAt: new Date(),
    };
  }, freshMs);
}
