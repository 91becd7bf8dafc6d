/** The table of the stream: every state with every step by everybody, what the clock decides, and what is read. No database, no clock. */
import { decide, decideByClock, decideOpening, fundsOf, isEnd } from '../../domain/decide.ts';
import { AMOUNT_MICROS_MAX, micros, parseAmount } from '../../domain/money.ts';
import type { Actor, Decision } from '../../domain/payment.ts';
import { asStream, isDepositLow, isPaused, leftOf, streamBounds, streamRules, streamStatuses, streamSteps, type StreamInput,
  type StreamPayment, type StreamStep } from '../../domain/stream.ts';
import { anEscrow } from '../support/escrow-rules.ts';
import { actors, buyer, rulesNowMs as NOW, seller, type Who } from '../support/rules.ts';
import { aStreamIn, aStreamOpening } from '../support/stream-rules.ts';

const inputs: Readonly<Record<StreamStep, StreamInput>> = { close: { reason: 'enough' }, topup: { amountMicros: parseAmount('0.5') } };
const everybody = { ...actors, nobody: { address: null, as: null } } as const satisfies Record<string, Actor>;

function said(stream: StreamPayment, step: string, actor: Actor, nowMs = NOW): string {
  const verdict = decide(streamRules, stream, { step, actor, input: inputs[step as StreamStep] }, nowMs);
  return verdict.kind === 'apply' ? verdict.decision.to : verdict.refusal.code;
}

function decision(stream: StreamPayment, step: StreamStep, who: Who, input = inputs[step]): Decision {
  const verdict = decide(streamRules, stream, { step, actor: actors[who], input }, NOW);
  if (verdict.kind === 'refuse') throw new Error(verdict.refusal.message);
  return verdict.decision;
}

/** Whose step it is, where it leads from an open stream, and what an ended one answers. */
const allowed: Readonly<Record<StreamStep, { readonly who: readonly string[]; readonly to: string; readonly ended: string }>> = {
  close: { who: ['buyer', 'seller'], to: 'closed', ended: 'already_closed' },
  topup: { who: ['buyer'], to: 'open', ended: 'stream_closed' },
};
const rows = streamStatuses.flatMap((state) => streamSteps.flatMap((step) =>
  (Object.keys(everybody) as (keyof typeof everybody & string)[]).map((who) => [state, step, who] as const)));

test.each(rows)('%s, %s by %s, in time and after it', (state, step, who) => {
  const { who: may, to, ended } = allowed[step];
  const wanted = may.includes(who) ? (state === 'open' ? to : ended) : 'unauthorized';
  const stream = aStreamIn(state, { used: 3 });
  // Silence ends a stream only when somebody looks.
  for (const nowMs of [NOW, NOW + 60_000, NOW + 1e9]) expect(said(stream, step, everybody[who], nowMs)).toBe(wanted);
});

test('a step that no stream knows is a bad request',
  () => expect(said(aStreamIn('open'), 'explode', actors.buyer)).toBe('invalid_request'));

test('an opening holds the deposit for as long as the silence may last, behind a meter that sellers cannot tick above the price', () => {
  const opening = aStreamOpening({ staleTimeoutMs: 7_000 });
  expect(decideOpening(streamRules, opening, NOW)).toMatchObject({
    step: 'open', role: 'buyer', by: buyer, to: 'open', deadlineMs: NOW + 7_000, moves: [{ move: 'hold', amountMicros: 1_000_000n }],
    resolution: null, details: {},
  });
  expect(streamRules.meter?.(opening.terms as StreamPayment['terms']))
    .toEqual({ priceMicrosMax: 100_000n, idleMs: 7_000, usesPerMinute: null, closesAtDeadline: false });
});

const theEnd = [{ move: 'pay', to: seller, amountMicros: 'used' }, { move: 'giveBack', amountMicros: 'rest' }];

test.each(['buyer', 'seller'] as const)('a close by the %s pays what was ticked, gives back the rest, and closes the meter', (who) => {
  expect(decision(aStreamIn('open', { used: 2 }), 'close', who)).toMatchObject({
    to: 'closed', role: who, deadlineMs: null, isDue: null, moves: theEnd, resolution: 'closed', note: 'enough',
    details: { closeReason: 'enough' }, meter: { closes: true, assumesDrained: false },
  });
  expect(decision(aStreamIn('open'), 'close', who, {})).toMatchObject({ note: null, details: {} });
});

test('a top-up holds more and leaves time and meter as they are', () => {
  const stream = aStreamIn('open');
  expect(decision(stream, 'topup', 'buyer')).toMatchObject({
    to: 'open', deadlineMs: stream.deadlineMs, moves: [{ move: 'increase', amountMicros: 500_000n }], resolution: null,
    meter: { closes: false },
  });
});

test('a deposit grows up to the largest amount, and not beyond it', () => {
  const full = { ...aStreamIn('open'), heldMicros: micros(AMOUNT_MICROS_MAX - 1n) };
  expect(decision(full, 'topup', 'buyer', { amountMicros: micros(1n) }).to).toBe('open');
  expect(() => decision(full, 'topup', 'buyer', { amountMicros: micros(2n) })).toThrow('larger than one payment can be');
});

describe('what the clock decides', () => {
  const stream = aStreamIn('open', { used: 2 });
  const usedAt = (lastUsedAtMs: number): StreamPayment => ({ ...stream, meter: { ...stream.meter, lastUsedAtMs } });

  test('the end, with what was ticked paid, the moment a stream was silent for long enough', () => {
    expect(decideByClock(streamRules, stream, NOW + 60_000)).toMatchObject({
      kind: 'apply', decision: { step: 'clock', to: 'stale_closed', isDue: true, deadlineMs: null, moves: theEnd,
        resolution: 'stale_timeout', meter: { closes: true } },
    });
  });
  test('nothing a millisecond earlier', () => {
    expect(decideByClock(streamRules, stream, NOW + 59_999)).toMatchObject({ kind: 'refuse', refusal: { code: 'invalid_state' } });
  });
  test.each([1, 30_000, 60_000])('that it may be silent from the latest tick on, where that came %s ms after the opening', (laterMs) => {
    expect(decideByClock(streamRules, usedAt(NOW + laterMs), NOW + 60_000)).toEqual({ kind: 'postpone', untilMs: NOW + laterMs + 60_000 });
  });
  test.each(['closed', 'stale_closed'])('nothing, ever, of a stream that is %s', (state) => {
    expect(decideByClock(streamRules, aStreamIn(state), NOW + 1e15).kind).toBe('refuse');
  });
});

test.each<[step: StreamStep, raw: unknown, read: object]>([
  ['close', undefined, {}], ['close', null, {}], ['close', {}, {}], ['close', { reason: null }, {}], ['close', { reason: '' }, {}],
  ['close', { reason: ' done ', by: 'seller' }, { reason: 'done' }], ['topup', { amount: '0.5' }, { amountMicros: 500_000n }],
])('%s with %j is read', (step, raw, read) => expect(streamRules.read(step, raw)).toEqual(read));

test.each<[step: StreamStep, raw: unknown, code: string]>([
  ['close', { reason: 7 }, 'validation_error'], ['close', { reason: '  ' }, 'validation_error'],
  ['close', { reason: 'x'.repeat(streamBounds.reasonCharsMax + 1) }, 'validation_error'],
  ['close', { reason: 'a\u0000b' }, 'validation_error'], ['topup', {}, 'invalid_amount'], ['topup', 'much', 'invalid_amount'],
  ['topup', { amount: 1 }, 'invalid_amount'], ['topup', { amount: '0' }, 'invalid_amount'], ['topup', { amount: '-1' }, 'invalid_amount'],
])('%s with %j is no input', (step, raw, code) => {
  expect(() => streamRules.read(step, raw)).toThrow(expect.objectContaining({ code }));
});

test('from nine tenths on a deposit is low, and where the rest is less than a tick an open stream is paused', () => {
  const price = parseAmount('0.10');
  const states = [0, 8, 9, 10].map((used) => {
    const { meter } = aStreamIn('open', { used });
    return [leftOf(meter), isDepositLow(meter), isPaused(meter, price)];
  });
  expect(states).toEqual([[1_000_000n, false, false], [200_000n, false, false], [100_000n, true, false], [0n, true, true]]);
  expect(isPaused(aStreamIn('closed', { used: 10 }).meter, price)).toBe(false);
});

test.each(streamStatuses)('where the money of a stream is that is %s', (state) => {
  expect([fundsOf(streamRules, state), isEnd(streamRules, state)])
    .toEqual(state === 'open' ? ['held_pending', false] : ['settled_safe', true]);
});

test('a payment of another kind, or without a meter, is no stream', () => {
  expect(() => asStream(anEscrow())).toThrow('esc_1 is no stream');
  expect(() => asStream({ ...aStreamIn('open'), meter: null })).toThrow('is no stream');
});
