/** Payments as plain values, moved by decisions: what `payment_apply` does to rows, said once more and independently of it. */
import { decideOpening } from '../../domain/decide.ts';
import { micros } from '../../domain/money.ts';
import type { AnyRules, Decision, Move, Opening, Payment } from '../../domain/payment.ts';

/** A payment that has just been opened. */
export function opened(rules: AnyRules, opening: Opening, nowMs: number): Payment {
  const { to, deadlineMs, details, moves } = decideOpening(rules, opening, nowMs);
  expect(moves).toEqual([{ move: 'hold', amountMicros: opening.amountMicros }]);
  const { parts: _parts, lookup: _lookup, amountMicros: heldMicros, ...same } = opening;
  const idleMs = rules.meter?.(opening.terms).idleMs ?? null;
  return {
    ...same, kind: rules.kind, state: to, version: 1, deadlineMs, heldMicros, paidMicros: micros(0n), returnedMicros: micros(0n), parts: [],
    meter: rules.meter === undefined ? null : { isOpen: true, capacityMicros: heldMicros, usedMicros: micros(0n),
      reservedMicros: micros(0n), uses: 0, idleMs, lastUsedAtMs: nowMs },
    resolution: null, details, workflowStarted: false, createdAtMs: nowMs, updatedAtMs: nowMs, endedAtMs: null,
  };
}

/** The payment as it is after a decision. Throws where a move would take more than there is. */
export function applied<Kind extends Payment>(payment: Kind, { to, deadlineMs, moves, resolution, details, meter }: Decision): Kind {
  const moved = moves.reduce<Payment>(after, payment);
  const closed = moved.meter !== null && meter?.closes === true ? { meter: { ...moved.meter, isOpen: false } } : {};
  return { ...payment, ...moved, ...closed, state: to, version: payment.version + 1, deadlineMs, resolution, details };
}

function after(payment: Payment, move: Move): Payment {
  const { heldMicros, paidMicros, returnedMicros, meter, seller } = payment;
  const rest = heldMicros - paidMicros - returnedMicros;
  const amount = move.amountMicros === 'rest' ? rest : move.amountMicros === 'used' ? usedOf(payment) - paidMicros : move.amountMicros;
  if (move.move === 'hold' || move.move === 'count') throw new Error(`Not a move of a step here: ${move.move}.`);
  if (move.move === 'increase') {
    const more = meter === null ? {} : { meter: { ...meter, capacityMicros: micros(meter.capacityMicros + amount) } };
    return { ...payment, heldMicros: micros(heldMicros + amount), ...more };
  }
  if (amount < 0n || amount > rest) throw new Error(`${move.move} of ${amount}, and there are ${rest}.`);
  if (move.move !== 'pay') return { ...payment, returnedMicros: micros(returnedMicros + amount) };
  expect(move.to).toBe(seller);
  return { ...payment, paidMicros: micros(paidMicros + amount) };
}

function usedOf({ meter }: Payment): bigint {
  if (meter === null) throw new Error('A payment without a meter has used nothing.');
  return meter.usedMicros;
}
