/** The rules of escrows, without database, Temporal or clock: what becomes of every step in every state by everybody. */
import { escrowRules, escrowStatuses, escrowSteps } from '../../domain/escrow.ts';
import type { EscrowDetails, EscrowPayment, EscrowStatus, EscrowStep, EscrowTerms } from '../../domain/escrow.ts';
import { decide, decideByClock, decideOpening, fundsOf, isEnd } from '../../domain/decide.ts';
import { micros } from '../../domain/money.ts';
import { anEscrow, decisionOf, inputs, outcome, refusalOf } from '../support/escrow-rules.ts';
import { actors, arbiter, buyer, rulesNowMs as NOW, seller, stranger, type Who } from '../support/rules.ts';

const P = 'pending', D = 'delivered', Q = 'disputed', A = 'arbitrating';
const waiting = [P, D, Q, A] as const;

describe('every step in every state by everybody', () => {
  /** Whose step it is, and from which state to which, as the product description has it. Everything that is not here is refused. */
  const allowed: Readonly<Record<EscrowStep, { readonly who: readonly Who[]; readonly to: Readonly<Partial<Record<EscrowStatus,
    EscrowStatus>>> }>> = {
    deliver: { who: ['seller'], to: { [P]: D } },
    confirm: { who: ['buyer'], to: { [P]: 'released', [D]: 'released', [Q]: 'released' } },
    cancel: { who: ['buyer'], to: { [P]: 'refunded' } },
    decline: { who: ['seller'], to: { [P]: 'refunded', [D]: 'refunded', [Q]: 'refunded', [A]: 'refunded' } },
    dispute: { who: ['buyer'], to: { [P]: Q, [D]: Q } },
    evidence: { who: ['buyer', 'seller'], to: { [Q]: Q, [A]: A } },
    arbitrate: { who: ['buyer', 'seller'], to: { [Q]: A } },
    resolve: { who: ['arbiter'], to: { [Q]: 'released', [A]: 'released' } },
  };
  const rows = escrowStatuses.flatMap((state) => escrowSteps.flatMap((step) => (Object.keys(actors) as Who[]).map((who) => [state, step,
    who] as const)));

  test.each(rows)('%s: %s by the %s, where an arbiter was named', (state, step, who) => {
    const { who: may, to } = allowed[step];
    expect(outcome(anEscrow({ state }), step, actors[who])).toBe(may.includes(who) ? (to[state] ?? 'invalid_state') : 'unauthorized');
  });

  test.each(rows)('%s: %s by the %s, where none was named', (state, step, who) => {
    const { who: may, to } = allowed[step];
    // Nobody has the address of an arbiter then, and the platform rules.
    const is = who === 'arbiter' ? 'stranger' : who === 'platform' && step === 'resolve' ? 'arbiter' : who;
    expect(outcome(anEscrow({ state, arbiter: null }), step, actors[who])).toBe(may.includes(is) ? (to[state] ?? 'invalid_state')
      : 'unauthorized');
  });

  test('a step that no escrow knows is a bad request', () => expect(outcome(anEscrow(), 'explode', actors.buyer)).toBe('invalid_request'));
});

describe('what a step does', () => {
  const toSeller = [{ move: 'pay', to: seller, amountMicros: 'rest' }];
  const toBuyer = [{ move: 'giveBack', amountMicros: 'rest' }];

  test.each<[state: EscrowStatus, step: EscrowStep, who: Who, decision: Readonly<Record<string, unknown>>]>([
    [P, 'deliver', 'seller', { to: D, role: 'seller', by: seller, moves: [], resolution: null, note: null }],
    [P, 'confirm', 'buyer', { to: 'released', role: 'buyer', by: buyer, moves: toSeller, resolution: 'buyer_confirmed', deadlineMs: null }],
    [D, 'confirm', 'buyer', { to: 'released', moves: toSeller, resolution: 'buyer_confirmed', deadlineMs: null }],
    [Q, 'confirm', 'buyer', { to: 'released', moves: toSeller, resolution: 'buyer_confirmed', deadlineMs: null }],
    [P, 'cancel', 'buyer', { to: 'refunded', moves: toBuyer, resolution: 'cancelled', deadlineMs: null }],
    [P, 'decline', 'seller', { to: 'refunded', moves: toBuyer, resolution: 'declined', deadlineMs: null }],
    [D, 'decline', 'seller', { to: 'refunded', moves: toBuyer, resolution: 'given_back', deadlineMs: null }],
    [Q, 'decline', 'seller', { to: 'refunded', moves: toBuyer, resolution: 'given_back', deadlineMs: null }],
    [A, 'decline', 'seller', { to: 'refunded', moves: toBuyer, resolution: 'given_back', deadlineMs: null }],
    [P, 'dispute', 'buyer', { to: Q, moves: [], resolution: null, note: 'Half of it is missing.' }],
    [D, 'dispute', 'buyer', { to: Q, moves: [], resolution: null, note: 'Half of it is missing.' }],
    [Q, 'evidence', 'seller', { to: Q, moves: [], resolution: null, note: 'See for yourself.' }],
    [A, 'evidence', 'buyer', { to: A, moves: [], resolution: null, note: 'See for yourself.' }],
    [Q, 'arbitrate', 'seller', { to: A, moves: [], resolution: null, note: null }],
    [Q, 'resolve', 'arbiter', { to: 'released', role: 'arbiter', by: arbiter, moves: toSeller, resolution: 'arbitration_release',
      deadlineMs: null }],
  ])('%s: %s by the %s', (state, step, who, expected) => {
    expect(decisionOf(anEscrow({ state }), step, actors[who])).toMatchObject({ step, isDue: false, seller: null, ...expected });
  });

  test('what was remembered before is still remembered, and each step adds its own', () => {
    const delivered = decisionOf(anEscrow(), 'deliver', actors.seller).details as EscrowDetails;
    expect(delivered).toEqual({ deliverByMs: NOW + 300_000, deliveredAtMs: NOW, reviewUntilMs: NOW + 600_000 });
    const disputed = decisionOf(anEscrow({ state: D, details: delivered }), 'dispute', actors.buyer).details as EscrowDetails;
    expect(disputed).toEqual({ ...delivered, disputeReason: 'Half of it is missing.', rulingUntilMs: NOW + 900_000,
      evidence: { buyer: 1, seller: 0 } });
    const told = decisionOf(anEscrow({ state: Q, details: disputed }), 'evidence', actors.seller).details;
    expect(told).toEqual({ ...disputed, evidence: { buyer: 1, seller: 1 } });
    const calledIn = decisionOf(anEscrow({ state: Q, details: disputed }), 'arbitrate', actors.buyer, { arbiter: null }, NOW + 5).details;
    expect(calledIn).toEqual({ ...disputed, rulingUntilMs: NOW + 900_005 });
  });
});

describe('how long a state lasts', () => {
  const terms: EscrowTerms = { serviceId: null, deliveryMs: 7_000, reviewMs: 11_000, rulingMs: 13_000, buyerMayCancel: false };

  test('an escrow that is opened holds its money and waits for the delivery', () => {
    const opening = { id: 'esc_1', buyer, seller, arbiter: null, tenantId: null, asset: 'USDC', amountMicros: micros(5n), terms,
      workflowId: 'w', lookup: null };
    expect(decideOpening(escrowRules, opening, NOW)).toEqual({
      step: 'open', role: 'buyer', by: buyer, to: P, deadlineMs: NOW + 7_000, isDue: null, moves: [{ move: 'hold', amountMicros: 5n }],
      resolution: null,
      details: { deliverByMs: NOW + 7_000 }, note: null, seller: null, meter: null,
    });
  });

  test.each<[what: string, state: EscrowStatus, step: EscrowStep, who: Who, atMs: number, deadlineMs: number]>([
    ['a review counts from the delivery', P, 'deliver', 'seller', NOW + 6_999, NOW + 17_999],
    ['a review never ends before the delivery was due', P, 'deliver', 'seller', NOW - 6_000, NOW + 7_000],
    ['a ruling counts from the dispute', P, 'dispute', 'buyer', NOW + 3, NOW + 13_003],
    ['a ruling counts from the dispute of a delivery as well', D, 'dispute', 'buyer', NOW + 3, NOW + 13_003],
    ['the arbiter has a ruling window of his own', Q, 'arbitrate', 'seller', NOW + 4, NOW + 13_004],
  ])('%s', (_what, state, step, who, atMs, deadlineMs) => {
    const payment = anEscrow({ state, terms, deadlineMs: NOW + 7_000, details: { deliverByMs: NOW + 7_000 } });
    expect(decisionOf(payment, step, actors[who], inputs[step], atMs).deadlineMs).toBe(deadlineMs);
  });

  test.each([Q, A] as const)('evidence while it is %s does not lengthen the time', (state) => {
    const payment = anEscrow({ state, deadlineMs: NOW + 17 });
    expect(decisionOf(payment, 'evidence', actors.buyer)).toMatchObject({ to: state, deadlineMs: NOW + 17, moves: [] });
  });
});

describe('what the clock decides', () => {
  const decisions: Readonly<Record<(typeof waiting)[number], readonly [to: EscrowStatus, move: string, resolution: string]>> = {
    pending: ['refunded', 'giveBack', 'delivery_expired'], delivered: ['released', 'pay', 'auto_released'],
    disputed: ['refunded', 'giveBack', 'ruling_expired'], arbitrating: ['refunded', 'giveBack', 'ruling_expired'],
  };

  test.each(waiting)('%s: the end that is written, the moment the time is up', (state) => {
    const [to, move, resolution] = decisions[state];
    const verdict = decideByClock(escrowRules, anEscrow({ state, deadlineMs: NOW }), NOW);
    expect(verdict).toMatchObject({
      kind: 'apply', decision: { step: 'clock', role: 'clock', by: 'clock', to, deadlineMs: null, isDue: true,
        moves: [{ move, amountMicros: 'rest' }], resolution, note: null },
    });
  });

  test.each(waiting)('%s: nothing one millisecond earlier', (state) => {
    const refusal = { code: 'invalid_state', message: 'The time of this escrow is not up.' };
    expect(decideByClock(escrowRules, anEscrow({ state, deadlineMs: NOW }), NOW - 1)).toEqual({ kind: 'refuse', refusal });
  });

  test.each(['released', 'refunded'] as const)('%s: nothing, ever', (state) => {
    expect(decideByClock(escrowRules, anEscrow({ state }), NOW + 1e15).kind).toBe('refuse');
  });

  const possible: readonly (readonly [EscrowStatus, EscrowStep, Who])[] = [[P, 'deliver', 'seller'], [D, 'dispute', 'buyer'],
    [Q, 'resolve', 'arbiter'], [A, 'decline', 'seller']];
  test.each(possible)('%s: %s by the %s is in time one millisecond before, and too late at the deadline', (state, step, who) => {
    const payment = anEscrow({ state, deadlineMs: NOW });
    expect(decide(escrowRules, payment, { step, actor: actors[who], input: inputs[step] }, NOW - 1)).toMatchObject({ kind: 'apply',
      decision: { step, isDue: false }, refusal: null });
    expect(decide(escrowRules, payment, { step, actor: actors[who], input: inputs[step] }, NOW)).toEqual(decideByClock(escrowRules,
      payment, NOW));
  });

  test.each<[state: EscrowStatus, sentence: string]>([
    [P, 'The time for this was up, so the clock has decided (delivery_expired): 1.000000 USDC were returned to the buyer.'],
    [D, 'The time for this was up, so the clock has decided (auto_released): 1.000000 USDC were paid to the seller.'],
    [Q, 'The time for this was up, so the clock has decided (ruling_expired): 1.000000 USDC were returned to the buyer.'],
    [A, 'The time for this was up, so the clock has decided (ruling_expired): 1.000000 USDC were returned to the buyer.'],
  ])('%s: whoever comes too late hears what was decided, and where the money went', (state, message) => {
    expect(refusalOf(anEscrow({ state, deadlineMs: NOW }), 'decline', actors.seller)).toEqual({ code: 'invalid_state', message });
  });
});

describe('the order of refusals', () => {
  const long = NOW + 1e12;

  test.each<[what: string, payment: EscrowPayment, step: EscrowStep, who: Who, input: unknown, code: string]>([
    ['the role comes before the terms', anEscrow({ terms: { buyerMayCancel: false } }), 'cancel', 'seller', {}, 'unauthorized'],
    ['the role comes before the clock', anEscrow({ deadlineMs: NOW }), 'confirm', 'seller', {}, 'unauthorized'],
    ['the role comes before the state', anEscrow({ state: 'released' }), 'confirm', 'stranger', {}, 'unauthorized'],
    ['the terms come before the clock', anEscrow({ deadlineMs: NOW, terms: { buyerMayCancel: false } }), 'cancel', 'buyer', {},
      'forbidden'],
    ['the terms come before the state', anEscrow({ state: A, terms: { buyerMayCancel: false } }), 'cancel', 'buyer', {}, 'forbidden'],
    ['another arbiter comes before the clock', anEscrow({ state: Q, deadlineMs: NOW }), 'arbitrate', 'buyer', { arbiter: stranger },
      'unauthorized'],
    ['another arbiter comes before the state', anEscrow(), 'arbitrate', 'buyer', { arbiter: stranger }, 'unauthorized'],
    ['the state comes before the limit of evidence', anEscrow({ details: { evidence: { buyer: 20, seller: 20 } } }), 'evidence', 'buyer',
      { content: 'x' }, 'invalid_state'],
    ['the state comes before the amount of a ruling', anEscrow(), 'resolve', 'arbiter', { ruling: 'partial', amountMicros: 0n },
      'invalid_state'],
  ])('%s', (_what, payment, step, who, input, code) => expect(outcome(payment, step, actors[who], { input })).toBe(code));

  test.each<[what: string, state: EscrowStatus, step: EscrowStep, who: Who, input: unknown, to: string]>([
    ['the state', D, 'deliver', 'seller', {}, 'released'],
    ['the state', P, 'resolve', 'arbiter', { ruling: 'release' }, 'refunded'],
    ['the limit of evidence', Q, 'evidence', 'buyer', { content: 'x' }, 'refunded'],
    ['the amount of a ruling', A, 'resolve', 'arbiter', { ruling: 'partial', amountMicros: 0n }, 'refunded'],
  ])('the clock comes before %s (%s, %s)', (_what, state, step, who, input, to) => {
    const payment = anEscrow({ state, deadlineMs: NOW, details: { evidence: { buyer: 20, seller: 20 } } });
    expect(outcome(payment, step, actors[who], { input, nowMs: long })).toBe(to);
  });

  test.each<[payment: EscrowPayment, step: EscrowStep, who: Who, sentence: string]>([
    [anEscrow(), 'confirm', 'stranger', 'You are no party of this escrow.'],
    [anEscrow(), 'confirm', 'seller', 'Only the buyer may do that.'],
    [anEscrow(), 'deliver', 'buyer', 'Only the seller may do that.'],
    [anEscrow(), 'evidence', 'arbiter', 'Only buyer and seller may do that.'],
    [anEscrow({ state: Q }), 'resolve', 'platform', 'Only the arbiter who was named when the escrow was made may rule.'],
    [anEscrow({ state: Q, arbiter: null }), 'resolve', 'buyer',
      'Only the platform may rule on this escrow: no arbiter was named when it was made.'],
    [anEscrow({ terms: { buyerMayCancel: false } }), 'cancel', 'buyer',
      'The terms of this escrow do not let the buyer cancel (buyerMayCancel). The seller may decline it.'],
    [anEscrow(), 'evidence', 'buyer', 'The escrow is pending, and then it is not possible to submit evidence.'],
    [anEscrow(), 'arbitrate', 'buyer', 'The escrow is pending, and then it is not possible to call in the arbiter.'],
    [anEscrow({ state: 'refunded' }), 'confirm', 'buyer', 'The escrow is refunded, and then it is not possible to confirm.'],
  ])('the sentence says what is wrong (%#)', (payment, step, who,
  message) => expect(refusalOf(payment, step, actors[who])?.message).toBe(message));
});

describe('where the money of a state is', () => {
  test.each(escrowStatuses)('%s', (state) => {
    const funds = { released: 'released_to_seller', refunded: 'returned' }[state as string] ?? 'locked_in_escrow';
    expect([fundsOf(escrowRules, state), isEnd(escrowRules, state)]).toEqual([funds, funds !== 'locked_in_escrow']);
  });
  test('a state that there is not is nowhere and no end',
    () => expect([fundsOf(escrowRules, 'lost'), isEnd(escrowRules, 'lost')]).toEqual(['no_change', false]));
});
