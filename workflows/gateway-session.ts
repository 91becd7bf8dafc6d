/** One budget session: its first activity holds the budget; then it waits to be closed or to expire, and until no call needs the rest. */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { sessionRules, sessionSteps, type SessionStep } from '../domain/session.ts';
import { followPayment, patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<SessionStep>>(quickly);
const patient = proxyActivities<PaymentActivities<SessionStep>>(patiently);

export async function gatewaySession(input: PaymentInput): Promise<PaymentResult> {
  const payment = followPayment(sessionRules, input, { quick, patient });
  for (const step of sessionSteps) payment.takes(step);

  await payment.open();
  while (!payment.hasEnded()) {
    if ((await payment.nextEvent()) === 'deadline') await payment.expire();
  }
  return payment.result();
}
