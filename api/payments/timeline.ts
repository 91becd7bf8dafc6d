/**
 * The timeline of a payment: entries from several sources, merged by time and given out page by page. A source answers what comes
 * after a place, so nothing has to be read from its beginning again.
 */
import type pg from 'pg';
import { DEFAULT_ASSET, formatMicros } from '../../domain/money.ts';
import { readTimelineEvents, readTimelinePostings, type After, type TimelinePosting } from '../../ledger/timeline.ts';

/** What an entry is about. Their order is that among things of the same microsecond: a step comes before the money it moved. */
const ranks = { state: '1', posting: '2', attempt: '3', call: '4', ticks: '5' } as const;
export type EntryKind = keyof typeof ranks;

export interface Entry {
  readonly atMicros: bigint;
  readonly kind: EntryKind;
  /** Differs among those of its kind and microsecond: a whole number, or the id of a call. */
  readonly id: bigint | string;
  /** A sentence that a person understands. */
  readonly what: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A place in a timeline: after the entry with this time and key. */
export interface Place {
  readonly atMicros: bigint;
  readonly key: string;
}

export const BEGINNING: Place = { atMicros: -1n, key: '0' };

/** Up to `limit` entries after a place, in order. */
export type Source = (after: Place, limit: number) => Promise<readonly Entry[]>;

const DIGITS = 18;
const KEY = /^(?:[1235][0-9]{18}|4call_[0-9a-f]{24})$/;

/** The key of an entry; keys sort like the entries of one microsecond do. */
export function keyOf({ kind, id }: Pick<Entry, 'kind' | 'id'>): string {
  return ranks[kind] + (typeof id === 'string' ? id : id.toString().padStart(DIGITS, '0'));
}

/** Is this text a key that {@link keyOf} could have made? */
export function isKey(text: string): boolean {
  return KEY.test(text);
}

/** The same place for rows of one kind: all, none or some of those of that microsecond come after it. */
export function afterAmong(kind: Exclude<EntryKind, 'call'>, { atMicros, key }: Place): After {
  const rank = key.charAt(0);
  if (rank === ranks[kind]) return { atMicros, id: BigInt(key.slice(1)) };
  return { atMicros, id: rank < ranks[kind] ? -1n : BigInt('9'.repeat(DIGITS)) };
}

function compare(a: Entry, b: Entry): number {
  if (a.atMicros !== b.atMicros) return a.atMicros < b.atMicros ? -1 : 1;
  const [left, right] = [keyOf(a), keyOf(b)];
  return left === right ? 0 : left < right ? -1 : 1;
}

/** A source of entries that are at hand already, such as the few states a row remembers by its own times. */
export function fixed(entries: readonly Entry[]): Source {
  const sorted = entries.toSorted(compare);
  return (after, limit) =>
    Promise.resolve(sorted.filter((entry) => entry.atMicros > after.atMicros
    || (entry.atMicros === after.atMicros && keyOf(entry) > after.key)).slice(0, limit));
}

/** The next page of all sources together. */
export async function readTimeline(sources: readonly Source[], after: Place,
    limit: number): Promise<{ readonly entries: readonly Entry[]; readonly more: boolean }> {
  const all = (await Promise.all(sources.map((source) => source(after, limit + 1)))).flat().toSorted(compare);
  return { entries: all.slice(0, limit), more: all.length > limit };
}

/** What an address is to a payment, such as `the seller`; null for others. */
export type RoleOf = (address: string) => string | null;

/** Movements of money under these refs. */
export function postings(pool: pg.Pool, refs: readonly string[], roleOf: RoleOf): Source {
  return async (after, limit) => (await readTimelinePostings(pool, refs, { after: afterAmong('posting', after), limit }))
    .map((posting) => postingEntry(posting, roleOf));
}

/**
 * Events of the payment. `sentence` makes one of a topic such as `escrow.delivered`.
 * @param topics only these; all when left out.
 */
export function events(pool: pg.Pool, ref: string, sentence: (topic: string, data: Readonly<Record<string, unknown>>) => string,
    topics: readonly string[] | null = null): Source {
  return async (after, limit) => (await readTimelineEvents(pool, ref, { after: afterAmong('state', after), limit, topics }))
      .map(({ id, atMicros, topic, data }) => ({
    id, atMicros, kind: 'state' as const, what: sentence(topic, data ?? {}),
    data: { state: topic.slice(topic.indexOf('.') + 1), ...shownData(data ?? {}) },
  }));
}

const MONEY = /^(?:amount|deposit|remaining|spent|returned|released|refunded|paid|pricePerTick)(?:Micros)?$/;

/** Events keep amounts as digits of micros; the wire has decimal text. */
export function shownData(data: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => (
    MONEY.test(name) && typeof value === 'string' && /^\d{1,19}$/.test(value) ? [name.replace(/Micros$/, ''), formatMicros(value)]
      : [name, value]
  )));
}

/** An amount out of an event's data, as a sentence says it. */
export function amountIn(data: Readonly<Record<string, unknown>>, name: string): string {
  const shown = shownData(data)[name.replace(/Micros$/, '')];
  return typeof shown === 'string' ? `${shown} ${DEFAULT_ASSET}` : 'money';
}

/** `0.100000 USDC`. */
export function money(micros: bigint, asset: string = DEFAULT_ASSET): string {
  return `${formatMicros(micros)} ${asset}`;
}

/** A posting as an entry; its sentence says who paid whom. */
export function postingEntry(posting: TimelinePosting, roleOf: RoleOf): Entry {
  const { id, atMicros, kind, ref, from, to, note } = posting;
  const data = { entry: `entry_${id}`, type: kind, reference: ref, amount: formatMicros(posting.amountMicros), currency: posting.asset,
    from, to, ...(note === null ? {} : { note }) };
  return { id, atMicros, kind: 'posting', what: sentenceOf(posting, roleOf), data };
}

function sentenceOf({ kind, asset, amountMicros, from, to }: TimelinePosting, roleOf: RoleOf): string {
  const amount = money(amountMicros, asset);
  const who = (owner: string | null): string => (owner === null ? 'the outside' : (roleOf(owner) ?? owner));
  switch (kind) {
    case 'hold': return `${amount} of ${who(from)} were set aside.`;
    case 'capture': return `${amount} were paid to ${who(to)}.`;
    case 'fee': return `${amount} of the price went to the platform as its fee.`;
    case 'release': return `${amount} that had been set aside went back to ${who(to)}.`;
    case 'reversal': return `${amount} were taken back from ${who(from)} and returned to ${who(to)}.`;
    default: return `${amount} moved from ${who(from)} to ${who(to)}.`;
  }
}
