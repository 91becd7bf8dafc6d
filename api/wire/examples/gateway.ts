/** One session in the docs, with a call and a pipeline that were bought in it. */
import type { CallAnswer, Session } from '../../../domain/gateway.ts';
import { parseAmount, ZERO } from '../../../domain/money.ts';
import type { Pipeline, PipelineStep } from '../../../domain/pipeline.ts';
import { showSession, writeCall } from '../gateway.ts';
import { showPipeline, writePipeline } from '../pipeline.ts';
import { at, buyer, callId, callWorkflowId, digits, otherSeller, seller, serviceId, wholePage } from './cast.ts';

const session: Session = {
  id: `gw_${digits}`, agentAddress: buyer, tenantId: null, maxTotalMicros: parseAmount('5.00'), maxPerRequestMicros: parseAmount('0.50'),
  strategy: 'best_value', allowedTypes: [], warnAtPercent: 0,
  maxRequestsPerMinute: 100, lifeMs: 3_600_000, expiresAt: at(60), spentMicros: ZERO, reservedMicros: ZERO, requestCount: 0,
  status: 'active', workflowId: `gateway-session-gw_${digits}`, createdAt: at(0), updatedAt: at(0),
};
const used: Session = { ...session, spentMicros: parseAmount('0.02'), requestCount: 1, updatedAt: at(1) };

const bought: CallAnswer = {
  callId, sessionId: session.id, workflowId: callWorkflowId, responseJson: '{"words":6}', serviceUsed: seller, serviceId,
  serviceName: 'Word counter', amountMicros: parseAmount('0.02'), latencyMs: 12,
  retries: 0, totalSpentMicros: used.spentMicros, remainingMicros: parseAmount('4.98'), requestCount: 1, budgetLow: false, replayed: false,
};
const wish = { serviceType: 'word-statistics', params: { text: 'To be or not to be' } };

export const openExample = { body: { maxTotal: '5.00', maxPerRequest: '0.50', strategy: 'best_value' },
  answer: { session: showSession(session), token: session.id } };
export const oneSessionExample = { answer: { session: showSession(used) } };
export const sessionsExample = { answer: { sessions: [showSession(used)], ...wholePage } };
export const closeExample = {
  answer: { session: showSession({ ...used, status: 'closed', updatedAt: at(2) }), totalSpent: '0.020000', totalRefunded: '4.980000',
    stillReserved: '0.000000', requestCount: 1 },
};
export const callExample = { body: wish, answer: JSON.parse(writeCall(bought)) as unknown };
const log = {
  id: callId, sessionId: session.id, serviceType: wish.serviceType, agentCalled: seller, amount: '0.020000', status: 'success',
  latencyMs: 12, createdAt: at(1).toISOString(),
  attempts: [{ seller, serviceId, price: '0.020000', outcome: 'delivered', httpStatus: 200, message: null,
    startedAt: at(1).toISOString(), latencyMs: 12 }],
  workflowId: callWorkflowId,
};
export const logsExample = { answer: { logs: [log], ...wholePage } };
export const oneCallExample = { answer: { call: { ...log, response: { words: 6 } }, events: [], has_more: false } };
export const callOnceExample = { body: { ...wish, maxPrice: '0.05' },
  answer: JSON.parse(writeCall({ ...bought, totalSpentMicros: bought.amountMicros, remainingMicros: ZERO })) as unknown };

const step = (index: number, change: Partial<PipelineStep>): PipelineStep => ({
  step: index, callId: index === 0 ? callId : 'call_1b2c3d4e5f60718293a4b5c6', serviceType: 'translation', state: 'settled',
  responseJson: '{"output":"Bonjour"}', seller, serviceId,
  serviceName: 'Polyglot', paidMicros: parseAmount('0.10'), latencyMs: 240, refundable: false, errorCode: null, errorMessage: null,
  delivered: true, undo: null, ...change,
});
const pipeline: Pipeline = {
  id: `pipe_${digits}`, sessionId: session.id, buyer, workflowId: `pipeline-pipe_${digits}`, state: 'completed', allOrNothing: false,
  version: 2, heldMicros: parseAmount('0.15'),
  paidMicros: parseAmount('0.15'), failedStep: null, errorCode: null, errorMessage: null,
  steps: [step(0, {}),
    step(1, { serviceType: 'summary', responseJson: '{"output":"A greeting."}', seller: otherSeller, serviceName: 'In brief',
    paidMicros: parseAmount('0.05'), latencyMs: 310, refundable: true })],
  spentMicros: parseAmount('0.15'), remainingMicros: parseAmount('4.85'), createdAt: at(5), endedAt: at(5),
};
/** Stopped while its first step was at work: that one is paid, the other never began. */
const cancelling: Pipeline = {
  ...pipeline, state: 'cancelling', paidMicros: ZERO, spentMicros: ZERO, endedAt: null,
  steps: pipeline.steps.map((each) =>
    ({ ...each, state: each.step === 0 ? 'accepted' : 'planned', responseJson: null, paidMicros: ZERO,
    latencyMs: null, delivered: false })),
};

/** Its second step failed, and the compensation of the first was refused; now it is called again. */
const undoneAgain: Pipeline = {
  ...pipeline, state: 'undoing', version: 6, paidMicros: parseAmount('0.10'), spentMicros: parseAmount('0.10'),
  remainingMicros: parseAmount('4.90'), failedStep: 1, errorCode: 'proxy_failed', errorMessage: 'In brief answered with HTTP 500.',
  endedAt: null,
  steps: pipeline.steps.map((each) => (each.step === 0
    ? { ...each, undo: { state: 'pending', attempts: 1, error: 'answered with HTTP 410' } }
    : { ...each, state: 'released', responseJson: null, paidMicros: ZERO, latencyMs: null, delivered: false, errorCode: 'proxy_failed',
      errorMessage: 'In brief answered with HTTP 500.' })),
};

export const pipelineExample = {
  body: { steps: [{ serviceType: 'translation', params: { text: 'Hello' }, maxPrice: '0.10' },
    { serviceType: 'summary', params: { text: '$prev.output' }, refundable: true }] },
  answer: JSON.parse(writePipeline(pipeline)) as unknown,
};
export const cancelExample = { answer: { pipeline: showPipeline(cancelling) } };
export const retryUndoExample = { answer: { pipeline: showPipeline(undoneAgain) } };
export const onePipelineExample = { answer: { pipeline: showPipeline(pipeline) } };
