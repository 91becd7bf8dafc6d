/**
 * What happened to one payment, as the books have it: its postings and its events, oldest first and page by page. Times are whole
 * microseconds, as Postgres keeps them, so that two things of one millisecond stay in their order.
 */
import type pg from 'pg';
import { columnList, query } from './query.ts';

/** The page begins after this row; `id` is that of the row, and only counts among rows of that very microsecond. */
export interface After {
  readonly atMicros: bigint;
  readonly id: bigint;
}

/** Before everything. */
export const FIRST: After = { atMicros: -1n, id: -1n };

/** A movement of money, with the owners of its accounts; null is the world outside. */
export interface TimelinePosting {
  readonly id: bigint;
  readonly atMicros: bigint;
  readonly ref: string;
  /** The ref that was asked for; a reversal has another one of its own. */
  readonly part: string;
  readonly kind: string;
  readonly asset: string;
  readonly amountMicros: bigint;
  readonly from: string | null;
  readonly to: string | null;
  readonly note: string | null;
}

/** A change of state, from the outbox. */
export interface TimelineEvent {
  readonly id: bigint;
  readonly atMicros: bigint;
  readonly topic: string;
  readonly data: Readonly<Record<string, unknown>> | null;
}

interface PostingRow { id: string; at_micros: string; ref: string; part: string; kind: string; asset: string; amount: string;
  payer: string | null; payee: string | null; note: string | null }

const posting = ['id', 'ref', 'kind', 'asset', 'amount', 'debit_account', 'credit_account', 'note', 'created_at'];
// The kinds are named so that a deposit whose transaction happens to be called like a payment is none of its postings.
const postingsSql = {
  name: 'timeline-postings',
  text: `
WITH own AS (SELECT ${columnList(posting)}, ref AS part FROM posting
              WHERE ref = ANY ($1) AND kind IN ('hold', 'capture', 'fee', 'release')),
found AS (SELECT ${columnList(posting)}, part FROM own
          UNION ALL SELECT ${columnList(posting, 'r')}, own.ref FROM own JOIN posting r ON r.reverses = own.id)
SELECT p.id, (extract(epoch FROM p.created_at) * 1000000)::bigint AS at_micros, p.ref, p.part, p.kind,
       p.asset, p.amount, d.owner AS payer, c.owner AS payee, p.note
  FROM found p LEFT JOIN account d ON d.id = p.debit_account LEFT JOIN account c ON c.id = p.credit_account
 WHERE (p.created_at, p.id) > (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3::bigint)
 ORDER BY p.created_at, p.id LIMIT $4`,
};

/**
 * Postings with one of these refs, and those that reversed them. Errors: unavailable.
 * @param refs of the payment and of its parts; each is looked up by itself, so the order of the database's alphabet does not matter.
 */
export async function readTimelinePostings(pool: pg.Pool, refs: readonly string[],
    { after = FIRST, limit }: { readonly after?: After; readonly limit: number }): Promise<TimelinePosting[]> {
  const values = [refs, after.atMicros.toString(), after.id.toString(), limit];
  const rows = await query<PostingRow>(pool, { ...postingsSql, values });
  return rows.map((row) => ({
    id: BigInt(row.id), atMicros: BigInt(row.at_micros), ref: row.ref, part: row.part, kind: row.kind, asset: row.asset,
    amountMicros: BigInt(row.amount), from: row.payer, to: row.payee,
    note: row.note,
  }));
}

interface EventRow { id: string; at_micros: string; topic: string; data: Record<string, unknown> | null }

// The condition on the topic is that of the index outbox_by_ref; without it the whole outbox would be read.
const eventsSql = {
  name: 'timeline-events',
  text: `
SELECT id, (extract(epoch FROM created_at) * 1000000)::bigint AS at_micros, topic, data FROM outbox
 WHERE ref = $1 AND topic NOT LIKE 'call.%' AND (created_at, id) > (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3::bigint)
   AND ($5::text[] IS NULL OR topic = ANY ($5))
 ORDER BY created_at, id LIMIT $4`,
};

/**
 * Events of a payment; calls have none here, they keep their own times. Errors: unavailable.
 * @param topics only these; all when left out.
 */
export async function readTimelineEvents(pool: pg.Pool, ref: string,
    { after = FIRST, limit, topics = null }: { readonly after?: After; readonly limit: number;
    readonly topics?: readonly string[] | null }): Promise<TimelineEvent[]> {
  const values = [ref, after.atMicros.toString(), after.id.toString(), limit, topics];
  const rows = await query<EventRow>(pool, { ...eventsSql, values });
  return rows.map((row) => ({ id: BigInt(row.id), atMicros: BigInt(row.at_micros), topic: row.topic, data: row.data }));
}

interface StepRow { version: number; at_micros: string; step: string; role: string; actor: string; state: string; held: string;
  paid: string; returned: string; resolution: string | null; note: string | null }

/** What happened to a payment on the engine at one version. */
export interface TimelineStep {
  readonly version: number;
  readonly atMicros: bigint;
  readonly step: string;
  readonly role: string;
  readonly by: string;
  readonly state: string;
  readonly heldMicros: bigint;
  readonly paidMicros: bigint;
  readonly returnedMicros: bigint;
  readonly resolution: string | null;
  readonly note: string | null;
}

const stepsSql = {
  name: 'timeline-steps',
  text: `
SELECT version, (extract(epoch FROM created_at) * 1000000)::bigint AS at_micros, step, role, actor, state, held, paid,
       returned, resolution, note FROM payment_event
 WHERE payment_id = $1 AND (created_at, version) > (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3::bigint)
 ORDER BY created_at, version LIMIT $4`,
};

/** What happened to a payment on the engine. Errors: unavailable. */
export async function readTimelineSteps(pool: pg.Pool, id: string,
    { after = FIRST, limit }: { readonly after?: After; readonly limit: number }): Promise<TimelineStep[]> {
  const rows = await query<StepRow>(pool, { ...stepsSql, values: [id, after.atMicros.toString(), after.id.toString(), limit] });
  return rows.map((row) => ({
    version: row.version, atMicros: BigInt(row.at_micros), step: row.step, role: row.role, by: row.actor, state: row.state,
    heldMicros: BigInt(row.held),
    paidMicros: BigInt(row.paid), returnedMicros: BigInt(row.returned), resolution: row.resolution, note: row.note,
  }));
}
