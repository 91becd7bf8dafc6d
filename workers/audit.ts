/**
 * Proves the books by a schedule, in one process at a time: slowly, so that payments do not feel it, and with its result on record for all
 * processes. A process that dies at it leaves the rest to whichever process comes next, from the beginning.
 */
import type pg from 'pg';
import { auditBooks, OVERDUE_MS } from '../ledger/audit.ts';
import { latestAudit, recordAudit } from '../ledger/audit/runs.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createClaims } from './claims.ts';
import type { Job } from './jobs.ts';

export interface AuditJobOptions {
  readonly pool: pg.Pool;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** From the end of one audit to the beginning of the next. */
  readonly everyMs: number;
  /** How long after the start of a process the first of all audits may begin. */
  readonly firstAfterMs?: number;
}

/** What is claimed: all the books, by one process. */
const BOOKS = 'books';
/** How often it is asked whether one is due. */
const CHECK_EVERY_MS = 60_000;
const FIRST_AFTER_MS = 300_000;
/** An audit that is under way renews its claim four times in this time. */
const LEASE_MS = 60_000;
/** It rests four times as long as it works: a fifth of one processor at most. */
const REST_FACTOR = 4;

/** The job; each check also brings this process's metrics up to date. */
export function createAuditJob({ pool, log, metrics, everyMs, firstAfterMs = FIRST_AFTER_MS }: AuditJobOptions): Job {
  const claims = createClaims({ pool, job: 'audit', leaseMs: LEASE_MS });
  const begunAt = Date.now();

  async function isDue(): Promise<boolean> {
    const latest = await latestAudit(pool);
    if (latest === null) return Date.now() - begunAt >= firstAfterMs;
    metrics.audited(latest);
    return Date.now() - latest.endedAt.getTime() >= everyMs;
  }

  return {
    name: 'audit', everyMs: CHECK_EVERY_MS,
    async run(signal) {
      const [mine] = await claims.take(1, async () => ((await isDue()) ? [BOOKS] : []));
      // Another process may have ended one between the question and the claim.
      if (mine === undefined || !(await isDue())) return;
      const startedAt = new Date();
      const onStatement = renewing(() => claims.renew(BOOKS));
      const audit = await auditBooks(pool, { overdueMs: OVERDUE_MS, restFactor: REST_FACTOR, signal, onStatement });
      await recordAudit(pool, startedAt, audit);
      const latest = await latestAudit(pool);
      if (latest !== null) metrics.audited(latest);
      for (const finding of audit.findings) log.error({ finding }, 'The audit of the books has a finding.');
    },
  };
}

/** Keeps the claim while statement follows statement. */
function renewing(renew: () => Promise<void>): () => Promise<void> {
  let renewedAt = Date.now();
  return async () => {
    if (Date.now() - renewedAt < LEASE_MS / 4) return;
    renewedAt = Date.now();
    await renew();
  };
}
