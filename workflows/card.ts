/** One virtual card: its first activity holds the money; then it waits for the charge, a cancellation, or the end of its time. */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { cardRules, type CardStep } from '../domain/card.ts';
import { livePayment } from './live-payment.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<CardStep>>(quickly);
const patient = proxyActivities<PaymentActivities<CardStep>>(patiently);

export const virtualCard = (input: PaymentInput): Promise<PaymentResult> => livePayment(cardRules, input, { quick, patient });
