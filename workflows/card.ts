/** One virtual card: its first activity holds the money; then it waits for the charge, a cancellation, or the end of its time. */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import { cardRules, cardSteps, type CardStep } from '../domain/card.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { followPayment, patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<CardStep>>(quickly);
const patient = proxyActivities<PaymentActivities<CardStep>>(patiently);

export async function virtualCard(input: PaymentInput): Promise<PaymentResult> {
  const card = followPayment(cardRules, input, { quick, patient });
  for (const step of cardSteps) card.takes(step);

  await card.open();
  while (!card.hasEnded()) {
    if ((await card.nextEvent()) === 'deadline') await card.expire();
  }
  return card.result();
}
