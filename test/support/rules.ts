/** Rules of a kind of payment, asked as a test asks them: no database, no Temporal, and a clock that stands still. */
import { decide, decideByClock, decideOpening } from '../../domain/decide.ts';
import { micros, ZERO } from '../../domain/money.ts';
import type { Actor, AnyRules, ClockVerdict, Decision, Move, Opening, Payment, Refusal, Verdict } from '../../domain/payment.ts';

export const [buyer, seller, arbiter, stranger] = ['b', 'c', 'a', 'd'].map((digit) => `0x${digit.repeat(40)}`) as [string, string, string,
  string];
/** When everything happens. */
export const rulesNowMs = 1_800_000_000_000;

/** Everybody who may try a step. */
export const actors = {
  buyer: { address: buyer, as: null }, seller: { address: seller, as: null }, arbiter: { address: arbiter, as: null },
  stranger: { address: stranger, as: null },
  platform: { address: null, as: 'platform' },
} as const satisfies Record<string, Actor>;
export type Who = keyof typeof actors;

interface Asked { readonly input?: unknown; readonly nowMs?: number }

/** Questions to the rules of a kind. @param inputs with which each step is complete, as the rules read them. */
export function judging<Step extends string>(rules: AnyRules, inputs: Readonly<Record<Step, unknown>>) {
  const inputOf = (step: string): unknown => inputs[step as Step];
  const judge = (payment: Payment, step: string, actor: Actor, { input = inputOf(step), nowMs = rulesNowMs }: Asked = {}): Verdict =>
    decide(rules, payment, { step, actor, input }, nowMs);
  return {
    /** What becomes of it, in a word: the state it leads to, or the code of the refusal. */
    outcome(payment: Payment, step: string, actor: Actor, asked?: Asked): string {
      const verdict = judge(payment, step, actor, asked);
      return verdict.kind === 'apply' ? verdict.decision.to : verdict.refusal.code;
    },
    /** What is decided; a refusal is an error. */
    decisionOf(payment: Payment, step: Step, actor: Actor, input: unknown = inputOf(step), nowMs = rulesNowMs): Decision {
      const verdict = judge(payment, step, actor, { input, nowMs });
      if (verdict.kind === 'refuse') throw new Error(verdict.refusal.message);
      return verdict.decision;
    },
    /** Why whoever asked is refused; null when not. */
    refusalOf: (payment: Payment, step: Step, actor: Actor, input: unknown = inputOf(step)): Refusal | null =>
      judge(payment, step, actor, { input }).refusal,
  };
}

/** A payment as an opening leaves it. */
export function opened(rules: AnyRules, opening: Opening, nowMs: number): Payment {
  const { to, deadlineMs, details, moves } = decideOpening(rules, opening, nowMs);
  expect(moves).toEqual([{ move: 'hold', amountMicros: opening.amountMicros }]);
  const { parts: planned = [], lookup: _lookup, amountMicros: heldMicros, ...same } = opening;
  const parts = planned.map(({ payee, amountMicros }, index) => ({ index, payee, amountMicros: micros(amountMicros), paidAtMs: null }));
  const meter = rules.meter === undefined ? null : { isOpen: true, capacityMicros: heldMicros, usedMicros: ZERO, reservedMicros: ZERO,
    uses: 0, idleMs: rules.meter(opening.terms).idleMs, lastUsedAtMs: nowMs };
  return {
    ...same, kind: rules.kind, state: to, version: 1, deadlineMs, heldMicros, paidMicros: ZERO, returnedMicros: ZERO, meter, parts,
    resolution: null, details, workflowStarted: false, createdAtMs: nowMs, updatedAtMs: nowMs, endedAtMs: null,
  };
}

/**
 * The row as it is after a decision. The same as `payment_apply` does, said once more and independently; what must never be decided, such
 * as paying a part twice, fails.
 */
export function applied<Known extends Payment>(payment: Known, { to, deadlineMs, moves, resolution, details, meter }: Decision): Known {
  let now = payment;
  for (const move of moves) now = moved(now, move);
  const closed = now.meter !== null && meter?.closes === true ? { meter: { ...now.meter, isOpen: false } } : {};
  return { ...now, ...closed, state: to, version: payment.version + 1, deadlineMs, resolution, details };
}

function moved<Known extends Payment>(payment: Known, move: Move): Known {
  const { heldMicros, paidMicros: before, returnedMicros, meter } = payment;
  const rest = heldMicros - before - returnedMicros;
  const amount = move.amountMicros === 'rest' ? rest : move.amountMicros === 'used' ? usedOf(payment) - before : move.amountMicros;
  if (move.move === 'hold' || move.move === 'count') throw new Error(`Not a move of a step here: ${move.move}.`);
  if (move.move === 'increase') {
    const more = meter === null ? {} : { meter: { ...meter, capacityMicros: micros(meter.capacityMicros + amount) } };
    return { ...payment, heldMicros: micros(heldMicros + amount), ...more };
  }
  if (amount < 0n || amount > rest) throw new Error(`${move.move} of ${amount}, and there are ${rest}.`);
  if (move.move !== 'pay') return { ...payment, returnedMicros: micros(returnedMicros + amount) };
  const paidMicros = micros(before + amount);
  const part = move.part === undefined ? undefined : payment.parts[move.part];
  expect(move.to).toBe(part === undefined ? payment.seller : part.payee);
  if (part === undefined) return { ...payment, paidMicros };
  expect([part.paidAtMs, amount]).toEqual([null, part.amountMicros]);
  return { ...payment, paidMicros, parts: payment.parts.map((one) => (one === part ? { ...one, paidAtMs: rulesNowMs } : one)) };
}

function usedOf({ meter }: Payment): bigint {
  if (meter === null) throw new Error('A payment without a meter has used nothing.');
  return meter.usedMicros;
}

/** What the rules say of a step or of the clock. Without a meter nothing is ever postponed. */
export function verdictOn(rules: AnyRules, payment: Payment, { step, actor, raw }: { step: string; actor: Actor; raw: unknown },
    nowMs: number): Verdict {
  if (step !== 'clock') return decide(rules, payment, { step, actor, input: rules.read(step, raw) as unknown }, nowMs);
  const verdict: ClockVerdict = decideByClock(rules, payment, nowMs);
  if (verdict.kind === 'postpone') throw new Error('Nothing is postponed without a meter.');
  return verdict;
}
