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
  /**
   * Makes the workers in their order and lets them run. Rejects when one cannot be made that is waited for; none is left then.
   * @param until when it resolves: once all run, or the first; then the others follow one after the other.
   */
  start(until: 'first' | 'all'): Promise<void>;
  /**
   * Unhealthy while a worker of this process has ended and was not replaced, though Temporal answers: others can serve its queue then.
   * Where Temporal does not answer, nobody can, and that is no reason to send requests elsewhere. Never rejects.
   */
  health(): Promise<WorkersHealth>;
  /** Workers take no new tasks from now on, and finish what is under way. */
  quiesce(): void;
  /** The same; resolves when all have ended. */
  stop(): Promise<void>;
}

const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** Shorter than the time that health gives a part to answer. */
const ANSWER_MS_MAX = 1_000;

export function createSupervisor({ queues, log, metrics, temporalAnswers, pauseMs = PAUSE_MS }: SupervisorOptions): Supervisor {
  const serving = new Map<string, Worker>();
  const stopping = new AbortController();
  /** Each resolves when its queue is served no more. */
  const keeping: Promise<void>[] = [];
  /** Queues that have, or should have, been served. */
  const begun = new Set<string>();
  /** By the state, not by the end of `run`: a worker that has failed may take long to let go of what it had. */
  const isUp = (queue: string): boolean => serving.get(queue)?.getState() === 'RUNNING';
  const lost = (): string[] => queues.map(({ queue }) => queue).filter((queue) => begun.has(queue) && !isUp(queue));
  metrics.watchWorkers(queues.map(({ queue }) => queue), isUp);
  const keep = createKeep({ serving, log, metrics, stopping: stopping.signal, pauseMs });

  async function begin(supervised: SupervisedQueue): Promise<void> {
    if (stopping.signal.aborted) return;
    const worker = await supervised.create();
    if (stopping.signal.aborted) return discard(worker);
    keeping.push(keep(supervised, worker));
    begun.add(supervised.queue);
  }

  /** Those that nobody waits for: the first requests come meanwhile. */
  async function follow(others: readonly SupervisedQueue[]): Promise<void> {
    for (const supervised of others) {
      await begin(supervised).catch((error: unknown) => {
        log.error({ err: error, queue: supervised.queue }, 'A Temporal worker cannot be made yet; it is tried again after a pause.');
        begun.add(supervised.queue);
        keeping.push(keep(supervised, undefined));
      });
    }
  }

  function quiesce(): void {
    stopping.abort();
    for (const worker of serving.values()) if (worker.getState() === 'RUNNING') worker.shutdown();
  }

  async function stop(): Promise<void> {
    quiesce();
    for (let waited = -1; waited !== keeping.length;) {
      waited = keeping.length;
      await Promise.all(keeping);
    }
  }

  return {
    quiesce, stop,
    async start(until) {
      try {
        for (const supervised of until === 'all' ? queues : queues.slice(0, 1)) await begin(supervised);
      } catch (error) {
        await stop();
        throw error;
      }
      if (until === 'first') keeping.push(follow(queues.slice(1)));
    },
    async health() {
      const queuesLost = stopping.signal.aborted ? [] : lost();
      if (queuesLost.length === 0) return { healthy: true };
      const names = queuesLost.join(', ');
      if (await answersInTime(temporalAnswers)) return { healthy: false, detail: `no worker serves ${names} here; one is being made` };
      return { healthy: true, detail: `no worker serves ${names} here; Temporal does not answer` };
    },
  };
}

interface KeepOptions extends Pick<SupervisorOptions, 'log' | 'metrics'> {
  readonly serving: Map<string, Worker>;
  readonly stopping: AbortSignal;
  readonly pauseMs: number;
}

/** @returns what runs worker after worker of a queue until the process stops. Without a first one, it is made after a pause. */
function createKeep({ serving, log, metrics, stopping, pauseMs }: KeepOptions) {
  const stopped = new Promise<undefined>((resolve) => stopping.addEventListener('abort', () => resolve(undefined)));

  /** The next worker of the queue, however long that takes; undefined when the process stops before. */
  async function again({ queue, create }: SupervisedQueue, nextPauseMs: () => number): Promise<Worker | undefined> {
    for (;;) {
      await sleep(nextPauseMs(), undefined, { signal: stopping }).catch(() => undefined);
      if (stopping.aborted) return undefined;
      const making = create();
      // A stop waits for nobody who waits for a server.
      const worker = await Promise.race([making, stopped]).catch((error: unknown) => {
        log.error({ err: error, queue }, 'A Temporal worker cannot be made again yet; it is tried once more after a pause.');
        return undefined;
      });
      if (stopping.aborted) {
        void making.then(discard, () => undefined);
        return undefined;
      }
      if (worker !== undefined) return worker;
    }
  }

  return async (supervised: SupervisedQueue, first: Worker | undefined): Promise<void> => {
    const { queue } = supervised;
    let failures = 0;
    const next = (): Promise<Worker | undefined> => again(supervised, () => Math.min(PAUSE_MS_MAX, pauseMs * 2 ** failures++));
    for (let worker = first ?? (await next()); worker !== undefined; worker = await next()) {
      serving.set(queue, worker);
      const begunAt = Date.now();
      const error: unknown = await worker.run().catch((thrown: unknown) => thrown);
      if (stopping.aborted) {
        if (error !== undefined) log.warn({ err: error, queue }, 'A Temporal worker did not stop cleanly.');
        return;
      }
      metrics.workerEnded(queue);
      log.error({ err: error, queue }, 'A Temporal worker has ended unasked; another one is made.');
      // One that ran well for long died of something new, and is not made to wait for what befell others before it.
      if (Date.now() - begunAt > PAUSE_MS_MAX) failures = 0;
    }
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
