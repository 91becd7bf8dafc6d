/** What the SQL of streams refuses, in words, with everything a meter needs to go on by itself. */
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import { streamBounds, tickIdOf, type Stream, type StreamRole, type Tick, type TickBatchWish, type TickWish } from '../../domain/stream.ts';

type Refusal = 'not_found' | 'unauthorized' | 'idempotency_mismatch' | 'stream_closed' | 'sequence_mismatch' | 'stream_full'
  | 'invalid_amount' | 'hold_exhausted';
export type BatchOutcome = 'recorded' | 'replay' | Refusal;
export type TickOutcome = BatchOutcome | 'earlier';

interface TickColumns {
  readonly tick_seq: number; readonly tick_amount: string; readonly tick_cumulative: string; readonly tick_metadata: string | null;
  readonly tick_by: StreamRole; readonly tick_at: Date;
}

/** A tick as `stream_tick_many` returns it. */
export function toTick(row: TickColumns, streamId: string): Tick {
  return {
    streamId, seq: row.tick_seq, amountMicros: micros(row.tick_amount), cumulativeMicros: micros(row.tick_cumulative),
    metadata: row.tick_metadata, tickedBy: row.tick_by,
    createdAt: row.tick_at,
  };
}

/** A tick in the body of an error: what was recorded under the number that was asked for. */
function shown(tick: Tick): object {
  return {
    id: tickIdOf(tick.streamId, tick.seq), streamId: tick.streamId, seq: tick.seq, amount: formatMicros(tick.amountMicros),
    cumulative: formatMicros(tick.cumulativeMicros),
    ...(tick.metadata === null ? {} : { metadata: tick.metadata }), tickedBy: tick.tickedBy, createdAt: tick.createdAt.toISOString(),
  };
}

/** Why one tick was not recorded. @param earlier the tick that has this number already. */
export function tickRefusal(outcome: TickOutcome, wish: TickWish, stream: Stream | null, earlier: Tick | null): SuretyError {
  const recordedTick = earlier === null ? {} : { recordedTick: shown(earlier) };
  if (outcome === 'hold_exhausted' && stream !== null) {
    const price = formatMicros(wish.amountMicros ?? stream.pricePerTickMicros);
    return exhausted(stream, `A tick of ${price} USDC is more than the ${remaining(stream)} USDC that are left of the deposit.`, { price });
  }
  return refusal(outcome, stream, `The next tick of this stream is number ${expected(stream)}, not ${wish.seq ?? 'another'}.`,
    recordedTick);
}

/** Why none of the ticks of a batch was recorded. @param affordable how many of them, from the front, the deposit could pay. */
export function batchRefusal(outcome: BatchOutcome, wish: TickBatchWish, stream: Stream | null, affordable: number): SuretyError {
  if (outcome === 'hold_exhausted' && stream !== null) {
    const price = formatMicros(stream.pricePerTickMicros);
    return exhausted(stream,
      `The ${remaining(stream)} USDC that are left of the deposit pay ${affordable} of these ${wish.count} ticks; none was recorded.`,
      { price, affordable });
  }
  return refusal(outcome, stream,
    `The next tick of this stream is number ${expected(stream)}, not ${wish.fromSeq ?? 'another'}; none was recorded.`, {});
}

const expected = (stream: Stream | null): number => (stream?.tickCount ?? 0) + 1;
const remaining = (stream: Stream): string => formatMicros(stream.depositMicros - stream.spentMicros);

/** The money of an open stream is held; that of an ended one is where it belongs. */
function fundsStatus(stream: Stream | null): 'held_pending' | 'settled_safe' | 'no_change' {
  if (stream === null) return 'no_change';
  return stream.status === 'open' ? 'held_pending' : 'settled_safe';
}

function exhausted(stream: Stream, message: string, body: Readonly<Record<string, unknown>>): SuretyError {
  return new SuretyError('hold_exhausted', message,
    { fundsStatus: 'held_pending', body: { ...body, currency: 'USDC', remaining: remaining(stream), expectedSeq: expected(stream) } });
}

function refusal(outcome: TickOutcome, stream: Stream | null, wrongNumber: string, body: Readonly<Record<string, unknown>>): SuretyError {
  switch (outcome) {
    case 'not_found': return new SuretyError('not_found', 'There is no such stream.');
    case 'unauthorized': return new SuretyError('unauthorized', 'Only the buyer and the seller of a stream may tick it.',
      { status: 403, recovery: 'Use a key of a party of this stream.' });
    case 'idempotency_mismatch': return new SuretyError('idempotency_mismatch',
      'This Idempotency-Key was used before with a different request.');
    case 'stream_closed': return new SuretyError('stream_closed', `The stream has ended: it is ${stream?.status ?? 'closed'}.`,
      { fundsStatus: fundsStatus(stream), body });
    case 'sequence_mismatch': return new SuretyError('sequence_mismatch', wrongNumber,
      { fundsStatus: fundsStatus(stream), body: { expectedSeq: expected(stream), ...body } });
    case 'stream_full': {
      const room = streamBounds.seqMax - (stream?.tickCount ?? 0);
      return new SuretyError('stream_full', `A stream counts at most ${streamBounds.seqMax} ticks; this one has room for ${room} more.`,
        { fundsStatus: fundsStatus(stream), body: { room } });
    }
    case 'invalid_amount': {
      const price = stream === null ? '' : ` (${formatMicros(stream.pricePerTickMicros)} USDC)`;
      return new SuretyError('invalid_amount', `The seller may not ask more for a tick than the agreed price${price}.`, {
        fundsStatus: fundsStatus(stream), recovery: 'Send at most the price per tick, or ask the buyer to send this tick.',
      });
    }
    default: return new SuretyError('internal_error', 'The tick was neither recorded nor refused.');
  }
}
