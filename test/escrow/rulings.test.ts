/** The rules of rulings: how a disputed escrow is divided, what is put on record, who may be called in, and for whom operators act. */
import { escrowRules, escrowSteps, type EscrowPayment, type EscrowStep } from '../../domain/escrow.ts';
import { micros } from '../../domain/money.ts';
import { decide, stateRefusal } from '../../domain/decide.ts';
import { anEscrow, decisionOf, outcome, refusalOf } from '../support/escrow-rules.ts';
import { actors, arbiter, buyer, rulesNowMs as NOW, seller, stranger } from '../support/rules.ts';

const P = 'pending', D = 'delivered', Q = 'disputed', A = 'arbitrating';
const waiting = [P, D, Q, A] as const;

describe('rulings', () => {
  const rule = (payment: EscrowPayment, input: unknown) => decide(escrowRules, payment, { step: 'resolve', actor: actors.arbiter, input },
    NOW);

  test.each([Q, A] as const)('%s: all to the buyer', (state) => {
    expect(rule(anEscrow({ state }), { ruling: 'refund' })).toMatchObject({
      decision: { to: 'refunded', moves: [{ move: 'giveBack', amountMicros: 'rest' }], resolution: 'arbitration_refund', note: null },
    });
  });

  test('the reason stands in the resolution and on record', () => {
    const input = { ruling: 'release', reason: 'It was all there.' };
    expect(rule(anEscrow({ state: Q }), input)).toMatchObject({ decision: { resolution: 'arbitration_release: It was all there.',
      note: 'It was all there.' } });
  });

  test.each<[held: bigint, toSeller: bigint | null, ok: boolean]>([
    [1_000_000n, 1n, true], [1_000_000n, 999_999n, true], [1_000_000n, 0n, false], [1_000_000n, 1_000_000n, false],
    [1_000_000n, 1_000_001n, false],
    [1_000_000n, -1n, false], [1_000_000n, null, false], [2n, 1n, true], [1n, 1n, false], [1n, 0n, false],
    [9_007_199_254_740_993n, 9_007_199_254_740_992n, true],
  ])('of %s micros, %s for the seller: %s', (held, toSeller, ok) => {
    const verdict = rule(anEscrow({ state: Q, heldMicros: micros(held) }), { ruling: 'partial', amountMicros: toSeller, reason: 'both' });
    if (!ok) expect(verdict).toMatchObject({ kind: 'refuse', refusal: { code: 'invalid_amount',
      message: expect.stringContaining('less than the whole amount') } });
    else {
      const moves = [{ move: 'pay', to: seller, amountMicros: toSeller }, { move: 'giveBack', amountMicros: 'rest' }];
      expect(verdict).toMatchObject({ kind: 'apply', decision: { to: 'released', moves, resolution: 'arbitration_partial: both',
        deadlineMs: null } });
    }
  });
});

describe('evidence', () => {
  test.each<[who: 'buyer' | 'seller', evidence: { buyer: number; seller: number }, expected: string]>([
    ['buyer', { buyer: 19, seller: 20 }, Q], ['buyer', { buyer: 20, seller: 0 }, 'evidence_limit'],
    ['buyer', { buyer: 21, seller: 0 }, 'evidence_limit'],
    ['seller', { buyer: 20, seller: 19 }, Q], ['seller', { buyer: 1, seller: 20 }, 'evidence_limit'],
  ])('the %s, when %j is on record: %s', (who, evidence, expected) => {
    expect(outcome(anEscrow({ state: Q, details: { evidence } }), 'evidence', actors[who])).toBe(expected);
  });

  test('none on record counts as none', () => expect(outcome(anEscrow({ state: A, details: {} }), 'evidence', actors.seller)).toBe(A));
});

describe('who is to be called in', () => {
  test.each<[what: string, named: string | null, agreed: string | null, expected: string]>([
    ['nobody by name', null, arbiter, A], ['the one agreed on', arbiter, arbiter, A], ['nobody where nobody was agreed on', null, null, A],
    ['a stranger', stranger, arbiter, 'unauthorized'], ['a stranger where nobody was agreed on', stranger, null, 'unauthorized'],
    ['the buyer', buyer, arbiter, 'unauthorized'], ['the seller', seller, null, 'unauthorized'],
  ])('%s', (_what, named, agreed, expected) => {
    expect(outcome(anEscrow({ state: Q, arbiter: agreed }), 'arbitrate', actors.buyer, { input: { arbiter: named } })).toBe(expected);
  });

  test('a party is told that it cannot judge itself, and a stranger that it is too late to choose', () => {
    const message = (named: string) => refusalOf(anEscrow({ state: Q }), 'arbitrate', actors.buyer, { arbiter: named })?.message;
    expect(message(seller)).toBe('A party of the escrow cannot be its arbiter.');
    expect(message(stranger)).toMatch(/named when the escrow is made \(arbitratorAddr\) and cannot be chosen afterwards/);
  });
});

describe('operators', () => {
  test.each<[step: EscrowStep, as: string | null]>([
    ['deliver', 'seller'], ['confirm', 'buyer'], ['cancel', 'buyer'], ['decline', 'seller'], ['dispute', 'buyer'], ['evidence', null],
    ['arbitrate', 'buyer'],
    ['resolve', 'arbiter'],
  ])('%s is taken for the %s when nobody is named', (step, as) => {
    expect(escrowRules.steps[step].operator).toBe(as);
    if (as === null) return;
    const state = waiting.find((one) => stateRefusal(escrowRules, one, step) === null) ?? P;
    const actor = { address: null, as: as as 'buyer' };
    expect(decisionOf(anEscrow({ state }), step, actor)).toMatchObject({ role: as, by: { buyer, seller, arbiter }[as] });
    // Where no arbiter was named the platform is the arbiter.
    if (step === 'resolve') expect(decisionOf(anEscrow({ state, arbiter: null }), step, actor)).toMatchObject({ role: 'arbiter',
      by: 'platform' });
  });

  test('an operator with the key of a party acts as what he says', () => {
    expect(outcome(anEscrow(), 'deliver', { address: buyer, as: 'seller' })).toBe(D);
    expect(outcome(anEscrow({ state: Q, arbiter: null }), 'resolve', { address: buyer, as: 'platform' })).toBe('released');
  });

  test('a named arbiter is that before anything else, whatever he says', () => {
    expect(outcome(anEscrow({ state: Q }), 'resolve', { address: arbiter, as: 'platform' })).toBe('released');
    expect(outcome(anEscrow(), 'confirm', { address: arbiter, as: 'buyer' })).toBe('unauthorized');
  });

  test('without address and role nobody is a party, not even where no arbiter was named', () => {
    for (const step of escrowSteps) expect(outcome(anEscrow({ state: Q, arbiter: null }), step,
      { address: null, as: null })).toBe('unauthorized');
  });

  test('nobody can act as the clock', () => {
    for (const step of escrowSteps) expect(outcome(anEscrow({ state: Q }), step, { address: null, as: 'clock' })).toBe('unauthorized');
  });
});
