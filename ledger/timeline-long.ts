/** What happened to a long call, as a timeline needs it: with whole microseconds, page by page. */
import type pg from 'pg';
import { FIRST, type After } from './timeline.ts';
import { query } from './query.ts';

/** An event of a long call. */
export interface TimelineLongEvent {
  readonly version: number;
  readonly atMicros: bigint;
  readonly step: string;
  readonly role: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Row { version: number; at_micros: string; step: string; role: string; data: Record<string, unknown> }

const eventsSql = {
  name: 'timeline-long-call',
  text: `
SELECT version, (extract(epoch FROM created_at) * 1000000)::bigint AS at_micros, step, role, data FROM long_call_event
 WHERE call_id = $1 AND step <> ALL ($5) AND ($6::text IS NULL OR coalesce(data ->> 'seller', $6) = $6)
   AND (created_at, version) > (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3::bigint)
 ORDER BY created_at, version LIMIT $4`,
};

/**
 * Events of a long call; none of any other call. Errors: unavailable.
 * @param without these steps. @param seller only what this one may know, which is not who else was asked; null: everything.
 */
export async function readTimelineLong(pool: pg.Pool, id: string, { after = FIRST, limit, without, seller }: { readonly after?: After;
    readonly limit: number; readonly without: readonly string[]; readonly seller: string | null }): Promise<TimelineLongEvent[]> {
  const values = [id, after.atMicros.toString(), after.id.toString(), limit, without, seller];
  const rows = await query<Row>(pool, { ...eventsSql, values });
  return rows.map((row) => ({ version: row.version, atMicros: BigInt(row.at_micros), step: row.step, role: row.role, data: row.data }));
}
