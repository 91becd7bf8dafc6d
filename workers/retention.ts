/** Removes what was kept long enough: one process at a time for each kind, and whoever is left goes on after a crash. */
import type { Round } from '../activities/chores.ts';
import type { RetentionReport } from '../domain/chores.ts';
import { retentionKinds, type RetentionKind } from '../domain/retention.ts';
import { createRetention, retentionRanAt, type RetentionTimes } from '../ledger/retention.ts';
import type { Env } from '../platform/env.ts';
import { createClaims } from './claims.ts';
import { OVERDUE_INTERVALS, type Job } from './jobs.ts';
import type { Parts } from './parts.ts';

export interface RetentionRounds {
  /** Removes of every kind what is due, unless another process is at that kind. A kind that fails holds up no other. */
  round(round: Round): Promise<RetentionReport>;
  /** Does the same for kinds that nobody has seen to for too long. */
  readonly backstop: Job;
}

/** How often it is asked whether a kind is overdue. */
const CHECK_EVERY_MS = 30_000;
/** Longer than one call of `remove` takes, after which it is renewed. */
const LEASE_MS = 25_000;
/** For one kind in one round; the next round goes on. */
const KIND_MS_MAX = 600_000;

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

/** For every process that serves a queue. */
export function createRetentionRounds({ env, pool, metrics, log }: Pick<Parts, 'env' | 'pool' | 'metrics' | 'log'>): RetentionRounds {
  const keptMs = retentionTimes(env);
  const retention = createRetention({ pool, keptMs });
  const claims = createClaims({ pool, job: 'retention', leaseMs: LEASE_MS });
  const begunAt = Date.now();

  /** Until nothing is due any more. @returns how many rows. */
  async function removeAll(kind: RetentionKind, { signal, onProgress }: Round): Promise<number> {
    const endsAt = Date.now() + KIND_MS_MAX;
    let total = 0;
    for (;;) {
      const removed = await retention.remove(kind);
      metrics.rowsRemoved(kind, removed);
      total += removed;
      signal.throwIfAborted();
      onProgress();
      if (removed === 0 || Date.now() >= endsAt) return total;
      await claims.renew(kind);
    }
  }

  async function see(kinds: readonly RetentionKind[], round: Round): Promise<RetentionReport> {
    const removed: Partial<Record<RetentionKind, number>> = {};
    const failed: RetentionKind[] = [];
    for (const kind of kinds) {
      // One by one: a lease begins when its work begins.
      const mine = await claims.take(1, () => Promise.resolve([kind]));
      if (mine.length === 0) continue;
      try {
        removed[kind] = await removeAll(kind, round);
      } catch (error) {
        await claims.release(kind).catch(() => undefined);
        round.signal.throwIfAborted();
        log.warn({ err: error, kind }, 'Old rows could not be removed; the next round tries again.');
        metrics.backgroundError('sweeper-retention');
        failed.push(kind);
      }
    }
    return { removed, failed };
  }

  async function overdue(): Promise<RetentionKind[]> {
    const ranAt = await retentionRanAt(pool, keptMs);
    return retentionKinds.filter((kind) => Date.now() - (ranAt[kind]?.getTime() ?? begunAt) >= OVERDUE_INTERVALS * env.RETENTION_EVERY);
  }

  return {
    round: (round) => see(retentionKinds, round),
    backstop: {
      name: 'retention', everyMs: CHECK_EVERY_MS,
      run: async (signal) => void (await see(await overdue(), { signal, onProgress: () => undefined })),
    },
  };
}
