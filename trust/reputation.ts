/** What the platform knows of how agents behave, as the reputation job last wrote it down. */
import type pg from 'pg';
import { reputationTiers, type ReputationTier } from '../domain/gateway.ts';
import { micros, type Micros } from '../domain/money.ts';
import { reputationOf, tierBounds, type Reputation } from '../domain/reputation.ts';
import { remembered } from '../platform/remembered.ts';

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
  /** The last one of the page before; left out for the first page. */
  readonly after?: { readonly rank: number; readonly listedScore: number; readonly address: string };
  readonly minScore?: number;
  readonly tier?: ReputationTier;
}

export interface Leaderboard {
  /** `listedScore` is the one they are sorted by, as it was last written down. */
  readonly agents: readonly (AgentReputation & { readonly rank: number; readonly listedScore: number })[];
  /** Others follow. */
  readonly more: boolean;
  /** Everybody, whatever the filter; up to {@link freshMs} old. */
  readonly total: number;
  readonly tiers: Readonly<Record<ReputationTier, number>>;
}

export interface ReputationReader {
  /** In the order asked; unknown agents are missing. */
  of(addresses: readonly string[]): Promise<AgentReputation[]>;
  /** Best first; those that were never scored are not among them. With a tier, ranks may be as old as the totals. */
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
const columns = `g.address, g.created_at, ${names.map((name) => `s.${name}`).join(', ')}`;
const ofSql = `SELECT ${columns} FROM agent g LEFT JOIN agent_stats s ON s.address = g.address
                WHERE g.deleted_at IS NULL AND g.address = ANY ($1)`;

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

/** Totals change slowly, and counting reads everybody: whoever asks within this time gets the same answer. */
const freshMs = 5_000;

/** A tier is taken from the score before it was rounded to a tenth, so it reaches so far beyond its bounds. */
const ROUNDING = 0.05;
const topOf: Readonly<Record<ReputationTier, number>> = Object.fromEntries(reputationTiers.map((tier) =>
  [tier, tierBounds[tier][1] + ROUNDING])) as Record<ReputationTier, number>;

interface Counts {
  readonly total: number;
  readonly tiers: Readonly<Record<ReputationTier, number>>;
  /** How many have a better score than any agent of the tier. */
  readonly above: Readonly<Record<ReputationTier, number>>;
}

const countsSql = `
SELECT coalesce(s.tier, 'new') AS tier, count(*) AS count, ${reputationTiers.map((tier) =>
  `count(*) FILTER (WHERE s.score > ${topOf[tier]}) AS above_${tier}`).join(', ')}
  FROM agent g LEFT JOIN agent_stats s ON s.address = g.address WHERE g.deleted_at IS NULL GROUP BY 1`;

async function countAll(pool: pg.Pool): Promise<Counts> {
  const { rows } = await pool.query<Record<string, string>>({ name: 'reputation-tiers', text: countsSql });
  const sumOf = (column: string): number => rows.reduce((sum, row) => sum + Number(row[column]), 0);
  const byTier = (of: (tier: ReputationTier) => number): Record<ReputationTier, number> =>
    Object.fromEntries(reputationTiers.map((tier) => [tier, of(tier)])) as Record<ReputationTier, number>;
  return { total: sumOf('count'), tiers: byTier((name) => Number(rows.find((row) => row['tier'] === name)?.['count'] ?? 0)),
    above: byTier((name) => sumOf(`above_${name}`)) };
}

/**
 * A page of the board out of the index: it is entered where the page begins and left where it ends. Ranks go on from those before it.
 */
function boardSql({ limit, minScore, tier, after, rankBefore }: LeaderboardFilter & { readonly rankBefore: number }) {
  const values: unknown[] = [rankBefore, limit + 1];
  const given = (value: unknown): string => `$${values.push(value)}`;
  const where = ['g.deleted_at IS NULL'];
  if (minScore !== undefined) where.push(`s.score >= ${given(minScore)}`);
  if (tier !== undefined) where.push(`s.score <= ${given(topOf[tier])}`, `s.score >= ${given(tierBounds[tier][0] - ROUNDING)}`);
  if (after !== undefined) {
    const [score, address] = [given(after.listedScore), given(after.address)];
    where.push(`s.score <= ${score}`, `(s.score < ${score} OR s.address > ${address})`);
  }
  const text = `
    SELECT rank, address, created_at, ${names.join(', ')} FROM (
      SELECT $1::bigint + row_number() OVER (ORDER BY s.score DESC, s.address) AS rank, ${columns}
        FROM agent_stats s JOIN agent g ON g.address = s.address WHERE ${where.join(' AND ')}) ranked
     ${tier === undefined ? '' : `WHERE tier = ${given(tier)}`} ORDER BY rank LIMIT $2`;
  return { text, values };
}

/** Creates the reader. */
export function createReputationReader({ pool }: { pool: pg.Pool }): ReputationReader {
  const counts = remembered(() => countAll(pool), freshMs);
  return {
    async of(addresses) {
      const { rows } = await pool.query<StatsRow>({ name: 'reputation-of', text: ofSql, values: [addresses] });
      const known = new Map(rows.map((row) => [row.address, toReputation(row)]));
      return addresses.flatMap((address) => known.get(address) ?? []);
    },

    async leaderboard({ limit, minScore, tier, after }) {
      const { total, tiers, above } = await counts();
      const rankBefore = after?.rank ?? (tier === undefined ? 0 : above[tier]);
      const { text, values } = boardSql({ limit, minScore, tier, after, rankBefore });
      const { rows } = await pool.query<StatsRow & { rank: string }>({ text, values });
      const agents = rows.slice(0, limit).map((row) => ({ ...toReputation(row), rank: Number(row.rank), listedScore: row.score ?? 0 }));
      return { agents, more: rows.length > limit, total, tiers };
    },
  };
}
