/** How gateway sessions and calls look on the wire (contract alancoin-payments 2.4 and superset rules S2, S3). */
import { z } from 'zod';
import type { CallAnswer, DryRun, Session } from '../../domain/gateway.ts';
import { formatMicros } from '../../domain/money.ts';
import type { GatewayCallModel } from '../../prisma/generated/models.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

export const sessionOut = z.object({
  id: z.string(), agentAddress: addressOut, tenantId: z.string().optional(), maxTotal: amountOut, maxPerRequest: amountOut,
  totalSpent: amountOut, remaining: amountOut,
  reserved: amountOut, requestCount: z.number().int(), strategy: z.string(), allowedTypes: z.array(z.string()),
  warnAtPercent: z.number().int(),
  maxRequestsPerMinute: z.number().int(), status: z.enum(['active', 'closed', 'expired']), workflowId: z.string(), expiresAt: timeOut,
  createdAt: timeOut, updatedAt: timeOut,
});

export function showSession(session: Session): z.input<typeof sessionOut> {
  const { id, agentAddress, tenantId, strategy, allowedTypes, requestCount, warnAtPercent, maxRequestsPerMinute, status, workflowId } =
    session;
  const remaining = status === 'active' ? session.maxTotalMicros - session.spentMicros - session.reservedMicros : 0n;
  return {
    id, agentAddress, ...(tenantId === null ? {} : { tenantId }), maxTotal: formatMicros(session.maxTotalMicros),
    maxPerRequest: formatMicros(session.maxPerRequestMicros),
    totalSpent: formatMicros(session.spentMicros), remaining: formatMicros(remaining), reserved: formatMicros(session.reservedMicros),
    requestCount, strategy,
    allowedTypes: [...allowedTypes], warnAtPercent, maxRequestsPerMinute, status, workflowId,
    expiresAt: session.expiresAt.toISOString(), createdAt: session.createdAt.toISOString(), updatedAt: session.updatedAt.toISOString(),
  };
}

const answerFields = {
  response: z.record(z.string(), z.unknown()).nullable(), serviceUsed: addressOut, serviceId: z.string(),
  serviceName: z.string(), amountPaid: amountOut,
  latencyMs: z.number().int(), retries: z.number().int(), callId: z.string(), sessionId: z.string(), workflowId: z.string().nullable(),
};
const budgetFields = { totalSpent: amountOut, remaining: amountOut, budgetLow: z.boolean(), requestCount: z.number().int() };
export const callOut = z.object({ result: z.object({ ...answerFields, ...budgetFields }), ...answerFields, ...budgetFields });

/**
 * A settled call, nested and flat, because one client reads `result` and the other the top level. Written as text: the seller's
 * answer goes through as it came, without being read and written once more.
 */
export function writeCall(answer: CallAnswer): string {
  const fields = JSON.stringify({
    serviceUsed: answer.serviceUsed, serviceId: answer.serviceId, serviceName: answer.serviceName,
    amountPaid: formatMicros(answer.amountMicros), latencyMs: answer.latencyMs,
    retries: answer.retries, callId: answer.callId, sessionId: answer.sessionId, workflowId: answer.workflowId,
    totalSpent: formatMicros(answer.totalSpentMicros),
    remaining: formatMicros(answer.remainingMicros), budgetLow: answer.budgetLow, requestCount: answer.requestCount,
  }).slice(1, -1);
  const both = `"response":${answer.responseJson ?? 'null'},${fields}`;
  return `{"result":{${both}},${both}}`;
}

export const dryRunOut = z.object({
  allowed: z.boolean(), budgetOk: z.boolean(), remaining: z.string(), serviceFound: z.boolean(), bestPrice: amountOut.optional(),
  bestService: z.string().optional(),
  denyReason: z.string().optional(), estimatedCallsRemaining: z.number().int().optional(),
});

export function showDryRun(run: DryRun): z.input<typeof dryRunOut> {
  return {
    allowed: run.allowed, budgetOk: run.budgetOk, remaining: run.remainingMicros === null ? '' : formatMicros(run.remainingMicros),
    serviceFound: run.serviceFound,
    ...(run.bestPriceMicros === null ? {} : { bestPrice: formatMicros(run.bestPriceMicros) }),
    ...(run.bestService === null ? {} : { bestService: run.bestService }),
    ...(run.denyReason === null ? {} : { denyReason: run.denyReason }),
    ...(run.estimatedCallsRemaining === null ? {} : { estimatedCallsRemaining: run.estimatedCallsRemaining }),
  };
}

/** One attempt at a seller, whether it delivered or not; nobody is paid for one that did not. */
const attemptOut = z.object({
  seller: addressOut, serviceId: z.string(), price: amountOut, outcome: z.string(), httpStatus: z.number().int().nullable(),
  message: z.string().nullable(), startedAt: timeOut, latencyMs: z.number().int(),
});

export const logOut = z.object({
  id: z.string(), sessionId: z.string(), serviceType: z.string(), agentCalled: z.string(), amount: z.string(),
  feeAmount: amountOut.optional(),
  status: z.enum(['success', 'forward_failed', 'no_service', 'in_progress']), latencyMs: z.number().int(),
  error: z.string().optional(), createdAt: timeOut,
  attempts: z.array(attemptOut).describe('Every attempt at a seller, in order; empty where none was found.'),
  times: z.number().int().optional()
    .describe('How many calls of that minute found no seller for the same reason, where there were several.'),
  workflowId: z.string().nullable(),
});

const logStatus = { planned: 'in_progress', accepted: 'in_progress', delivered: 'in_progress', settled: 'success',
  released: 'forward_failed', refused: 'no_service' } as const;

/** A call as a line of its session's log, with every attempt at a seller. */
export function showLog(row: GatewayCallModel): z.input<typeof logOut> {
  const settled = row.state === 'settled';
  return {
    id: row.id, sessionId: row.sessionId, serviceType: row.serviceType, agentCalled: row.state === 'refused' ? '' : (row.seller ?? ''),
    amount: settled ? formatMicros(row.price) : '0', ...(settled && row.fee > 0n ? { feeAmount: formatMicros(row.fee) } : {}),
    status: logStatus[row.state as keyof typeof logStatus], latencyMs: row.latencyMs ?? 0,
    ...(row.errorMessage === null ? {} : { error: row.errorMessage }),
    createdAt: row.acceptedAt.toISOString(), attempts: showAttempts(row), ...(row.times > 1 ? { times: row.times } : {}),
    workflowId: row.workflowId,
  };
}

type StoredAttempt = Omit<z.input<typeof attemptOut>, 'price'> & { readonly priceMicros: string };

function showAttempts({ attempts }: GatewayCallModel): z.input<typeof attemptOut>[] {
  return (attempts as StoredAttempt[]).map(({ priceMicros, ...attempt }) => ({ ...attempt, price: formatMicros(priceMicros) }));
}
