/**
 * One escrow: its first activity holds the money; then it takes the steps of its parties and keeps the time, until the money is where it
 * belongs.
 */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { escrowRules, type EscrowStep } from '../domain/escrow.ts';
import { livePayment } from './live-payment.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<EscrowStep>>(quickly);
const patient = proxyActivities<PaymentActivities<EscrowStep>>(patiently);

export const escrow = (input: PaymentInput): Promise<PaymentResult> => livePayment(escrowRules, input, { quick, patient });
