/**
 * One escrow of many steps: its first activity holds the money of the plan; then it takes confirmations in any order, each of which pays a
 * seller, until all are paid, the buyer takes the rest back, or the time is up.
 */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import { multistepRules, type MultistepStep } from '../domain/multistep.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { livePayment } from './live-payment.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<MultistepStep>>(quickly);
const patient = proxyActivities<PaymentActivities<MultistepStep>>(patiently);

export const multistepEscrow = (input: PaymentInput): Promise<PaymentResult> =>
  livePayment(multistepRules, input, { quick, patient });
