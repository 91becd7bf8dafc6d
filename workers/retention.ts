/** The job that removes what was kept long enough: one process at a time for each kind, and whoever is left goes on after a crash. */
import { retentionKinds } from '../domain/retention.ts';
import { createRetention, type RetentionTimes } from '../ledger/retention.ts';
import type { Env } from '../platform/env.ts';
import { createClaims } from './claims.ts';
import type { Job } from './jobs.ts';
import type { Parts } from './parts.ts';

/** So often somebody sees to each kind. What is due is read from the rows, so a restart postpones nothing by more than this. */
const EVERY_MS = 30_000;
/** Longer than one kind takes in a round. */
const LEASE_MS = 25_000;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function retentionTimes(env: Env): RetentionTimes {
  return {
    idempotency_keys: env.KEEP_IDEMPOTENCY_KEYS_DAYS * DAY_MS,
    answers: env.KEEP_ANSWERS_DAYS * DAY_MS,
    call_events: env.KEEP_CALL_EVENTS_DAYS * DAY_MS,
    seller_failures: env.KEEP_SELLER_FAILURES_DAYS * DAY_MS,
    attempt_refusals: env.KEEP_ATTEMPT_REFUSALS_HOURS * HOUR_MS,
    ownership_challenges: env.KEEP_OWNERSHIP_CHALLENGES_DAYS * DAY_MS,
  };
}

/** The job, for every process that serves a queue. A kind that cannot be removed from holds up no other. */
export function createRetentionJob({ env, pool, metrics, log }: Pick<Parts, 'env' | 'pool' | 'metrics' | 'log'>): Job {
  const retention = createRetention({ pool, keptMs: retentionTimes(env) });
  const claims = createClaims({ pool, job: 'retention', leaseMs: LEASE_MS });
  return {
    name: 'retention', everyMs: EVERY_MS,
    async run() {
      for (const kind of retentionKinds) {
        // One by one: a lease begins when its work begins.
        const mine = await claims.take(1, () => Promise.resolve([kind]));
        if (mine.length === 0) continue;
        try {
          metrics.rowsRemoved(kind, await retention.remove(kind));
        } catch (error) {
          log.warn({ err: error, kind }, 'Old rows could not be removed; the next round tries again.');
          metrics.backgroundError('sweeper-retention');
        }
      }
    },
  };
}
