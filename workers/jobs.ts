/** Jobs of the background: small rounds that are repeated as long as the process lives. A round that fails is followed by the next. */
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';

export interface Job {
  /** For the log and for `surety_background_errors_total`. */
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<void>;
}

/** Starts the jobs; the returned function ends them and waits for the rounds under way. */
export function startJobs(jobs: readonly Job[], { log, metrics }: { readonly log: Logger; readonly metrics: Metrics }): () =>
    Promise<void> {
  const stops = jobs.map(({ name, everyMs, run }) => {
    let round: Promise<void> = Promise.resolve();
    const timer = setInterval(() => {
      round = round.then(run).catch((error: unknown) => {
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
    await Promise.all(stops.map((stop) => stop()));
  };
}
