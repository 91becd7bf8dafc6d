/** The life of a payment, from its opening to its end: what the workflow of a kind is made of that waits for people and clocks. */
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import type { AnyRules } from '../domain/payment.ts';
import { followPayment, type Performers } from './payment.ts';

/** Opens it, has the steps of its table taken by update or signal, keeps its time, and says how it ended. */
export async function livePayment(rules: AnyRules, input: PaymentInput, performers: Performers): Promise<PaymentResult> {
  const payment = followPayment(rules, input, performers);
  for (const step of Object.keys(rules.steps)) payment.takes(step);
  await payment.open();
  while (!payment.hasEnded()) {
    if ((await payment.nextEvent()) === 'deadline') await payment.expire();
  }
  return payment.result();
}
