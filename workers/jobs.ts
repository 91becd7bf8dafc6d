/** Jobs of the background: small rounds that are repeated as long as the process lives. A round that fails is followed by the next. */
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';

export interface Job {
  /** For the log and for `surety_background_errors_total`. */
  readonly name: string;
  readonly everyMs: number;
  /** One round; the signal says that the process stops and a long round should end. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** Work that a schedule of Temporal starts is overdue for the job behind it when so many of its intervals have passed. */
export const OVERDUE_INTERVALS = 2;

/** Starts the jobs; the returned function ends them and waits for the rounds under way. */
export function startJobs(jobs: readonly Job[], { log, metrics }: { readonly log: Logger; readonly metrics: Metrics }): () =>
    Promise<void> {
  const stopping = new AbortController();
  const stops = jobs.map(({ name, everyMs, run }) => {
    let round: Promise<void> = Promise.resolve();
    const timer = setInterval(() => {
      round = round.then(() => run(stopping.signal)).catch((error: unknown) => {
        if (stopping.signal.aborted) return;
        log.warn({ err: error, job: name }, 'A round of a background job failed; the next one follows.');
        metrics.backgroundError(`sweeper-${name}`);
      });
    }, everyMs);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await round;
    };
  });
  return async () => {
    stopping.abort();
    await Promise.all(stops.map((stop) => stop()));
  };
}
