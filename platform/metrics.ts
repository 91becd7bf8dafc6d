/**
 * What Prometheus may ask of this process. Labels are closed lists and route patterns, never ids or addresses, so that the number of
 * series does not grow with the number of agents. On hot paths a series is looked up once and kept.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { retentionKinds, type RetentionKind } from '../domain/retention.ts';

/** How a gateway call ended. */
const callOutcomes = [
  'settled', 'released', 'no_service', 'budget_exceeded', 'rate_limited', 'session_closed', 'replayed', 'pending', 'refused',
] as const;
export type CallOutcome = (typeof callOutcomes)[number];

/** How a pipeline was answered. */
const pipelineOutcomes = ['completed', 'failed', 'cancelled', 'pending', 'replayed', 'refused'] as const;
export type PipelineOutcome = (typeof pipelineOutcomes)[number];

/** How payments end that live longer than a request, by their kind. */
export const paymentOutcomes = {
  escrow: ['released', 'refunded'], card: ['used', 'expired', 'cancelled', 'blocked'], multistep: ['completed', 'aborted'],
  stream: ['closed', 'stale_closed'],
} as const;
export type LongPayment = keyof typeof paymentOutcomes;
export type PaymentOutcome<Kind extends LongPayment> = (typeof paymentOutcomes)[Kind][number];

export type SessionEnd = 'closed' | 'expired';

/** Connections of a database pool, as they are when Prometheus asks. */
export interface PoolState {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
}

/** One kind of tasks, `workflow` or `activity`, that wait in a task queue. */
export interface Backlog {
  readonly queue: string;
  readonly kind: string;
  readonly tasks: number;
  /** How long the oldest of them has waited; undefined where the server does not say. */
  readonly ageMs: number | undefined;
}

export interface Metrics {
  /** One gateway call ended. `seconds` from its acceptance to the answer. */
  callEnded(outcome: CallOutcome, seconds: number): void;
  sessionOpened(): void;
  sessionEnded(reason: SessionEnd): void;
  /** One pipeline was answered, whether it had ended or not. */
  pipelineAnswered(outcome: PipelineOutcome): void;
  /** Money was held for a payment that this process made. */
  paymentBegun(kind: LongPayment): void;
  /** This process has ended the payment; whoever finds it ended does not say so again. */
  paymentEnded<Kind extends LongPayment>(kind: Kind, outcome: PaymentOutcome<Kind>): void;
  /** A step of a payment was taken: by its workflow, or directly because that could not be waited for. */
  paymentStep(kind: string, path: 'workflow' | 'direct'): void;
  /** A payment on the engine has ended, with a workflow or, over in a moment, without. */
  paymentLifeEnded(kind: string, life: 'started' | 'unstarted'): void;
  /** The latest audit of the books, whichever process made it. */
  audited(run: { readonly startedAt: Date; readonly endedAt: Date; readonly findings: readonly { readonly count: number }[] }): void;
  /** So many ticks of a stream were counted together. */
  ticksCounted(count: number): void;
  /** One group-committed statement; `size` is how many waited for it. `step` names the statement, such as `accept` or `settle`. */
  batchCommitted(step: string, size: number, seconds: number): void;
  /** One attempt to reach a seller; `outcome` is the tag of the outbound result. */
  outboundAttempt(outcome: string, seconds: number): void;
  /** So many rows of this kind had been kept long enough and were removed. */
  rowsRemoved(kind: RetentionKind, count: number): void;
  /** Something went wrong that nobody is waiting to hear about. `component` is a name from the code. */
  backgroundError(component: string): void;
  /** Says which pools there are, by their names. Once. */
  watchPools(pools: Readonly<Record<string, PoolState>>): void;
  /** Says which task queues have a worker in this process, and how to find out whether it runs now. Once. */
  watchWorkers(queues: readonly string[], isUp: (queue: string) => boolean): void;
  /** The worker of this queue ended unasked. */
  workerEnded(queue: string): void;
  /** Says how to find out what waits in the task queues; what is not known has no series. It must resolve soon, never reject. Once. */
  watchBacklog(ask: () => Promise<readonly Backlog[]>): void;
  /** A recorder for the answers of one route, to be kept with the route. */
  httpRoute(method: string, pattern: string): HttpRecorder;
  /** Adds what somebody else counts in this process. It must resolve soon, and never reject. */
  addText(text: MetricsText): void;
  /** The text Prometheus reads. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
  readonly registry: Registry;
}

/** Figures in Prometheus' text format, as they are now. */
export type MetricsText = () => Promise<string>;

/** Notes one answer of a route. */
export type HttpRecorder = (status: number, seconds: number) => void;

const secondsQuick = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const batchSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** @param runtime also collect memory, garbage collection and event loop delay of the process; tests leave it out. */
export function createMetrics({ runtime = true }: { readonly runtime?: boolean } = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (runtime) collectDefaultMetrics({ register: registry, prefix: 'surety_' });

  const calls = new Counter({ name: 'surety_gateway_calls_total', help: 'Gateway calls by how they ended.',
    labelNames: ['outcome'], registers });
  const callSeconds = new Histogram({ name: 'surety_gateway_call_duration_seconds', help: 'From the acceptance of a call to its answer.',
    buckets: secondsQuick, registers });
  const opened = new Counter({ name: 'surety_gateway_sessions_created_total', help: 'Sessions opened.', registers });
  const ended = new Counter({ name: 'surety_gateway_sessions_closed_total', help: 'Sessions ended.', labelNames: ['reason'], registers });
  const batchSize = new Histogram({ name: 'surety_commit_batch_size', help: 'How many money steps shared one statement.',
    labelNames: ['step'], buckets: batchSizes, registers });
  const batchSeconds =
    new Histogram({ name: 'surety_commit_duration_seconds', help: 'Duration of such a statement.', labelNames: ['step'],
    buckets: secondsQuick, registers });
  const outbound = new Counter({ name: 'surety_outbound_attempts_total', help: 'Attempts to reach a seller.',
    labelNames: ['outcome'], registers });
  const outboundSeconds =
    new Histogram({ name: 'surety_outbound_duration_seconds', help: 'Duration of such an attempt.', buckets: secondsQuick, registers });
  const errors = new Counter({ name: 'surety_background_errors_total', help: 'Failures nobody was waiting for.',
    labelNames: ['component'], registers });
  const removed = new Counter({ name: 'surety_retention_removed_total', help: 'Rows removed because they were kept long enough, by kind.',
    labelNames: ['kind'], registers });
  for (const outcome of callOutcomes) calls.labels(outcome).inc(0);
  for (const kind of retentionKinds) removed.labels(kind).inc(0);
  const longer = createLongerMetrics(registry);
  const audited = createAuditMetrics(registry);
  const http = createHttpMetrics(registry);
  const texts: MetricsText[] = [() => registry.metrics()];

  return {
    registry,
    callEnded(outcome, seconds) {
      calls.labels(outcome).inc();
      callSeconds.observe(seconds);
    },
    sessionOpened: () => opened.inc(),
    sessionEnded: (reason) => ended.labels(reason).inc(),
    ...longer, audited,
    batchCommitted(step, size, seconds) {
      batchSize.labels(step).observe(size);
      batchSeconds.labels(step).observe(seconds);
    },
    outboundAttempt(outcome, seconds) {
      outbound.labels(outcome).inc();
      outboundSeconds.observe(seconds);
    },
    rowsRemoved: (kind, count) => removed.labels(kind).inc(count),
    backgroundError: (component) => errors.labels(component).inc(),
    watchPools: (pools) => watchPools(registry, pools),
    watchBacklog: (ask) => watchBacklog(registry, ask),
    ...createWorkerMetrics(registry),
    httpRoute: http,
    addText: (text) => void texts.push(text),
    async render() {
      return { contentType: registry.contentType, text: (await Promise.all(texts.map((text) => text()))).join('\n') };
    },
  };
}

/** What is more than one call. Every series is there from the beginning: an alert on an increase needs a zero to start from. */
function createLongerMetrics(registry: Registry): Pick<Metrics, 'pipelineAnswered' | 'paymentBegun' | 'paymentEnded' | 'paymentStep'
    | 'paymentLifeEnded' | 'ticksCounted'> {
  const registers = [registry];
  const pipelines = new Counter({ name: 'surety_pipelines_total', help: 'Pipelines by how they were answered.',
    labelNames: ['outcome'], registers });
  const begun = new Counter({ name: 'surety_payments_begun_total', help: 'Escrows, cards, multistep escrows and streams made.',
    labelNames: ['kind'], registers });
  const ended = new Counter({ name: 'surety_payments_ended_total', help: 'The same by how they ended.',
    labelNames: ['kind', 'outcome'], registers });
  const ticks = new Counter({ name: 'surety_stream_ticks_total', help: 'Ticks of streams counted.', registers });
  const steps = new Counter({ name: 'surety_payment_steps_total', help: 'Steps of payments, openings included, by the path they took.',
    labelNames: ['kind', 'path'], registers });
  const lives = new Counter({ name: 'surety_payment_lives_total', help: 'Ended payments by whether they ever had a workflow.',
    labelNames: ['kind', 'life'], registers });
  for (const outcome of pipelineOutcomes) pipelines.labels(outcome).inc(0);
  for (const [kind, outcomes] of Object.entries(paymentOutcomes)) {
    begun.labels(kind).inc(0);
    for (const outcome of outcomes) ended.labels(kind, outcome).inc(0);
  }
  return {
    pipelineAnswered: (outcome) => pipelines.labels(outcome).inc(),
    paymentBegun: (kind) => begun.labels(kind).inc(),
    paymentEnded: (kind, outcome) => ended.labels(kind, outcome).inc(),
    paymentStep: (kind, path) => steps.labels(kind, path).inc(),
    paymentLifeEnded: (kind, life) => lives.labels(kind, life).inc(),
    ticksCounted: (count) => ticks.inc(count),
  };
}

/** Nothing but zeros until this process has heard of an audit. */
function createAuditMetrics(registry: Registry): Metrics['audited'] {
  const registers = [registry];
  const at = new Gauge({ name: 'surety_audit_timestamp_seconds', help: 'When the latest audit of the books ended.', registers });
  const seconds = new Gauge({ name: 'surety_audit_duration_seconds', help: 'How long it took.', registers });
  const found = new Gauge({ name: 'surety_audit_findings', help: 'How many rows break an invariant, by that audit.', registers });
  return ({ startedAt, endedAt, findings }) => {
    at.set(endedAt.getTime() / 1_000);
    seconds.set((endedAt.getTime() - startedAt.getTime()) / 1_000);
    found.set(findings.reduce((sum, { count }) => sum + count, 0));
  };
}

function createHttpMetrics(registry: Registry): (method: string, pattern: string) => HttpRecorder {
  const registers = [registry];
  const requests = new Counter({ name: 'surety_http_requests_total', help: 'HTTP answers by class of status.',
    labelNames: ['method', 'path', 'status'], registers });
  const seconds = new Histogram({ name: 'surety_http_request_duration_seconds', help: 'From the first byte of a request to its answer.',
    labelNames: ['method', 'path'], buckets: secondsQuick, registers });
  return (method, pattern) => {
    const duration = seconds.labels(method, pattern);
    const byClass = new Map<number, Counter.Internal>();
    return (status, took) => {
      const statusClass = Math.trunc(status / 100);
      let counter = byClass.get(statusClass);
      if (counter === undefined) byClass.set(statusClass, (counter = requests.labels(method, pattern, `${statusClass}xx`)));
      counter.inc();
      duration.observe(took);
    };
  };
}

function watchPools(registry: Registry, pools: Readonly<Record<string, PoolState>>): void {
  new Gauge({
    name: 'surety_db_pool_connections', help: 'Database connections of this process.', labelNames: ['pool', 'state'], registers: [registry],
    collect() {
      for (const [pool, { totalCount, idleCount, waitingCount }] of Object.entries(pools)) {
        this.set({ pool, state: 'total' }, totalCount);
        this.set({ pool, state: 'idle' }, idleCount);
        this.set({ pool, state: 'waiting' }, waitingCount);
      }
    },
  });
}

function createWorkerMetrics(registry: Registry): Pick<Metrics, 'watchWorkers' | 'workerEnded'> {
  const registers = [registry];
  const labelNames = ['queue'];
  const ended = new Counter({ name: 'surety_workers_ended_total', help: 'Temporal workers of this process that ended unasked.', labelNames,
    registers });
  return {
    workerEnded: (queue) => ended.labels(queue).inc(),
    watchWorkers(queues, isUp) {
      for (const queue of queues) ended.labels(queue).inc(0);
      new Gauge({
        name: 'surety_worker_up', help: 'Whether the worker of this task queue runs.', labelNames, registers,
        collect() {
          for (const queue of queues) this.set({ queue }, isUp(queue) ? 1 : 0);
        },
      });
    },
  };
}

function watchBacklog(registry: Registry, ask: () => Promise<readonly Backlog[]>): void {
  const gauge = (name: string, help: string, valueOf: (backlog: Backlog) => number | undefined): Gauge => new Gauge({
    name, help, labelNames: ['queue', 'kind'], registers: [registry],
    async collect() {
      const backlogs = await ask();
      this.reset();
      for (const backlog of backlogs) {
        const value = valueOf(backlog);
        if (value !== undefined) this.set({ queue: backlog.queue, kind: backlog.kind }, value);
      }
    },
  });
  gauge('surety_task_queue_backlog', 'Tasks that wait in the task queue, by the count of the server.', ({ tasks }) => tasks);
  gauge('surety_task_queue_backlog_age_seconds', 'How long the oldest of them has waited.',
    ({ ageMs }) => (ageMs === undefined ? undefined : ageMs / 1_000));
}
