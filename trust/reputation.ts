/** What the platform knows of how agents behave, as the reputation job last wrote it down. */
import type pg from 'pg';
import { reputationTiers, type ReputationTier } from '../domain/gateway.ts';
import { micros, type Micros } from '../domain/money.ts';
import { reputationOf, type Reputation } from '../domain/reputation.ts';

/** The score of one agent with the facts behind it. */
export interface AgentReputation extends Reputation {
  readonly address: string;
  /** Settled payments, both directions, and failed attempts. */
  readonly totalTransactions: number;
  /** Received and paid, in micros. */
  readonly totalVolume: Micros;
  readonly successful: number;
  readonly failed: number;
  readonly counterparties: number;
  /** Of its attempts as a seller, the part that succeeded, 0 to 1; 1 when there were none. */
  readonly successRate: number;
  readonly firstSeenAt: Date;
  readonly lastActiveAt: Date | null;
  readonly calculatedAt: Date;
}

export interface LeaderboardFilter {
  readonly limit: number;
  readonly minScore?: number;
  readonly tier?: ReputationTier;
}

export interface Leaderboard {
  readonly agents: readonly (AgentReputation & { readonly rank: number })[];
  /** Everybody, whatever the filter. */
  readonly total: number;
  readonly tiers: Readonly<Record<ReputationTier, number>>;
}

export interface ReputationReader {
  /** In the order asked; unknown agents are missing. */
  of(addresses: readonly string[]): Promise<AgentReputation[]>;
  /** Best first; agents that never traded come last. */
  leaderboard(filter: LeaderboardFilter): Promise<Leaderboard>;
}

interface StatsRow {
  address: string; created_at: Date; score: number | null; tier: string | null; settled_count: string | null; bought_count: string | null;
  failed_count: string | null;
  volume_micros: string | null; spent_micros: string | null; counterparty_count: number | null; recent_successful: number | null;
  recent_failed: number | null;
  recent_volume_micros: string | null; first_active_at: Date | null; last_active_at: Date | null; updated_at: Date | null;
}

const names = [
  'score', 'tier', 'settled_count', 'bought_count', 'failed_count', 'volume_micros', 'spent_micros', 'counterparty_count',
  'recent_successful', 'recent_failed', 'recent_volume_micros', 'first_active_at', 'last_active_at', 'updated_at',
];
const columns = `
  g.address, g.created_at, ${names.map((name) => `s.${name}`).join(', ')}
  FROM agent g LEFT JOIN agent_stats s ON s.address = g.address WHERE g.deleted_at IS NULL`;

function toReputation(row: StatsRow): AgentReputation {
  const firstSeenAt = row.first_active_at !== null && row.first_active_at < row.created_at ? row.first_active_at : row.created_at;
  const calculatedAt = row.updated_at ?? new Date();
  const sold = Number(row.settled_count ?? 0);
  const bought = Number(row.bought_count ?? 0);
  const failed = Number(row.failed_count ?? 0);
  const reputation = reputationOf({
    volumeMicros: BigInt(row.recent_volume_micros ?? 0), successful: row.recent_successful ?? 0, failed: row.recent_failed ?? 0,
    counterparties: row.counterparty_count ?? 0, firstSeenAt,
  }, calculatedAt);
  return {
    ...reputation, address: row.address, totalTransactions: sold + bought + failed,
    totalVolume: micros(BigInt(row.volume_micros ?? 0) + BigInt(row.spent_micros ?? 0)),
    successful: sold + bought, failed, counterparties: row.counterparty_count ?? 0, successRate: successRate(sold, failed), firstSeenAt,
    lastActiveAt: row.last_active_at, calculatedAt,
  };
}

/** Part of a seller's attempts that succeeded, 0 to 1; 1 when there were none. */
export function successRate(settled: number, failed: number): number {
  return settled + failed === 0 ? 1 : settled / (settled + failed);
}

/** Creates the reader. */
export function createReputationReader({ pool }: { pool: pg.Pool }): ReputationReader {
  return {
    async of(addresses) {
      const { rows } = await pool.query<StatsRow>({ name: 'reputation-of', text: `SELECT ${columns} AND g.address = ANY ($1)`,
        values: [addresses] });
      const known = new Map(rows.map((row) => [row.address, toReputation(row)]));
      return addresses.flatMap((address) => known.get(address) ?? []);
    },

    async leaderboard({ limit, minScore, tier }) {
      // Only scored agents are ranked, from the index; those without a row have the score of a fresh agent and tie at the end.
      const [list, counts] = await Promise.all([
        pool.query<StatsRow & { rank: string }>({
          name: 'reputation-board',
          text: `SELECT rank, address, created_at, ${names.join(', ')} FROM (
                  SELECT row_number() OVER (ORDER BY s.score DESC, g.address) AS rank, ${columns} AND s.address IS NOT NULL) ranked
                  WHERE ($1::float8 IS NULL OR score >= $1) AND ($2::text IS NULL OR tier = $2) ORDER BY rank LIMIT $3`,
          values: [minScore ?? null, tier ?? null, limit],
        }),
        pool.query<{ tier: ReputationTier; count: string }>({
          name: 'reputation-tiers',
          text: `SELECT coalesce(s.tier, 'new') AS tier, count(*) AS count FROM agent g LEFT JOIN agent_stats s ON s.address = g.address WHERE g.deleted_at IS NULL GROUP BY 1`,
        }),
      ]);
      const tiers = Object.fromEntries(reputationTiers.map((name) => [name, 0])) as Record<ReputationTier, number>;
      for (const row of counts.rows) tiers[row.tier] += Number(row.count);
      const total = Object.values(tiers).reduce((sum, count) => sum + count, 0);
      return { agents: list.rows.map((row) => ({ ...toReputation(row), rank: Number(row.rank) })), total, tiers };
    },
  };
}
