/** How pipelines look on the wire (contract alancoin-payments 2.4 and superset rule S4). */
import { z } from 'zod';
import { SuretyError, type FundsStatus } from '../../domain/errors.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import { hasEnded } from '../../domain/pipeline-rules.ts';
import { pipelineStates, stepName, type Pipeline, type PipelineState, type PipelineStep, type StepState,
  type UndoState } from '../../domain/pipeline.ts';
import type { GatewayCallModel, MeterModel, PipelineModel } from '../../prisma/generated/models.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

const undoOut = z.object({
  step: z.number().int(), callId: z.string(), status: z.enum(['registered', 'pending', 'done', 'failed', 'not_needed']),
  attempts: z.number().int(), error: z.string().optional(),
});
const stepOut = z.object({
  step: z.number().int(), stepIndex: z.number().int(), serviceType: z.string(), response: z.record(z.string(), z.unknown()).nullable(),
  serviceUsed: addressOut.nullable(),
  serviceName: z.string().nullable(), amountPaid: amountOut, latencyMs: z.number().int(), callId: z.string(), refundable: z.boolean(),
  status: z.enum(['planned', 'running', 'delivered', 'paid', 'failed', 'refunded', 'not_run']), error: z.string().optional(),
});
const sums = { totalPaid: amountOut, totalSpent: amountOut, remaining: amountOut };
const result = { steps: z.array(stepOut), ...sums };

/** The answer of a completed pipeline, nested and flat, because one client reads `result` and the other the top level. */
export const pipelineOut =
  z.object({ result: z.object(result), ...result, pipelineId: z.string(), workflowId: z.string(), sessionId: z.string(),
  status: z.enum(pipelineStates) });

export const pipelineRecordOut = z.object({
  ...result, pipelineId: z.string(), workflowId: z.string(), sessionId: z.string(), buyer: addressOut, status: z.enum(pipelineStates),
  allOrNothing: z.boolean(), held: amountOut,
  failedStep: z.number().int().optional(), error: z.string().optional(), compensations: z.array(undoOut), createdAt: timeOut,
  endedAt: timeOut.optional(),
});

export const pipelineSummaryOut = z.object({
  pipelineId: z.string(), workflowId: z.string(), sessionId: z.string(), status: z.enum(pipelineStates), steps: z.number().int(),
  allOrNothing: z.boolean(), held: amountOut, totalPaid: amountOut,
  failedStep: z.number().int().optional(), createdAt: timeOut, endedAt: timeOut.optional(),
});

function statusOf({ state, delivered, errorCode }: PipelineStep): z.input<typeof stepOut>['status'] {
  switch (state) {
    case 'planned': return 'planned';
    case 'accepted': return 'running';
    case 'delivered': return 'delivered';
    case 'settled': return 'paid';
    case 'released': return delivered ? 'refunded' : errorCode === 'pipeline_failed' ? 'not_run' : 'failed';
  }
}

function fieldsOf(step: PipelineStep): Omit<z.input<typeof stepOut>, 'response'> {
  return {
    step: step.step, stepIndex: step.step, serviceType: step.serviceType, serviceUsed: step.seller, serviceName: step.serviceName,
    amountPaid: formatMicros(step.paidMicros),
    latencyMs: step.latencyMs ?? 0, callId: step.callId, refundable: step.refundable, status: statusOf(step),
    ...(step.errorMessage === null ? {} : { error: step.errorMessage }),
  };
}

function showStep(step: PipelineStep): z.input<typeof stepOut> {
  return { ...fieldsOf(step), response: step.responseJson === null ? null : (JSON.parse(step.responseJson) as Record<string, unknown>) };
}

function sumsOf({ paidMicros, spentMicros, remainingMicros }: Pipeline) {
  return { totalPaid: formatMicros(paidMicros), totalSpent: formatMicros(spentMicros), remaining: formatMicros(remainingMicros) };
}

function compensationsOf({ steps }: Pipeline): z.input<typeof undoOut>[] {
  return steps.flatMap(({ step, callId, undo }) =>
    (undo === null ? [] : [{ step, callId, status: undo.state, attempts: undo.attempts,
    ...(undo.error === null ? {} : { error: undo.error }) }]));
}

/** A completed pipeline as text: the answers of its sellers go through as they came. */
export function writePipeline(pipeline: Pipeline): string {
  const steps = pipeline.steps.map((step) => `{"response":${step.responseJson ?? 'null'},${JSON.stringify(fieldsOf(step)).slice(1)}`)
    .join(',');
  const both = `"steps":[${steps}],${JSON.stringify(sumsOf(pipeline)).slice(1, -1)}`;
  const { id: pipelineId, workflowId, sessionId, state: status } = pipeline;
  return `{"result":{${both}},${both},${JSON.stringify({ pipelineId, workflowId, sessionId, status }).slice(1)}`;
}

/** Everything about a pipeline, in whatever state. */
export function showPipeline(pipeline: Pipeline): z.input<typeof pipelineRecordOut> {
  return {
    steps: pipeline.steps.map(showStep), ...sumsOf(pipeline), pipelineId: pipeline.id, workflowId: pipeline.workflowId,
    sessionId: pipeline.sessionId, buyer: pipeline.buyer,
    status: pipeline.state, allOrNothing: pipeline.allOrNothing, held: formatMicros(pipeline.heldMicros), ...endOf(pipeline),
    compensations: compensationsOf(pipeline),
  };
}

function endOf({ failedStep, errorMessage, createdAt, endedAt }: Pick<Pipeline, 'failedStep' | 'errorMessage' | 'createdAt' | 'endedAt'>) {
  return {
    ...(failedStep === null ? {} : { failedStep }), ...(errorMessage === null ? {} : { error: errorMessage }),
    createdAt: createdAt.toISOString(),
    ...(endedAt === null ? {} : { endedAt: endedAt.toISOString() }),
  };
}

/** A line of the list. */
export function showPipelineLine(row: PipelineModel): z.input<typeof pipelineSummaryOut> {
  const { failedStep, createdAt, endedAt } = row;
  return {
    pipelineId: row.id, workflowId: row.workflowId, sessionId: row.sessionId, status: row.state as PipelineState, steps: row.steps,
    allOrNothing: row.allOrNothing,
    held: formatMicros(row.held), totalPaid: formatMicros(row.totalPaid), ...endOf({ failedStep, errorMessage: null, createdAt, endedAt }),
  };
}

/** Stored rows as the domain's pipeline; steps in their order. */
export function pipelineOfModels(row: PipelineModel, steps: readonly GatewayCallModel[], meter: MeterModel | null): Pipeline {
  return {
    ...row, state: row.state as PipelineState, heldMicros: micros(row.held), paidMicros: micros(row.totalPaid),
    steps: steps.map(stepOfModel), spentMicros: micros(meter?.used ?? 0),
    remainingMicros: micros(meter?.open === true ? meter.capacity - meter.used - meter.reserved : 0),
  };
}

function stepOfModel(row: GatewayCallModel): PipelineStep {
  return {
    ...row, step: row.stepIndex ?? 0, callId: row.id, state: row.state as StepState, responseJson: row.state === 'settled' ? row.response
      : null, paidMicros: micros(row.price),
    delivered: row.httpStatus !== null && row.httpStatus >= 200 && row.httpStatus <= 299,
    undo: row.undoState === null ? null : { state: row.undoState as UndoState, attempts: row.undoAttempts, error: row.undoError },
  };
}

/** Why there is no complete result, with what was paid for. @param replayed an earlier request with the same key bought it. */
export function pipelineFault(pipeline: Pipeline, replayed: boolean): SuretyError {
  const { id: pipelineId, workflowId, state: status, failedStep, errorCode, errorMessage } = pipeline;
  const delivered = pipeline.steps.filter((step) => step.delivered);
  const ids = { pipelineId, workflowId, status };
  if (!hasEnded(status) && status !== 'undoing') {
    return new SuretyError('pipeline_pending', 'A step is still under way. The pipeline goes on and ends by itself.',
      { fundsStatus: 'held_pending', body: ids, replayed });
  }
  const body = {
    ...ids, ...(failedStep === null ? {} : { failedStep }),
    ...(errorCode === null ? {} : { cause: { code: errorCode, message: errorMessage } }), compensations: compensationsOf(pipeline),
    ...(delivered.length === 0 ? {} : { partialResult: { steps: delivered.map(showStep), ...sumsOf(pipeline) } }),
  };
  const paid = pipeline.steps.filter((step) => step.state === 'settled').length;
  const fundsStatus: FundsStatus = paid > 0 ? 'settled_safe' : 'returned';
  const money = paid === 0 ? 'Nothing was paid; all of it is back in the session\'s budget.'
    : `${formatMicros(pipeline.paidMicros)} was paid for ${paid} of ${pipeline.steps.length} steps; `
      + 'the rest is back in the session\'s budget.';
  if (pipeline.steps.some((step) => step.errorCode === 'unavailable')) return new SuretyError('unavailable',
    `The pipeline could not be begun. ${money}`, { fundsStatus, body, replayed });
  if (failedStep === null) return new SuretyError('pipeline_cancelled', `The pipeline was cancelled. ${money}`,
    { fundsStatus, body, replayed });
  return new SuretyError('pipeline_failed',
    `${stepName(failedStep, pipeline.steps.length)} failed: ${errorMessage ?? 'no seller delivered.'} ${money}`,
    { fundsStatus, body, replayed });
}
