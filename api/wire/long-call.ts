/** How long calls look on the wire: schema beside presenter. */
import { z } from 'zod';
import { longCallStates, type LongCall, type LongCallAnswer, type LongCallEvent } from '../../domain/long-call.ts';
import { formatMicros } from '../../domain/money.ts';
import type { Answer } from '../routing/route.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

/** What is long about a call. */
export const longOut = z.object({
  state: z.enum(longCallStates).describe('asking: its seller has not begun. begun: it can no longer be cancelled.'),
  deadline: timeOut.describe('Until when the seller has time; then the money goes back.'),
  askedAt: timeOut.optional(), begunAt: timeOut.optional(),
  percent: z.number().int().optional().describe('How far the seller says it is.'), note: z.string().optional(),
});

/** A long call after a step, as both sides may see it. */
export const longCallOut = longOut.extend({
  callId: z.string(), workflowId: z.string(), price: amountOut, seller: addressOut, serviceId: z.string(), serviceName: z.string(),
  error: z.string().optional().describe('Why it was given back.'),
});

/** The answer of a call that is not waited for. */
export const acceptedOut = longCallOut.extend({ sessionId: z.string(), statusUrl: z.string() });

export const longEventOut = z.object({
  version: z.number().int(), step: z.string(), by: z.string(), data: z.record(z.string(), z.unknown()), at: timeOut,
});

export function showLong({ state, deadline, askedAt, begunAt, percent, note }: LongCall): z.input<typeof longOut> {
  return {
    state, deadline: deadline.toISOString(), ...(askedAt === null ? {} : { askedAt: askedAt.toISOString() }),
    ...(begunAt === null ? {} : { begunAt: begunAt.toISOString() }), ...(percent === null ? {} : { percent }),
    ...(note === null ? {} : { note }),
  };
}

export function showLongCall(call: LongCall): z.input<typeof longCallOut> {
  const { id: callId, workflowId, priceMicros, seller, serviceId, serviceName, errorMessage } = call;
  return {
    callId, workflowId, ...showLong(call), price: formatMicros(priceMicros), seller, serviceId, serviceName,
    ...(errorMessage === null ? {} : { error: errorMessage }),
  };
}

export function showAccepted(call: LongCall, baseUrl: string): z.input<typeof acceptedOut> {
  return { ...showLongCall(call), sessionId: call.sessionId, statusUrl: `${baseUrl}/v1/gateway/calls/${call.id}` };
}

/** 202: accepted, and where to ask what has become of it. */
export function answerLater({ call, replayed }: LongCallAnswer, baseUrl: string): Answer {
  const body = showAccepted(call, baseUrl);
  return { status: 202, body, headers: { Location: body.statusUrl, 'Preference-Applied': 'respond-async',
    ...(replayed ? { 'Idempotent-Replayed': 'true' } : {}) } };
}

export function showLongEvent({ version, step, role, data, at }: LongCallEvent): z.input<typeof longEventOut> {
  return { version, step, by: role, data: { ...data }, at: at.toISOString() };
}
