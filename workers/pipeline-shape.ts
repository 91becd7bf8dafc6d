/** Pipelines in this process: the store, the runner, the activities, and the job behind their workflows. */
import { heartbeat, sleep } from '@temporalio/activity';
import { createPipelineActivities } from '../activities/pipeline/activities.ts';
import type { PipelineRow } from '../activities/pipeline/rows.ts';
import { createPipelineRunner, type PipelineRunner } from '../activities/pipeline/run.ts';
import { createPipelineStore, type PipelineStore } from '../activities/pipeline/store.ts';
import { undoStep, type UndoDeps } from '../activities/pipeline/undo.ts';
import type { PipelinePort } from '../domain/pipeline.ts';
import { processId } from '../platform/random.ts';
import type { GatewayShape } from './gateway-shape.ts';
import type { Job } from './jobs.ts';
import { createPipelineWorkflows, type PipelineWorkflows } from '../payments/pipeline-workflow.ts';
import { createPipelines } from '../payments/pipeline.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface PipelineShape extends Shape {
  readonly port: PipelinePort;
}

const SWEEP_EVERY_MS = 2_000;
const AT_ONCE = 50;

/** @param gateway whose driver asks the sellers: a step is a call like any other. */
export function createPipelineShape(context: ShapeContext, gateway: GatewayShape): PipelineShape {
  const { env, log, metrics, pool, registry, outbound, signer, crash } = context;
  const store = createPipelineStore({ pool, driver: processId, leaseMs: env.CALL_LEASE, feeOwner: env.PLATFORM_ADDRESS,
    onDrained: (sessionId) => void gateway.finishSession(sessionId) });
  const runner = createPipelineRunner({ store, driver: gateway.driver, crash });
  const workflows = createPipelineWorkflows(store, context.spine);
  const undo: UndoDeps = { store, outbound, signer, crash, undoForMs: env.UNDO_DEADLINE };
  const activities = createPipelineActivities({ ...undo, runner, heartbeat, sleep, onMoved: workflows.soon });
  const port = createPipelines({
    store, gatewayStore: gateway.store, session: gateway.port.session, runner, workflows, crash, log, metrics,
    offers: (type) => registry.catalogue.offers(type), checkEndpoint: (url) => outbound.checkUrl(url),
    feeBps: env.PLATFORM_FEE_BPS, answerTimeoutMs: Math.max(1_000, env.REQUEST_TIMEOUT - 500),
  });
  return {
    queue: 'pipeline', activities: { ...activities }, port, jobs: [staleJob(context, { store, runner, workflows, undo })],
    drain: () => {
      runner.stop();
      return Promise.resolve();
    },
  };
}

interface JobDeps {
  readonly store: PipelineStore;
  readonly runner: PipelineRunner;
  readonly workflows: PipelineWorkflows;
  readonly undo: UndoDeps;
}

/** The last line: a pipeline without a sign of life gets its workflow back, and goes on here whatever happened to Temporal. */
function staleJob({ env, log }: ShapeContext, { store, runner, workflows, undo }: JobDeps): Job {
  async function goOn(row: PipelineRow): Promise<void> {
    workflows.soon(row.id);
    const { state } = await runner.resume(row.id, row.steps);
    if (state !== 'undoing') return;
    const steps = await store.steps(row.id);
    for (const step of steps.filter((each) => each.undo_state === 'pending').reverse()) await undoStep(undo, row.id, step.step_index);
  }

  return {
    name: 'pipelines', everyMs: SWEEP_EVERY_MS,
    async run() {
      // Claimed as long as a driver of a step is believed to be alive.
      const mine = await store.claimStale({ quietMs: env.CALL_OVERDUE, claimMs: env.CALL_LEASE, limit: AT_ONCE });
      // Not waited for: a seller may take its time, and the next round finds the same pipelines only if nobody drives them.
      for (const row of mine) {
        void goOn(row).catch((error: unknown) => {
          log.warn({ err: error, pipelineId: row.id }, 'A pipeline could not be brought to its end; it is tried again.');
        });
      }
    },
  };
}
