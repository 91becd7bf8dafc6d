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
  /** The place of the last one of the page before; null for the first page. */
  readonly after: ListingPlace | null;
  readonly limit: number;
  readonly offset: number;
}

/** Where a service stands in a list, by the two values of its order. */
export interface ListingPlace {
  readonly first: string;
  readonly second: string;
  readonly id: string;
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
  readonly place: ListingPlace;
}

interface ListingRow {
  id: string; agent_address: string; type: string; name: string; description: string; price_micros: string; endpoint: string;
  active: boolean; idempotent: boolean; refundable: boolean; max_duration_secs: number | null;
  metadata: JsonObject; created_at: Date; updated_at: Date; agent_name: string; verified: boolean; score: number; tier: string | null;
  settled: string; failed: string; value: number; place_first: string; place_second: string;
}

/** What a proof of control adds to the score when services are ranked. */
const verifiedBonus = 10;

/**
 * How each order sorts: upwards by two values of the row, and then by its id, so that the three name a place in the list. By price within
 * one type, or among all, the index has them in order; the other two orders sort every service that fits.
 */
const orders: Readonly<Record<SortOrder, readonly [first: string, firstType: string, second: string, secondType: string]>> = {
  price: ['price_micros', 'bigint', '-score', 'float8'],
  reputation: ['-ranked_score', 'float8', 'price_micros', 'bigint'],
  value: ['-value', 'float8', 'price_micros', 'bigint'],
};

const ofService = [
  'id', 'agent_address', 'type', 'name', 'description', 'price_micros', 'endpoint', 'active', 'idempotent', 'refundable',
  'max_duration_secs', 'metadata', 'created_at', 'updated_at',
];
const listed = [...ofService, 'agent_name', 'verified', 'score', 'tier', 'settled', 'failed'].join(', ');

/** Without a name: every question has conditions of its own, and by them Postgres chooses the index. */
function statementOf(query: DiscoveryQuery) {
  const { sortBy, type, minPriceMicros, maxPriceMicros, includeInactive, verifiedOnly, after, limit, offset } = query;
  const values: unknown[] = [];
  const given = (value: unknown): string => `$${values.push(value)}`;
  const [first, firstType, second, secondType] = orders[sortBy];
  const where = ['s.deleted_at IS NULL', 'a.deleted_at IS NULL'];
  if (!includeInactive) where.push('s.active');
  if (verifiedOnly) where.push('a.proven_at IS NOT NULL');
  if (type !== undefined) where.push(`s.type = ${given(type)}`);
  if (minPriceMicros !== undefined) where.push(`s.price_micros >= ${given(minPriceMicros.toString())}`);
  if (maxPriceMicros !== undefined) where.push(`s.price_micros <= ${given(maxPriceMicros.toString())}`);
  if (after !== null && sortBy === 'price') where.push(`s.price_micros >= ${given(after.first)}`);
  const place = after === null ? 'true' : `(${first}, ${second}, id) > (
        ${given(after.first)}::${firstType}, ${given(after.second)}::${secondType}, ${given(after.id)})`;
  const text = `
    SELECT ${listed}, value, (${first})::text AS place_first, (${second})::text AS place_second FROM (
      SELECT ${listed}, ranked_score, ranked_score * 1000000 / price_micros AS value FROM (
        SELECT ${ofService.map((column) => `s.${column}`).join(', ')}, a.name AS agent_name, a.proven_at IS NOT NULL AS verified,
               coalesce(r.score, ${freshReputation.score}) AS score, r.tier, coalesce(r.score, ${freshReputation.score})
               + CASE WHEN a.proven_at IS NULL THEN 0 ELSE ${verifiedBonus} END AS ranked_score,
               coalesce(r.settled_count, 0) AS settled, coalesce(r.failed_count, 0) AS failed
          FROM service s JOIN agent a ON a.address = s.agent_address LEFT JOIN agent_stats r ON r.address = s.agent_address
         WHERE ${where.join(' AND ')}) l) listed
     WHERE ${place} ORDER BY ${first}, ${second}, id LIMIT ${given(limit)} OFFSET ${given(offset)}`;
  return { text, values };
}

function toListing(row: ListingRow, sortBy: SortOrder): ServiceListing {
  const settled = Number(row.settled);
  const attempts = settled + Number(row.failed);
  return {
    id: row.id, agentAddress: row.agent_address, type: row.type, name: row.name, description: row.description,
    priceMicros: micros(row.price_micros), endpoint: row.endpoint, active: row.active, idempotent: row.idempotent,
    refundable: row.refundable, maxDurationSecs: row.max_duration_secs, metadata: row.metadata,
    createdAt: row.created_at, updatedAt: row.updated_at, agentName: row.agent_name, reputationScore: row.score,
    reputationTier: (row.tier ?? freshReputation.tier) as ReputationTier, successRate: attempts === 0 ? 1 : settled / attempts,
    transactionCount: settled, valueScore: sortBy === 'value' ? row.value : null, verified: row.verified,
    place: { first: row.place_first, second: row.place_second, id: row.id },
  };
}

/** A page of services. */
export async function discover(pool: pg.Pool, query: DiscoveryQuery): Promise<ServiceListing[]> {
  const { rows } = await pool.query<ListingRow>(statementOf(query));
  return rows.map((row) => toListing(row, query.sortBy));
}
