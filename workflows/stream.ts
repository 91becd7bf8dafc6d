/**
 * One metered stream: its first activity holds the deposit; then it waits to be topped up and closed, and ends by itself when it has not
 * ticked for too long. Ticks never come here: when the time of silence is up, its activity finds out whether there were any.
 */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { streamRules, type StreamStep } from '../domain/stream.ts';
import { livePayment } from './live-payment.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<StreamStep>>(quickly);
const patient = proxyActivities<PaymentActivities<StreamStep>>(patiently);

export const stream = (input: PaymentInput): Promise<PaymentResult> => livePayment(streamRules, input, { quick, patient });
