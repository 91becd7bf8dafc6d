/** The last line: ends what is overdue, whatever happened to Temporal, and does the ledger's small chores. */
import type { Driver } from '../activities/gateway/drive.ts';
import type { GatewayStore } from '../activities/gateway/store.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';

export interface SweeperDeps {
  readonly store: GatewayStore;
  readonly driver: Driver;
  readonly foldFees: () => Promise<void>;
  readonly forgetKeys: () => Promise<void>;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** A call that its workflow has not taken over by then is driven by the sweeper. */
  readonly callOverdueMs: number;
}

/** Its workflow's timer comes first. */
const SESSION_GRACE_MS = 10_000;
const CALLS_EVERY_MS = 2_000;
const CHORES_EVERY_MS = 10_000;
const KEYS_EVERY_MS = 3_600_000;
const AT_ONCE = 200;

/** Starts the jobs of this process; the returned function ends them and waits for the round under way. */
export function startSweeper({ store, driver, foldFees, forgetKeys, log, metrics, callOverdueMs }: SweeperDeps): () => Promise<void> {
  const stops = [
    every(CALLS_EVERY_MS, 'calls', async () => driver.adopt(await store.abandonedCalls(callOverdueMs, AT_ONCE))),
    every(CALLS_EVERY_MS, 'sessions', async () => {
      for (const sessionId of await store.overdueSessions(SESSION_GRACE_MS, AT_ONCE)) await store.closeSession(sessionId, 'expired');
    }),
    every(CHORES_EVERY_MS, 'fees', foldFees),
    every(KEYS_EVERY_MS, 'keys', forgetKeys),
  ];
  return async () => {
    await Promise.all(stops.map((stop) => stop()));
  };

  function every(pauseMs: number, name: string, job: () => Promise<void>): () => Promise<void> {
    let round: Promise<void> = Promise.resolve();
    const timer = setInterval(() => {
      round = round.then(job).catch((error: unknown) => {
        log.warn({ err: error, job: name }, 'A round of the sweeper failed; the next one follows.');
        metrics.backgroundError(`sweeper-${name}`);
      });
    }, pauseMs);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await round;
    };
  }
}
