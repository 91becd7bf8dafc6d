/** One escrow: it takes the steps of its parties, keeps the deadline of each state, and sees that the money goes where it belongs. */
import { proxyLocalActivities } from '@temporalio/workflow';
import type { EscrowActivities } from '../activities/escrow/activities.ts';
import { escrowSteps } from '../domain/escrow.ts';
import { escrowMessages } from './contracts/escrow.ts';
import type { KeptPaymentInput, PaymentView } from './contracts/kept-payment.ts';
import { keepPayment } from './keep.ts';

// Local: each is one quick statement, safe to repeat, and the history stays short. The clock's step is tried until it works.
const { lookAtEscrow } = proxyLocalActivities<EscrowActivities>({ startToCloseTimeout: '10s', retry: { initialInterval: '200ms', maximumInterval: '30s' } });
// Somebody may be waiting for the answer, so this gives up when the database stays away.
const { takeEscrowStep } = proxyLocalActivities<EscrowActivities>({ startToCloseTimeout: '10s', retry: { initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 8 } });

export async function escrow({ id, view }: KeptPaymentInput): Promise<PaymentView> {
  const payment = keepPayment(view);
  for (const step of escrowSteps) payment.takes(escrowMessages(step), (input) => takeEscrowStep({ id, step, input }));

  while (!(await payment.endedOrDue())) payment.learn(await lookAtEscrow({ id }));
  await payment.answered();
  return payment.view();
}
