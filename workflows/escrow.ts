/**
 * One escrow: its first activity holds the money; then it takes the steps of its parties and keeps the time, until the money is where it
 * belongs.
 */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import { escrowRules, escrowSteps, type EscrowStep } from '../domain/escrow.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { followPayment, patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<EscrowStep>>(quickly);
const patient = proxyActivities<PaymentActivities<EscrowStep>>(patiently);

export async function escrow(input: PaymentInput): Promise<PaymentResult> {
  const payment = followPayment(escrowRules, input, { quick, patient });
  for (const step of escrowSteps) payment.takes(step);

  await payment.open();
  while (!payment.hasEnded()) {
    if ((await payment.nextEvent()) === 'deadline') await payment.expire();
  }
  return payment.result();
}
