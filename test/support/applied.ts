/** Decisions about escrows, ready for the statement that applies them, for tests of that statement. */
import type { Taken } from '../../activities/payment/take.ts';
import { escrowRules } from '../../domain/escrow.ts';
import { decide, decideOpening } from '../../domain/decide.ts';
import type { ClockVerdict, Opening, Payment, Verdict } from '../../domain/payment.ts';
import type { ApplyItem } from '../../ledger/payment-rows.ts';
import type { PaymentStore } from '../../ledger/payment-store.ts';

const nothing: Omit<ApplyItem, 'id' | 'expect' | 'decision' | 'refusal'> = {
  opening: null, postponeToMs: null, recordsRefusal: false, attempt: null, notAfterMs: null, claim: null, workflowStarted: false,
};

/** What was decided, ready to be applied to the payment where it is. */
export function anItem(payment: Payment, verdict: ClockVerdict, more: Partial<ApplyItem> = {}): ApplyItem {
  const decision = verdict.kind === 'apply' ? verdict.decision : null;
  const refusal = verdict.kind === 'postpone' ? null : verdict.refusal;
  const postponeToMs = verdict.kind === 'postpone' ? verdict.untilMs : null;
  return { ...nothing, id: payment.id, expect: payment.version, decision, refusal, postponeToMs, ...more };
}

/** The same for an escrow that is to be opened. */
export function anOpeningItem(opening: Opening, more: Partial<ApplyItem> = {}): ApplyItem {
  const askedAtMs = Date.now();
  const whole = { ...opening, kind: 'escrow', bucket: 'escrowed', askedAtMs, meter: null };
  return { ...nothing, id: opening.id, expect: 0, decision: decideOpening(escrowRules, opening, askedAtMs), opening: whole, refusal: null,
    ...more };
}

/** What the rules say of a step one millisecond before the deadline. */
export function inTime(payment: Payment, step: string, address: string, input: unknown = {}): Verdict {
  return decide(escrowRules, payment, { step, actor: { address, as: null }, input }, (payment.deadlineMs ?? 0) - 1);
}

/** What came of an attempt, in a few words. */
export function whatOf(taken: Taken): string {
  if (taken.kind === 'refused') return taken.refusal.code;
  return `${taken.replayed ? 'replayed ' : ''}${taken.again ? 'again ' : ''}${taken.payment.state}`;
}

/** The row of a payment that is there. */
export async function rowOf(store: PaymentStore, id: string): Promise<Payment> {
  const found = await store.read(id);
  if (found === null) throw new Error('There is no such payment.');
  return found.payment;
}
