/** Puts workflows and activities to work in this process, one worker for each task queue, and gives the HTTP edge its ports. */
import { setFlagsFromString } from 'node:v8';
import { Worker } from '@temporalio/worker';
import { withTemporalErrors } from '../activities/boundary.ts';
import type { GatewayPort } from '../domain/gateway.ts';
import type { LongCallPort } from '../domain/long-call.ts';
import type { PipelinePort } from '../domain/pipeline.ts';
import type { TickPort } from '../domain/tick.ts';
import { createTickStore } from '../ledger/ticks.ts';
import { paymentKinds } from '../payments/kinds.ts';
import { createPayments, type Payments } from '../payments/payments.ts';
import { createSpine } from '../payments/spine.ts';
import { createCrash } from '../platform/crash.ts';
import { deadlineIn, inTime, type Deadline } from '../platform/deadline.ts';
import { workerQueues, type WorkerQueue } from '../platform/env.ts';
import { ask } from '../temporal/connection.ts';
import { taskQueues } from '../workflows/contracts/ids.ts';
import { watchBacklog } from './backlog.ts';
import { workflowBundle } from './bundle.ts';
import { createChores } from './chores.ts';
import { createGatewayShape, type GatewayShape } from './gateway-shape.ts';
import { startJobs, type Job } from './jobs.ts';
import { createLongCallShape } from './long-call-shape.ts';
import { createPipelineShape } from './pipeline-shape.ts';
import type { Activities, Shape, ShapeContext } from './shape.ts';
import { createSupervisor, type WorkersHealth } from './supervisor.ts';
import { tuning } from './tuning.ts';
import { versionOf } from './versioning.ts';

/** What the HTTP edge may ask for. */
export interface Ports {
  readonly gateway: GatewayPort;
  readonly payments: Payments;
  readonly ticks: TickPort;
  readonly pipelines: PipelinePort;
  readonly longCalls: LongCallPort;
}

export interface Runtime {
  readonly ports: Ports;
  /**
   * Begins to serve the task queues, that of paid calls before the others. Each takes half a second of a processor to begin with, and
   * nothing waits for it in vain: what its workflow would do is done directly until then.
   * @param until when it resolves: once all are served, or the first.
   */
  start(until?: 'first' | 'all'): Promise<void>;
  /** Whether a worker runs for each queue this process serves. Never rejects. */
  health(): Promise<WorkersHealth>;
  /** Takes no new tasks and begins no new rounds of jobs from now on; what is under way, and what requests still begin, goes on. */
  quiesce(): void;
  /** The same, and finishes what is under way until DRAIN_DEADLINE after that moment, then hands the rest to whoever is left. */
  drain(): Promise<void>;
}

export interface RuntimeOptions extends Omit<ShapeContext, 'crash' | 'spine' | 'taskQueue'> {
  /** Task queues to serve. Ports work without any: others then serve the workflows. */
  readonly queues: readonly WorkerQueue[];
  /** Added to the names of task queues, so that tests do not serve one another. */
  readonly queueSuffix?: string;
}

const NOTICES_EVERY_MS = 2_000;
/** Each of these only waits for drives that are under way anyway. */
const OWN_AT_ONCE = 1_000;
/** What tasks and messages may take beyond DRAIN_DEADLINE: time to hear that they are cancelled, and to say so. */
const HAND_OVER_MS = 2_000;
/** The threads of the workflow sandboxes, one for each queue, make little garbage; the main thread keeps what it was started with. */
const SANDBOX_YOUNG_SPACE = '--max-semi-space-size=4';
/** The SDK takes a stack trace of every promise in a sandbox; the nearest frames are enough and cost less. */
const SANDBOX_STACK_TRACES = '--stack-trace-limit=3';

export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { env, log, metrics, pool, temporal, queues, queueSuffix = '' } = options;
  const taskQueue = (queue: WorkerQueue): string => taskQueues[queue] + queueSuffix;
  const spine = createSpine({ pool, temporal, taskQueue, log, metrics });
  const context: ShapeContext = { ...options, spine, taskQueue, crash: createCrash(env.CRASH_AT) };
  const payments = await createPayments(context);
  const gateway = createGatewayShape(context, payments.port);
  const longCalls = createLongCallShape(context, gateway);
  const pipelines = createPipelineShape(context, gateway);
  const onEngine: readonly Shape[] =
    paymentKinds.map((kind) => ({ queue: kind.queue, activities: { ...payments.activitiesOf(kind) }, jobs: [] }));
  const chores = createChores(context, queueSuffix);
  const shapes: readonly Shape[] = [gateway, longCalls, pipelines, ...onEngine, chores.shape];

  const served = shapes.filter(({ queue }) => queues.includes(queue));
  const workers = createSupervisor({
    queues: [
      ...[...new Set(served.map(({ queue }) => queue))].map((queue) =>
        ({ queue, create: () => createWorker(context, queue, activitiesOf(shapes, queue)) })),
      { queue: 'own', create: () => createOwnWorker(context, gateway.own) },
    ],
    log, metrics, temporalAnswers: () => ask(temporal),
  });
  // Who serves none sees to all: it is what is left when workers were scaled away.
  watchBacklog({ metrics, temporal, taskQueue, queues: queues.length === 0 ? workerQueues : queues });
  let stopJobs = (): Promise<void> => Promise.resolve();
  let stopping: { readonly until: Deadline; readonly jobs: Promise<void> } | null = null;
  const quiesce = (): { readonly until: Deadline; readonly jobs: Promise<void> } => {
    if (stopping !== null) return stopping;
    // The time of grace of the workers begins here, too.
    workers.quiesce();
    return (stopping = { until: deadlineIn(env.DRAIN_DEADLINE), jobs: stopJobs() });
  };

  return {
    ports: { gateway: gateway.port, longCalls: longCalls.port, pipelines: pipelines.port, payments: payments.port,
      ticks: createTickStore(context) },
    async start(until = 'all') {
      setFlagsFromString(SANDBOX_YOUNG_SPACE);
      setFlagsFromString(SANDBOX_STACK_TRACES);
      await workers.start(until);
      const kinds = paymentKinds.filter(({ queue }) => queues.includes(queue));
      const common: readonly Job[] = served.length === 0 ? []
        : [{ name: 'notices', everyMs: NOTICES_EVERY_MS, run: () => spine.keeper.sweep() }, ...chores.backstops];
      stopJobs = startJobs(
        [...served.flatMap(({ jobs }) => jobs), ...(kinds.length === 0 ? [] : payments.jobsOf(kinds)), ...common], { log, metrics });
      for (const shape of served) shape.begin?.();
    },
    health: () => workers.health(),
    quiesce: () => void quiesce(),
    async drain() {
      const { until, jobs } = quiesce();
      const handOver = Promise.all([jobs, spine.keeper.flush(HAND_OVER_MS), ...shapes.map((shape) => shape.drain?.(until))]);
      await inTime(handOver, until.leftMs() + HAND_OVER_MS);
      const ended = await inTime(workers.stop(), until.leftMs() + HAND_OVER_MS);
      if (!ended) log.warn('Stopped while tasks were at work; they are done again elsewhere.');
      for (const shape of shapes) shape.stop?.();
    },
  };
}

/** One worker serves all that shares a queue. */
function activitiesOf(shapes: readonly Shape[], queue: WorkerQueue): Activities {
  return Object.fromEntries(shapes.filter((shape) => shape.queue === queue).flatMap(({ activities }) => Object.entries(activities)));
}

async function createWorker({ env, temporal, taskQueue }: ShapeContext, queue: WorkerQueue, activities: Activities): Promise<Worker> {
  return Worker.create({
    connection: temporal.nativeConnection, namespace: temporal.namespace, taskQueue: taskQueue(queue),
    activities: withTemporalErrors(activities), dataConverter: temporal.dataConverter,
    workflowBundle: await workflowBundle(env.CACHE_DIR, temporal.dataConverter?.failureConverterPath), workflowThreadPoolSize: 1,
    shutdownGraceTime: env.DRAIN_DEADLINE, ...tuning[queue], ...versionOf(env),
  });
}

/** Serves what only this process can do, whichever queues it shares with others: it drives the calls that it has accepted. */
function createOwnWorker({ env, temporal }: ShapeContext, { queue, activities }: GatewayShape['own']): Promise<Worker> {
  return Worker.create({
    connection: temporal.nativeConnection, namespace: temporal.namespace, taskQueue: queue, activities: withTemporalErrors(activities),
    dataConverter: temporal.dataConverter,
    maxConcurrentActivityTaskExecutions: OWN_AT_ONCE, maxConcurrentActivityTaskPolls: 1, shutdownGraceTime: env.DRAIN_DEADLINE,
  });
}
