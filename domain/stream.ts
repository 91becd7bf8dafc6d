/**
 * Metered streams: a deposit is held, ticks use it up, and the end pays what was ticked and gives the rest back. The tables below are the
 * rules; the diagram in docs/stream.md is made from them. Ticks move no state: they count on the meter, by `tickOutcome`, which
 * prisma/functions/stream.sql repeats because thousands of them come a second.
 */
import { AMOUNT_MICROS_MAX, micros, parseAmount, type Micros } from './money.ts';
import type { Choice, Context, Meter, Payment, Refusal, Role, Rules, Transition } from './payment.ts';
import { fieldsOf, textOf } from './step-input.ts';

export const streamStatuses = ['open', 'closed', 'stale_closed'] as const;
export type StreamStatus = (typeof streamStatuses)[number];

/** What parties can do with a stream beside ticking; also the names of its updates and signals, after `surety-`. */
export const streamSteps = ['close', 'topup'] as const;
export type StreamStep = (typeof streamSteps)[number];

/** Bounds and defaults (contract alancoin-payments 2.8). */
export const streamBounds = {
  staleTimeoutSecsDefault: 60,
  staleTimeoutSecsMax: 30 * 86_400,
  ticksAtOnceMax: 1_000,
  metadataCharsMax: 1_000,
  reasonCharsMax: 500,
  /** A tick number is an INTEGER in Postgres; stream.sql says the same. */
  seqMax: 2_147_483_647,
} as const;

/** What buyer and seller agree on beside the deposit; nothing of it changes. */
export interface StreamTerms {
  readonly serviceId: string | null;
  readonly sessionKeyId: string | null;
  /** What a tick costs that names no amount, and the most that the seller may ask for one. In digits of micros. */
  readonly pricePerTickMicros: string;
  /** After so long without a tick it ends by itself. */
  readonly staleTimeoutMs: number;
}

export interface StreamDetails {
  /** Why it was closed, as a party said. */
  readonly closeReason?: string;
}

/** A stream, with the meter that every stream has. */
export type StreamPayment = Payment<StreamTerms, StreamDetails> & { readonly meter: Meter };

/** A step's input once it has been read. */
export interface StreamInput {
  readonly reason?: string;
  /** Of a top-up. */
  readonly amountMicros?: Micros;
}

type StreamContext<Input = StreamInput> = Context<StreamTerms, StreamDetails, Input>;

/** The end of a stream: what was ticked is paid, and the rest goes back. */
const end = <Input>(to: StreamStatus, resolution: string): Transition<StreamTerms, StreamDetails, Input, StreamStatus> => ({
  to,
  resolution,
  choose: ({ payment }: StreamContext<Input>) => ({
    to,
    resolution,
    moves: [
      { move: 'pay', to: payment.seller ?? '', amountMicros: 'used' },
      { move: 'giveBack', amountMicros: 'rest' },
    ],
  }),
});

export const streamRules: Rules<StreamTerms, StreamDetails, StreamInput, StreamStatus, StreamStep> = {
  kind: 'stream',
  noun: 'stream',
  bucket: 'pending',
  opens: { to: 'open' },
  // Silence ends a stream only when somebody looks: until then parties may close it and top it up, and a tick keeps it alive.
  steps: {
    close: {
      by: ['buyer', 'seller'], only: 'Only the buyer and the seller of a stream may close it.', operator: 'buyer', verb: 'close it',
      afterDeadline: 'allowed', note: ({ reason }) => reason ?? null, unless: whenEnded('already_closed', 'The stream was closed before.'),
    },
    topup: {
      by: ['buyer'], only: 'Only the buyer of a stream may top it up.', operator: 'buyer', verb: 'top it up',
      afterDeadline: 'allowed', unless: whenEnded('stream_closed', 'The stream has ended.'),
    },
  },
  states: {
    open: {
      funds: 'held_pending', time: 'silence', until: ({ terms }, nowMs) => nowMs + terms.staleTimeoutMs,
      clock: end('stale_closed', 'stale_timeout'),
      on: {
        close: { ...end('closed', 'closed'), details: ({ input: { reason } }) => (reason === undefined ? {} : { closeReason: reason }) },
        topup: { to: 'open', choose: topUp },
      },
    },
    closed: { funds: 'settled_safe', end: true },
    stale_closed: { funds: 'settled_safe', end: true },
  },
  meter: ({ pricePerTickMicros, staleTimeoutMs }) =>
    ({ priceMicrosMax: micros(pricePerTickMicros), idleMs: staleTimeoutMs, usesPerMinute: null, closesAtDeadline: false }),
  read: readStreamInput,
};

function topUp({ payment: { heldMicros }, input: { amountMicros = micros(0n) } }: StreamContext): Choice<StreamStatus> | Refusal {
  if (heldMicros > AMOUNT_MICROS_MAX - amountMicros)
    return { code: 'invalid_amount', message: 'The deposit would be larger than one payment can be; nothing was added to it.' };
  return { to: 'open', moves: [{ move: 'increase', amountMicros }], resolution: null };
}

function whenEnded(code: Refusal['code'], message: string): (context: StreamContext) => Refusal | null {
  return ({ payment }) => (payment.state === 'open' ? null : { code, message });
}

/**
 * Reads what was sent with a step.
 * @throws SuretyError validation_error, invalid_amount.
 */
function readStreamInput(step: StreamStep, raw: unknown): StreamInput {
  const fields = fieldsOf(raw);
  if (step === 'topup') return { amountMicros: parseAmount(typeof fields['amount'] === 'string' ? fields['amount'] : '') };
  const { reason } = fields;
  return reason === undefined || reason === null || reason === '' ? {} : { reason: textOf(fields, 'reason', streamBounds.reasonCharsMax) };
}

/** A payment of the kind `stream`: nobody else writes its terms and details, and it is opened with a meter. */
export function asStream(payment: Payment): StreamPayment {
  if (payment.kind !== streamRules.kind || payment.meter === null) throw new Error(`${payment.id} is no stream.`);
  return payment as StreamPayment;
}

/** What a tick costs that names no amount. */
export function priceOf({ terms }: Pick<StreamPayment, 'terms'>): Micros {
  return micros(terms.pricePerTickMicros);
}

/** The part of the deposit that was not ticked. */
export function leftOf({ capacityMicros, usedMicros }: Pick<Meter, 'capacityMicros' | 'usedMicros'>): bigint {
  return capacityMicros - usedMicros;
}

/** Nine tenths of the deposit are used. The event `stream.deposit_low` says so, once until the next top-up. */
export function isDepositLow({ capacityMicros, usedMicros }: Pick<Meter, 'capacityMicros' | 'usedMicros'>): boolean {
  return usedMicros >= capacityMicros - capacityMicros / 10n;
}

/** The rest of the deposit cannot pay another tick at the price. The event `stream.paused` says so, once until the next top-up. */
export function isPaused(meter: Pick<Meter, 'capacityMicros' | 'usedMicros' | 'isOpen'>, priceMicros: Micros): boolean {
  return meter.isOpen && leftOf(meter) < priceMicros;
}

/** Ticks that somebody wants to be counted, together or not at all. */
export interface TickQuestion {
  /** Null: no party of the stream. */
  readonly by: Extract<Role, 'buyer' | 'seller'> | null;
  /** The number of the first; null takes the next. */
  readonly fromSeq: number | null;
  /** What each costs; null is the price. At least one. */
  readonly amountsMicros: readonly (Micros | null)[];
}

/** What becomes of ticks: `recorded`, or the code of the refusal. */
export type TickVerdict = 'recorded' | 'unauthorized' | 'stream_closed' | 'sequence_mismatch' | 'stream_full' | 'invalid_amount'
  | 'hold_exhausted';

/** The rule of ticks, as `stream_tick_many` and `stream_tick_batch` have it: a property holds the three together. */
export function tickOutcome(
  meter: Pick<Meter, 'isOpen' | 'capacityMicros' | 'usedMicros' | 'uses'>,
  priceMicros: Micros,
  { by, fromSeq, amountsMicros }: TickQuestion,
): TickVerdict {
  const amounts = amountsMicros.map((amount) => amount ?? priceMicros);
  if (by === null) return 'unauthorized';
  if (!meter.isOpen) return 'stream_closed';
  if (fromSeq !== null && fromSeq !== meter.uses + 1) return 'sequence_mismatch';
  if (amounts.length > streamBounds.seqMax - meter.uses) return 'stream_full';
  if (by === 'seller' && amounts.some((amount) => amount > priceMicros)) return 'invalid_amount';
  const total = amounts.reduce<bigint>((sum, amount) => sum + amount, 0n);
  return total > leftOf(meter) ? 'hold_exhausted' : 'recorded';
}
