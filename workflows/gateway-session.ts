/** One budget session: its first activity holds the budget; then it waits to be closed or to expire, and until no call needs the rest. */
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PaymentActivities } from '../activities/payment/activities.ts';
import type { PaymentInput, PaymentResult } from '../domain/payment-messages.ts';
import { sessionRules, type SessionStep } from '../domain/session.ts';
import { livePayment } from './live-payment.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<PaymentActivities<SessionStep>>(quickly);
const patient = proxyActivities<PaymentActivities<SessionStep>>(patiently);

export const gatewaySession = (input: PaymentInput): Promise<PaymentResult> => livePayment(sessionRules, input, { quick, patient });
