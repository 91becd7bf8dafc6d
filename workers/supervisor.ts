/**
 * Sees to it that each task queue has its worker: one that ends unasked is counted, shown to whoever asks whether this process is ready,
 * and made again after a pause. A worker whose server is away does not end, it polls until the server is back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from '@temporalio/worker';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';

/** A task queue that is to have a worker as long as this process serves. */
export interface SupervisedQueue {
  /** Name as in WORKER_QUEUES, for the log, for health and for metrics. */
  readonly queue: string;
  /** Makes a worker that does not run yet. Rejects when the server does not answer or does not allow it. */
  create(): Promise<Worker>;
}

export interface SupervisorOptions {
  readonly queues: readonly SupervisedQueue[];
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'watchWorkers' | 'workerEnded'>;
  /** Resolves when the server answers a question in our namespace; rejects otherwise. */
  readonly temporalAnswers: () => Promise<unknown>;
  /** Before the first attempt to make a worker again, doubled with each that fails. Milliseconds. */
  readonly pauseMs?: number;
}

/** What `/health/ready` says of the workers; as a probe of the API wants it. */
export interface WorkersHealth {
  readonly healthy: boolean;
  readonly detail?: string;
}

export interface Supervisor {
  /** Makes all workers and lets them run. Rejects when one cannot be made; none is left then. */
  start(): Promise<void>;
  /**
   * Unhealthy while a worker of this process has ended and was not replaced, though Temporal answers: others can serve its queue then.
   * Where Temporal does not answer, nobody can, and that is no reason to send requests elsewhere. Never rejects.
   */
  health(): Promise<WorkersHealth>;
  /** Workers take no new tasks and finish what is under way; resolves when all have ended. */
  stop(): Promise<void>;
}

const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** Shorter than the time that health gives a part to answer. */
const ANSWER_MS_MAX = 1_000;

export function createSupervisor({ queues, log, metrics, temporalAnswers, pauseMs = PAUSE_MS }: SupervisorOptions): Supervisor {
  const serving = new Map<string, Worker>();
  const stopping = new AbortController();
  const stopped = new Promise<undefined>((resolve) => stopping.signal.addEventListener('abort', () => resolve(undefined)));
  let keeping: Promise<unknown> = Promise.resolve();
  /** By the state, not by the end of `run`: a worker that has failed may take long to let go of what it had. */
  const lost = (): string[] => queues.map(({ queue }) => queue).filter((queue) => serving.get(queue)?.getState() !== 'RUNNING');
  metrics.watchWorkers(queues.map(({ queue }) => queue), lost);

  /** Runs worker after worker until the process stops. */
  async function keep(supervised: SupervisedQueue, first: Worker): Promise<void> {
    const { queue } = supervised;
    let failures = 0;
    for (let worker: Worker | undefined = first; worker !== undefined;) {
      serving.set(queue, worker);
      const begunAt = Date.now();
      const error: unknown = await worker.run().catch((thrown: unknown) => thrown);
      if (stopping.signal.aborted) {
        if (error !== undefined) log.warn({ err: error, queue }, 'A Temporal worker did not stop cleanly.');
        return;
      }
      metrics.workerEnded(queue);
      log.error({ err: error, queue }, 'A Temporal worker has ended unasked; another one is made.');
      // One that ran well for long died of something new, and is not made to wait for what befell others before it.
      if (Date.now() - begunAt > PAUSE_MS_MAX) failures = 0;
      worker = await again(supervised, () => Math.min(PAUSE_MS_MAX, pauseMs * 2 ** failures++));
    }
  }

  /** The next worker of the queue, however long that takes; undefined when the process stops before. */
  async function again({ queue, create }: SupervisedQueue, nextPauseMs: () => number): Promise<Worker | undefined> {
    for (;;) {
      await sleep(nextPauseMs(), undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return undefined;
      const making = create();
      // A stop waits for nobody who waits for a server.
      const worker = await Promise.race([making, stopped]).catch((error: unknown) => {
        log.error({ err: error, queue }, 'A Temporal worker cannot be made again yet; it is tried once more after a pause.');
        return undefined;
      });
      if (stopping.signal.aborted) {
        void making.then(discard, () => undefined);
        return undefined;
      }
      if (worker !== undefined) return worker;
    }
  }

  return {
    async start() {
      const made = await Promise.allSettled(queues.map(({ create }) => create()));
      const failed = made.find((each) => each.status === 'rejected');
      if (failed !== undefined) {
        await Promise.all(made.map(async (each) => { if (each.status === 'fulfilled') await discard(each.value); }));
        throw failed.reason;
      }
      keeping = Promise.all(queues.map(async (queue, at) => {
        const first = made[at];
        if (first?.status === 'fulfilled') await keep(queue, first.value);
      }));
    },
    async health() {
      const queuesLost = stopping.signal.aborted ? [] : lost();
      if (queuesLost.length === 0) return { healthy: true };
      const names = queuesLost.join(', ');
      if (await answersInTime(temporalAnswers)) return { healthy: false, detail: `no worker serves ${names} here; one is being made` };
      return { healthy: true, detail: `no worker serves ${names} here; Temporal does not answer` };
    },
    async stop() {
      stopping.abort();
      for (const worker of serving.values()) if (worker.getState() === 'RUNNING') worker.shutdown();
      await keeping;
    },
  };
}

async function answersInTime(ask: () => Promise<unknown>): Promise<boolean> {
  const late = sleep(ANSWER_MS_MAX, false, { ref: false });
  return Promise.race([ask().then(() => true, () => false), late]);
}

/** Only a worker that has run lets go of its connection. */
async function discard(worker: Worker): Promise<void> {
  const run = worker.run();
  worker.shutdown();
  await run.catch(() => undefined);
}
