/** The rules of multistep escrows, without database, Temporal or clock: what becomes of every step in every state by everybody. */
import { decide, decideByClock, decideOpening, fundsOf, isEnd } from '../../domain/decide.ts';
import {
  checkPlan, multistepRules, multistepStatuses, multistepSteps, readMultistepInput, type MultistepInput, type MultistepPayment,
  type MultistepStatus, type MultistepStep,
} from '../../domain/multistep.ts';
import { micros, parseAmount } from '../../domain/money.ts';
import {
  aMultistep, aMultistepOpening, decisionOf, inputs, multistepEndMs as END, otherSeller, outcome, refusalOf,
} from '../support/multistep-rules.ts';
import { actors, buyer, rulesNowMs as NOW, seller, stranger, type Who } from '../support/rules.ts';

const toBuyer = [{ move: 'giveBack', amountMicros: 'rest' }];

describe('every step in every state by everybody', () => {
  /** Everything that is not here is refused. */
  const leadsTo: Readonly<Record<MultistepStep, Partial<Record<MultistepStatus, MultistepStatus>>>> = {
    'confirm-step': { open: 'open' }, refund: { open: 'aborted' },
  };
  const rows = multistepStatuses.flatMap((state) => multistepSteps.flatMap((step) =>
    (Object.keys(actors) as Who[]).map((who) => [state, step, who] as const)));

  test.each(rows)('%s: %s by the %s', (state, step, who) => {
    const refusals = { unauthorized: who !== 'buyer', invalid_state: leadsTo[step][state] === undefined };
    const expected = refusals.unauthorized ? 'unauthorized' : refusals.invalid_state ? 'invalid_state' : leadsTo[step][state];
    expect(outcome(aMultistep({ state }), step, actors[who])).toBe(expected);
  });

  test.each(rows.filter(([, , who]) => who !== 'buyer'))('%s: who may not take %s is refused in the same words, as the %s',
    (state, step, who) => {
    const message = 'Only the buyer of this escrow may do that.';
    expect(refusalOf(aMultistep({ state }), step, actors[who])).toEqual({ code: 'unauthorized', message });
  });

  test('a step that no escrow knows is a bad request', () => {
    expect(outcome(aMultistep(), 'decline', actors.buyer)).toBe('invalid_request');
  });
});

describe('what a step does', () => {
  const pays = (part: number) => [{ move: 'pay', ...[{ to: seller, amountMicros: 100_000n }, { to: otherSeller, amountMicros: 200_000n },
    { to: seller, amountMicros: 300_000n }][part], part }];

  test.each<[what: string, paid: readonly number[], step: MultistepStep, input: MultistepInput, decision: object]>([
    ['the first of three is paid', [], 'confirm-step', { stepIndex: 0 },
      { to: 'open', moves: pays(0), resolution: null, note: 'step 1 of 3 (index 0)', deadlineMs: END }],
    ['the last of the plan may be the first that is paid', [], 'confirm-step', { stepIndex: 2 },
      { to: 'open', moves: pays(2), resolution: null, note: 'step 3 of 3 (index 2)', deadlineMs: END }],
    ['one is left', [2], 'confirm-step', { stepIndex: 0 }, { to: 'open', moves: pays(0), resolution: null, deadlineMs: END }],
    ['the last that is open completes it', [0, 2], 'confirm-step', { stepIndex: 1, seller: otherSeller, amountMicros: micros(200_000n) },
      { to: 'completed', moves: pays(1), resolution: 'all_confirmed', deadlineMs: null }],
    ['all of it comes back', [], 'refund', {}, { to: 'aborted', moves: toBuyer, resolution: 'buyer_refund', note: null, deadlineMs: null }],
    ['the rest comes back', [0, 1], 'refund', {}, { to: 'aborted', moves: toBuyer, resolution: 'buyer_refund', deadlineMs: null }],
  ])('%s', (_what, paid, step, input, expected) => {
    expect(decisionOf(aMultistep({ paid }), step, actors.buyer, input)).toMatchObject({ step, role: 'buyer', by: buyer, seller: null,
      details: { expiresAtMs: END }, ...expected });
  });

  test('an escrow that is opened holds its money until its time is up', () => {
    const opening = aMultistepOpening(buyer, [{ payee: seller, amountMicros: '7' }], { expiresInMs: 5_000 });
    expect(decideOpening(multistepRules, opening, NOW)).toMatchObject({ step: 'open', role: 'buyer', by: buyer, to: 'open',
      deadlineMs: NOW + 5_000, moves: [{ move: 'hold', amountMicros: 7n }], resolution: null, details: { expiresAtMs: NOW + 5_000 } });
  });
});

describe('what is no step of the plan', () => {
  test.each<[what: string, input: MultistepInput, code: string, message: string]>([
    ['behind the plan', { stepIndex: 3 }, 'step_out_of_range', 'The plan has the steps 0 to 2.'],
    ['before the plan', { stepIndex: -1 }, 'step_out_of_range', 'The plan has the steps 0 to 2.'],
    ['far away', { stepIndex: Number.MAX_SAFE_INTEGER }, 'step_out_of_range', 'The plan has the steps 0 to 2.'],
    ['paid before', { stepIndex: 1 }, 'duplicate_step', 'Step 1 was confirmed and paid before.'],
    ['paid before, even with another amount', { stepIndex: 1, amountMicros: micros(1n) }, 'duplicate_step',
      'Step 1 was confirmed and paid before.'],
    ['for another seller', { stepIndex: 0, seller: otherSeller }, 'step_mismatch', 'Step 0 is planned with another seller or amount.'],
    ['for the buyer', { stepIndex: 0, seller: buyer }, 'step_mismatch', 'Step 0 is planned with another seller or amount.'],
    ['for more', { stepIndex: 2, amountMicros: micros(300_001n) }, 'step_mismatch', 'Step 2 is planned with another seller or amount.'],
    ['for less', { stepIndex: 2, amountMicros: micros(299_999n) }, 'step_mismatch', 'Step 2 is planned with another seller or amount.'],
  ])('%s', (_what, input, code, message) => {
    expect(refusalOf(aMultistep({ paid: [1] }), 'confirm-step', actors.buyer, input)).toEqual({ code, message });
  });

  test.each<[what: string, payment: MultistepPayment, who: Who, code: string]>([
    ['the role comes before the state', aMultistep({ state: 'completed' }), 'seller', 'unauthorized'],
    ['the role comes before the deadline', aMultistep({ deadlineMs: NOW }), 'stranger', 'unauthorized'],
    ['the state comes before the plan', aMultistep({ state: 'aborted' }), 'buyer', 'invalid_state'],
    ['the deadline comes before the plan', aMultistep({ deadlineMs: NOW }), 'buyer', 'invalid_state'],
  ])('%s', (_what, payment, who, code) => {
    expect(outcome(payment, 'confirm-step', actors[who], { input: { stepIndex: 9, seller: stranger } })).toBe(code);
  });
});

describe('the deadline', () => {
  const at = (step: MultistepStep, nowMs: number) =>
    decide(multistepRules, aMultistep({ paid: [1] }), { step, actor: actors.buyer, input: inputs[step] }, nowMs);

  test('a confirmation is in time one millisecond before, and refused from then on; it leaves the clock to its workflow', () => {
    expect(at('confirm-step', END - 1)).toMatchObject({ kind: 'apply', decision: { to: 'open', isDue: false }, refusal: null });
    const message = 'The time of this multistep escrow is up, and then it is not possible to confirm a step.';
    for (const nowMs of [END, END + 1, END + 1e12]) {
      expect(at('confirm-step', nowMs)).toEqual({ kind: 'refuse', refusal: { code: 'invalid_state', message } });
    }
  });

  test('a refund is the buyer\'s own before and after', () => {
    for (const nowMs of [END - 1, END, END + 1e12]) {
      expect(at('refund', nowMs)).toMatchObject({ kind: 'apply', refusal: null,
        decision: { to: 'aborted', isDue: null, resolution: 'buyer_refund', moves: toBuyer } });
    }
  });

  test('the clock gives the rest back the moment the time is up, and not one millisecond earlier', () => {
    expect(decideByClock(multistepRules, aMultistep({ paid: [1] }), END)).toMatchObject({ kind: 'apply', decision: { step: 'clock',
      role: 'clock', by: 'clock', to: 'aborted', isDue: true, resolution: 'expired', moves: toBuyer, deadlineMs: null } });
    expect(decideByClock(multistepRules, aMultistep(), END - 1).kind).toBe('refuse');
  });

  test.each(['completed', 'aborted'] as const)('%s: the clock decides nothing, ever', (state) => {
    expect(decideByClock(multistepRules, aMultistep({ state }), NOW + 1e15).kind).toBe('refuse');
  });
});

test.each<[state: MultistepStatus, funds: string, ends: boolean]>([
  ['open', 'locked_in_escrow', false], ['completed', 'released_to_seller', true], ['aborted', 'returned', true],
])('%s: its money is %s', (state, funds, ends) =>
  expect([fundsOf(multistepRules, state), isEnd(multistepRules, state)]).toEqual([funds, ends]));

describe('what is sent with a step', () => {
  test('a step by its number alone, or as over HTTP', () => {
    expect(readMultistepInput('confirm-step', { stepIndex: 4 })).toEqual({ stepIndex: 4, seller: null, amountMicros: null });
    expect(readMultistepInput('confirm-step', { stepIndex: 0, sellerAddr: seller.toUpperCase().replace('X', 'x'), amount: '0.10' }))
      .toEqual({ stepIndex: 0, seller, amountMicros: 100_000n });
    for (const nothing of [undefined, null, {}, 'text', 7]) expect(readMultistepInput('refund', nothing)).toEqual({});
  });

  test.each<[raw: unknown, code: string, message: RegExp]>([
    [undefined, 'validation_error', /stepIndex: must be a whole number/], [null, 'validation_error', /stepIndex/],
    ['0', 'validation_error', /stepIndex/], [[], 'validation_error', /stepIndex/], [{ stepIndex: '0' }, 'validation_error', /stepIndex/],
    [{ stepIndex: 0.5 }, 'validation_error', /stepIndex/], [{ stepIndex: 2 ** 53 }, 'validation_error', /stepIndex/],
    [{ stepIndex: Number.NaN }, 'validation_error', /stepIndex/], [{ stepIndex: 0, sellerAddr: 'bob' }, 'invalid_address', /sellerAddr/],
    [{ stepIndex: 0, sellerAddr: null }, 'invalid_address', /sellerAddr/], [{ stepIndex: 0, amount: 0.1 }, 'invalid_amount', /amount/],
    [{ stepIndex: 0, amount: null }, 'invalid_amount', /amount/], [{ stepIndex: 0, amount: '0' }, 'invalid_amount', /amount/],
    [{ stepIndex: 0, amount: '1e3' }, 'invalid_amount', /amount/],
  ])('%j is refused', (raw, code, message) => {
    const read = () => readMultistepInput('confirm-step', raw);
    expect(read).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

test('a plan adds up, and the buyer is none of its sellers', () => {
  const steps = [{ seller, amountMicros: parseAmount('0.1') }, { seller: otherSeller, amountMicros: parseAmount('0.2') }];
  const check = (by: string, total: string) => () => checkPlan(by, { totalMicros: parseAmount(total), steps });
  expect(check(buyer, '0.30')).not.toThrow();
  expect(check(buyer, '0.300001')).toThrow('The steps add up to 0.300000 USDC, but totalAmount is 0.300001.');
  expect(check(otherSeller, '0.3')).toThrow('The seller of step 1 is the buyer.');
});
