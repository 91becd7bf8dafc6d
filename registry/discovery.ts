/** What is on offer, for buyers who look around. Everything is sorted before it is cut into pages. */
import type pg from 'pg';
import type { ReputationTier } from '../domain/gateway.ts';
import { micros, type Micros } from '../domain/money.ts';
import { freshReputation } from '../domain/reputation.ts';
import type { JsonObject, ServiceRecord } from './services.ts';

export const sortOrders = ['price', 'reputation', 'value'] as const;
export type SortOrder = (typeof sortOrders)[number];

export interface DiscoveryQuery {
  readonly type?: string;
  readonly minPriceMicros?: Micros;
  readonly maxPriceMicros?: Micros;
  readonly sortBy: SortOrder;
  /** Show inactive services as well. */
  readonly includeInactive: boolean;
  /** Only services of agents that proved control of their address. */
  readonly verifiedOnly: boolean;
  readonly limit: number;
  readonly offset: number;
}

export interface ServiceListing extends ServiceRecord {
  readonly agentName: string;
  /** 0 to 100. */
  readonly reputationScore: number;
  readonly reputationTier: ReputationTier;
  /** 0 to 1. */
  readonly successRate: number;
  readonly transactionCount: number;
  /** Score for each USDC of the price, with the bonus of verified sellers; only when sorted by value. */
  readonly valueScore: number | null;
  /** The seller proved control of its address. */
  readonly verified: boolean;
}

interface ListingRow {
  id: string; agent_address: string; type: string; name: string; description: string; price_micros: string; endpoint: string;
  active: boolean; idempotent: boolean; refundable: boolean;
  metadata: JsonObject; created_at: Date; updated_at: Date; agent_name: string; verified: boolean; score: number; tier: string | null;
  settled: string; failed: string; value: number;
}

/** What a proof of control adds to the score when services are ranked. */
const verifiedBonus = 10;

const orders: Readonly<Record<SortOrder, string>> = {
  price: 'price_micros, score DESC, id',
  reputation: 'ranked_score DESC, price_micros, id',
  value: 'value DESC, price_micros, id',
};

const ofService = [
  'id', 'agent_address', 'type', 'name', 'description', 'price_micros', 'endpoint', 'active', 'idempotent', 'refundable', 'metadata',
  'created_at', 'updated_at',
];
const listed = [...ofService, 'agent_name', 'verified', 'score', 'tier', 'settled', 'failed'].join(', ');

const sql = (order: SortOrder): { name: string; text: string } => ({
  name: `discovery-${order}`,
  text: `
SELECT ${listed}, value FROM (
  SELECT ${listed}, ranked_score, ranked_score * 1000000 / price_micros AS value FROM (
    SELECT ${ofService.map((column) => `s.${column}`).join(', ')},
           a.name AS agent_name, a.proven_at IS NOT NULL AS verified,
           coalesce(r.score, ${freshReputation.score}) AS score, r.tier,
           coalesce(r.score, ${freshReputation.score}) + CASE WHEN a.proven_at IS NULL THEN 0 ELSE ${verifiedBonus} END AS ranked_score,
           coalesce(r.settled_count, 0) AS settled, coalesce(r.failed_count, 0) AS failed
      FROM service s JOIN agent a ON a.address = s.agent_address LEFT JOIN agent_stats r ON r.address = s.agent_address
     WHERE s.deleted_at IS NULL AND a.deleted_at IS NULL AND ($1 OR s.active) AND ($2::text IS NULL OR s.type = $2)
       AND ($3::bigint IS NULL OR s.price_micros >= $3) AND ($4::bigint IS NULL OR s.price_micros <= $4) AND (NOT $5 OR a.proven_at IS NOT NULL)) l) listed
 ORDER BY ${orders[order]} LIMIT $6 OFFSET $7`,
});
const statements = Object.fromEntries(sortOrders.map((order) => [order, sql(order)])) as Record<SortOrder, { name: string; text: string }>;

function toListing(row: ListingRow, sortBy: SortOrder): ServiceListing {
  const settled = Number(row.settled);
  const attempts = settled + Number(row.failed);
  return {
    id: row.id, agentAddress: row.agent_address, type: row.type, name: row.name, description: row.description,
    priceMicros: micros(row.price_micros),
    endpoint: row.endpoint, active: row.active, idempotent: row.idempotent, refundable: row.refundable, metadata: row.metadata,
    createdAt: row.created_at, updatedAt: row.updated_at,
    agentName: row.agent_name, reputationScore: row.score, reputationTier: (row.tier ?? freshReputation.tier) as ReputationTier,
    successRate: attempts === 0 ? 1 : settled / attempts, transactionCount: settled, valueScore: sortBy === 'value' ? row.value
      : null, verified: row.verified,
  };
}

/** A page of services. */
export async function discover(pool: pg.Pool, query: DiscoveryQuery): Promise<ServiceListing[]> {
  const { sortBy, type, minPriceMicros, maxPriceMicros, includeInactive, verifiedOnly, limit, offset } = query;
  const values = [includeInactive, type ?? null, minPriceMicros?.toString() ?? null, maxPriceMicros?.toString() ?? null,
    verifiedOnly, limit, offset];
  const { rows } = await pool.query<ListingRow>({ ...statements[sortBy], values });
  return rows.map((row) => toListing(row, sortBy));
}
