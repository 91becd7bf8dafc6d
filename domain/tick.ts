/** Ticks of metered streams: what the HTTP edge asks for, what it gets, and the words of a refusal. The rule is in stream.ts. */
import { SuretyError } from './errors.ts';
import type { IdempotencyClaim } from './gateway.ts';
import { formatMicros, type Micros } from './money.ts';
import { leftOf, priceOf, streamBounds, type StreamPayment, type TickQuestion, type TickVerdict } from './stream.ts';

/** One use of a stream, counted. */
export interface Tick {
  readonly streamId: string;
  readonly seq: number;
  readonly amountMicros: Micros;
  /** Used of the deposit with this tick. */
  readonly cumulativeMicros: Micros;
  readonly metadata: string | null;
  readonly tickedBy: NonNullable<TickQuestion['by']>;
  readonly createdAt: Date;
}

/** One tick to be recorded. */
export interface TickWish {
  readonly streamId: string;
  readonly agent: string;
  /** Must be the next number; null takes it, whatever it is. */
  readonly seq: number | null;
  /** Null means the agreed price. */
  readonly amountMicros: Micros | null;
  readonly metadata: string | null;
  readonly idempotency: IdempotencyClaim | null;
}

/** Many ticks of one stream, recorded together or not at all. */
export interface TickBatchWish {
  readonly streamId: string;
  readonly agent: string;
  /** Number of the first; null takes the next. */
  readonly fromSeq: number | null;
  readonly count: number;
  /** One entry for each tick; null: each costs the agreed price and says nothing. */
  readonly ticks: readonly { readonly amountMicros: Micros | null; readonly metadata: string | null }[] | null;
  readonly idempotency: IdempotencyClaim | null;
}

/** A tick that was recorded, now or by an earlier request with the same key. */
export interface RecordedTick {
  readonly tick: Tick;
  /** As it was after this tick. */
  readonly stream: StreamPayment;
  readonly replayed: boolean;
}

/** Ticks that were recorded together. */
export interface RecordedBatch {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly stream: StreamPayment;
  readonly replayed: boolean;
}

/** What the HTTP edge may ask about ticks. Everything else about streams is a step of a payment. */
export interface TickPort {
  /**
   * Errors: not_found, unauthorized (403), stream_closed, sequence_mismatch, stream_full, invalid_amount, hold_exhausted, idempotency_*,
   * unavailable.
   */
  tick(wish: TickWish): Promise<RecordedTick>;
  /** Errors: those of `tick`. */
  tickBatch(wish: TickBatchWish): Promise<RecordedBatch>;
  /** Ticks of a stream after this number, oldest first. Errors: unavailable. */
  ticksOf(streamId: string, page: { readonly afterSeq: number; readonly limit: number }): Promise<Tick[]>;
}

/** What became of ticks, as SQL says it. */
export type BatchOutcome = TickVerdict | 'not_found' | 'replay' | 'idempotency_mismatch';
/** `earlier`: a row with the tick that has this number already. */
export type TickOutcome = BatchOutcome | 'earlier';

/** The wire's id of a tick. Not stored: stream and number say the same. */
function tickIdOf(streamId: string, seq: number): string {
  return `tick_${streamId.slice(streamId.indexOf('_') + 1)}${seq.toString(16).padStart(8, '0')}`;
}

/** A tick as JSON has it. */
export function shownTick({ streamId, seq, amountMicros, cumulativeMicros, metadata, tickedBy, createdAt }: Tick) {
  return {
    id: tickIdOf(streamId, seq), streamId, seq, amount: formatMicros(amountMicros), cumulative: formatMicros(cumulativeMicros),
    ...(metadata === null ? {} : { metadata }), tickedBy, createdAt: createdAt.toISOString(),
  };
}

/** Why one tick was not recorded. @param earlier the tick that has this number already. */
export function tickRefusal(outcome: TickOutcome, wish: TickWish, stream: StreamPayment | null, earlier: Tick | null): SuretyError {
  const recordedTick = earlier === null ? {} : { recordedTick: shownTick(earlier) };
  if (outcome === 'hold_exhausted' && stream !== null) {
    const price = formatMicros(wish.amountMicros ?? priceOf(stream));
    const left = `${remaining(stream)} ${stream.asset}`;
    return exhausted(stream, `A tick of ${price} ${stream.asset} is more than the ${left} that are left of the deposit.`, { price });
  }
  return refusal(outcome, stream, `The next tick of this stream is number ${expected(stream)}, not ${wish.seq ?? 'another'}.`,
    recordedTick);
}

/** Why none of the ticks of a batch was recorded. @param affordable how many of them, from the front, the deposit could pay. */
export function batchRefusal(outcome: BatchOutcome, wish: TickBatchWish, stream: StreamPayment | null, affordable: number): SuretyError {
  if (outcome === 'hold_exhausted' && stream !== null) {
    const left = `${remaining(stream)} ${stream.asset}`;
    return exhausted(stream,
      `The ${left} that are left of the deposit pay ${affordable} of these ${wish.count} ticks; none was recorded.`,
      { price: formatMicros(priceOf(stream)), affordable });
  }
  return refusal(outcome, stream,
    `The next tick of this stream is number ${expected(stream)}, not ${wish.fromSeq ?? 'another'}; none was recorded.`, {});
}

const expected = (stream: StreamPayment | null): number => (stream?.meter.uses ?? 0) + 1;
const remaining = ({ meter }: StreamPayment): string => formatMicros(leftOf(meter));

/** The money of an open stream is held; that of an ended one is where it belongs. */
function fundsStatus(stream: StreamPayment | null): 'held_pending' | 'settled_safe' | 'no_change' {
  if (stream === null) return 'no_change';
  return stream.meter.isOpen ? 'held_pending' : 'settled_safe';
}

function exhausted(stream: StreamPayment, message: string, body: Readonly<Record<string, unknown>>): SuretyError {
  return new SuretyError('hold_exhausted', message,
    { fundsStatus: 'held_pending',
      body: { ...body, currency: stream.asset, remaining: remaining(stream), expectedSeq: expected(stream) } });
}

function refusal(outcome: TickOutcome, stream: StreamPayment | null, wrongNumber: string,
    body: Readonly<Record<string, unknown>>): SuretyError {
  switch (outcome) {
    case 'not_found': return new SuretyError('not_found', 'There is no such stream.');
    case 'unauthorized': return new SuretyError('unauthorized', 'Only the buyer and the seller of a stream may tick it.',
      { status: 403, recovery: 'Use a key of a party of this stream.' });
    case 'idempotency_mismatch': return new SuretyError('idempotency_mismatch',
      'This Idempotency-Key was used before with a different request.');
    case 'stream_closed': return new SuretyError('stream_closed', `The stream has ended: it is ${stream?.state ?? 'closed'}.`,
      { fundsStatus: fundsStatus(stream), body });
    case 'sequence_mismatch': return new SuretyError('sequence_mismatch', wrongNumber,
      { fundsStatus: fundsStatus(stream), body: { expectedSeq: expected(stream), ...body } });
    case 'stream_full': {
      const room = streamBounds.seqMax - (stream?.meter.uses ?? 0);
      return new SuretyError('stream_full', `A stream counts at most ${streamBounds.seqMax} ticks; this one has room for ${room} more.`,
        { fundsStatus: fundsStatus(stream), body: { room } });
    }
    case 'invalid_amount': {
      const price = stream === null ? '' : ` (${formatMicros(priceOf(stream))} ${stream.asset})`;
      return new SuretyError('invalid_amount', `The seller may not ask more for a tick than the agreed price${price}.`, {
        fundsStatus: fundsStatus(stream), recovery: 'Send at most the price per tick, or ask the buyer to send this tick.',
      });
    }
    default: return new SuretyError('internal_error', 'The tick was neither recorded nor refused.');
  }
}
