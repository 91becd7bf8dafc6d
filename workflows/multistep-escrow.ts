/** One escrow of many steps: it takes confirmations in any order, and gives the rest back when the deadline comes. */
import { proxyLocalActivities } from '@temporalio/workflow';
import type { MultistepActivities } from '../activities/multistep/activities.ts';
import type { KeptPaymentInput, PaymentView } from './contracts/kept-payment.ts';
import { confirmStepMessages, refundMessages } from './contracts/multistep-escrow.ts';
import { keepPayment } from './keep.ts';

// Tried until it works, because money waits for it.
const { lookAtMultistep } =
  proxyLocalActivities<MultistepActivities>({ startToCloseTimeout: '5s', retry: { initialInterval: '200ms', maximumInterval: '30s' } });
// Somebody waits for these, and may ask again.
const { confirmMultistepStep, refundMultistep } = proxyLocalActivities<MultistepActivities>({
  startToCloseTimeout: '5s', retry: { initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 8 },
});

export async function multistepEscrow(input: KeptPaymentInput): Promise<PaymentView> {
  const { id } = input;
  const payment = keepPayment(input.view, input);
  payment.takes(confirmStepMessages, (step, key) => confirmMultistepStep({ id, step, key }));
  payment.takes(refundMessages, (_, key) => refundMultistep({ id, key }));

  while (!(await payment.endedOrDue())) payment.learn(await lookAtMultistep({ id }));
  await payment.answered();
  return payment.view();
}
