/** Pipelines: several paid steps of a session in a row, the answer of one handed to the next. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { SERVICE_TYPE } from '../../domain/ids.ts';
import { STEPS_MAX, stepName, type PipelineRequest, type StepWish } from '../../domain/pipeline.ts';
import type { RouteDeps } from '../deps.ts';
import { cancelExample, onePipelineExample, pipelineExample, retryUndoExample } from '../wire/examples/gateway.ts';
import { pipelineFault, pipelineOfModels, pipelineOut, pipelineRecordOut, pipelineSummaryOut, showPipeline, showPipelineLine,
  writePipeline } from '../wire/pipeline.ts';
import { cutPage, listAnswer, pagingOut } from '../routing/paging.ts';
import { onlyParties, wrongParty, type Asking } from '../routing/parties.ts';
import { route, type Route } from '../routing/route.ts';
import { address, amount, cursor, emptyIsAbsent, idempotencyKey, idParams, jsonObject, limit, writeCursor } from '../wire/fields.ts';
import { asTokenError, gatewayToken } from './gateway-calls.ts';

const stepBody = z.strictObject({
  serviceType: z.string().min(1).max(200).describe('What kind of service is wanted.'),
  params: jsonObject.nullish()
    .describe('Handed to the seller. A text that is `$prev` or `$prev.a.b` is replaced by the previous answer, or what stands there.'),
  maxPrice: z.preprocess(emptyIsAbsent, amount.optional()).describe('Most that this step may cost.'),
  preferAgent: z.preprocess(emptyIsAbsent, address.optional()).describe('This seller is asked first, if it fits.'),
  refundable: z.boolean().optional()
    .describe('Paid when the pipeline completes, instead of when the step delivers; given back when it does not complete. Bought only of '
      + 'services that offer this (`refundable: true`).'),
  compensation: z.strictObject({
    endpoint: z.string().min(1).max(2_000)
      .describe('Receives a signed POST when the pipeline does not complete and this step has delivered.'),
    params: jsonObject.nullish(),
  }).optional(),
});

const runBody = z.object({
  steps: z.array(stepBody).min(1).max(STEPS_MAX),
  allOrNothing: z.boolean().optional()
    .describe('Every step is refundable: a failure gives everything back. Every service must offer that.'),
  idempotencyKey: z.preprocess(emptyIsAbsent, idempotencyKey.optional())
    .describe('The same key in the same session answers with the first pipeline and charges nothing.'),
});

function textOf(params: Record<string, unknown> | null | undefined): string {
  return params === undefined || params === null ? '{}' : JSON.stringify(params);
}

/** @throws SuretyError `no_service` for a type that no service can have. */
function wishOf(step: z.output<typeof stepBody>, index: number, { length }: readonly unknown[]): StepWish {
  if (!SERVICE_TYPE.test(step.serviceType)) throw new SuretyError('no_service',
    `${stepName(index, length)}: no service can have a type of this form.`, { body: { failedStep: index } });
  const { compensation } = step;
  return {
    serviceType: step.serviceType, paramsJson: textOf(step.params), maxPriceMicros: step.maxPrice ?? null,
    preferAgent: step.preferAgent ?? null, refundable: step.refundable ?? false,
    compensation: compensation === undefined ? null : { endpoint: compensation.endpoint, paramsJson: textOf(compensation.params) },
  };
}


export function gatewayPipelineRoutes(deps: RouteDeps): Route[] {
  return [runRoute(deps), cancelRoute(deps), retryUndoRoute(deps), ...readRoutes(deps)];
}

function runRoute({ pipelines }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/gateway/pipeline', access: 'agent', tag: 'Gateway', movesMoney: true,
    headers: [{ name: 'X-Gateway-Token', description: 'The id of the session that pays.', required: true }],
    summary: 'Buys one to ten steps in order, each handed the answer of the one before; their prices are reserved together.',
    description: 'A failing step ends the pipeline: `partialResult` tells what was paid, steps marked `refundable` are given back, '
      + 'and declared compensations are called in reverse order.',
    body: runBody, answer: pipelineOut,
    example: pipelineExample,
    errors: ['no_service', 'no_refundable_service', 'budget_exceeded', 'rate_limited', 'session_closed', 'session_expired', 'forbidden',
      'invalid_endpoint', 'pipeline_failed', 'pipeline_cancelled', 'pipeline_pending',
      'idempotency_mismatch', 'idempotency_in_progress', 'unavailable'],
    handler: async ({ caller, req, body, idempotencyClaim }) => {
      const token = gatewayToken(req);
      const request: PipelineRequest = {
        steps: body.steps.map(wishOf), allOrNothing: body.allOrNothing ?? false,
        // The body's key belongs to its session; the header's key belongs to the buyer.
        idempotency: idempotencyClaim(body.idempotencyKey === undefined ? null : `${token}/${body.idempotencyKey}`),
      };
      const { pipeline, replayed } = await pipelines.run(caller.address, caller.tenantId, token, request).catch((error: unknown): never => {
        throw asTokenError(error);
      });
      if (pipeline.state !== 'completed') throw pipelineFault(pipeline, replayed);
      return { body: writePipeline(pipeline), contentType: 'application/json; charset=utf-8',
        ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
    },
  });
}

function cancelRoute({ pipelines }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/gateway/pipelines/:id/cancel', access: 'agent', tag: 'Gateway', movesMoney: true,
    summary: 'Stops a pipeline after the step under way; what that step costs is paid, or given back where it is refundable.',
    params: idParams, answer: z.object({ pipeline: pipelineRecordOut }), example: cancelExample,
    errors: ['not_found', 'unauthorized', 'invalid_state', 'busy', 'unavailable'],
    handler: async ({ caller, params }) =>
      ({ body: { pipeline: showPipeline(await pipelines.act('cancel', caller.address, params.id)) } }),
  });
}

function retryUndoRoute({ pipelines }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/gateway/pipelines/:id/retry-undo', access: 'agent_or_admin', tag: 'Gateway', movesMoney: true,
    summary: 'Has the compensations of a pipeline called again that were given up, for as long as the first time, under the same keys.',
    params: idParams, answer: z.object({ pipeline: pipelineRecordOut }), example: retryUndoExample,
    errors: ['not_found', 'unauthorized', 'invalid_state', 'busy', 'unavailable'],
    // An admin's key that is also an agent's acts for the platform.
    handler: async ({ caller, isAdmin, params }) =>
      ({ body: { pipeline: showPipeline(await pipelines.act('retry-undo', isAdmin ? null : (caller?.address ?? ''), params.id)) } }),
  });
}

/** The pipeline, if it is the caller's. Errors: not_found, unauthorized (403). */
async function readPipeline({ prisma }: RouteDeps, asking: Asking, id: string) {
  const row = await prisma.pipeline.findUnique({ where: { id } });
  if (row === null) throw new SuretyError('not_found', 'There is no such pipeline.');
  onlyParties(asking, [row.buyer], () => wrongParty('Only its buyer may see a pipeline.', 'Use a key of the buyer.'));
  const [steps, meter] = await Promise.all([
    prisma.gatewayCall.findMany({ where: { pipelineId: id }, orderBy: { stepIndex: 'asc' } }),
    prisma.meter.findUnique({ where: { id: row.sessionId } }),
  ]);
  return pipelineOfModels(row, steps, meter);
}

function readRoutes(deps: RouteDeps): Route[] {
  const { prisma } = deps;
  return [
    route({
      method: 'get', path: '/v1/gateway/pipelines', access: 'agent', tag: 'Gateway', summary: 'Your pipelines, newest first.',
      query: z.object({ limit: limit(200, 50), cursor }),
      answer: z.object({ pipelines: z.array(pipelineSummaryOut), ...pagingOut }),
      handler: async ({ caller, query }) => {
        const rows = await prisma.pipeline.findMany({
          where: { buyer: caller.address }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take: query.limit + 1,
          ...(query.cursor === undefined ? {} : { cursor: { id: query.cursor.id }, skip: 1 }),
        });
        return listAnswer(cutPage(rows, query.limit),
          { name: 'pipelines', show: showPipelineLine, cursorAfter: (last) => writeCursor(last.createdAt, last.id) });
      },
    }),
    route({
      method: 'get', path: '/v1/gateway/pipelines/:id', access: 'agent_or_admin', tag: 'Gateway',
      summary: 'One pipeline: its steps, what was paid, and what was undone.',
      params: idParams, answer: z.object({ pipeline: pipelineRecordOut }), example: onePipelineExample,
      errors: ['not_found', 'unauthorized'],
      handler: async ({ caller, isAdmin, params }) =>
        ({ body: { pipeline: showPipeline(await readPipeline(deps, { caller, isAdmin }, params.id)) } }),
    }),
  ];
}
