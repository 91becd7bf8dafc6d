/**
 * Proves the books by a schedule, in one process at a time: slowly, so that payments do not feel it, and with its result on record for all
 * processes. A process that dies at it leaves the rest to whichever process comes next, from the beginning.
 */
import type pg from 'pg';
import type { Round } from '../activities/chores.ts';
import type { AuditReport } from '../domain/chores.ts';
import { auditBooks, OVERDUE_MS } from '../ledger/audit.ts';
import { latestAudit, recordAudit } from '../ledger/audit/runs.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createClaims } from './claims.ts';
import { OVERDUE_INTERVALS, type Job } from './jobs.ts';

export interface AuditOptions {
  readonly pool: pg.Pool;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** From one audit to the next, by the schedule. */
  readonly everyMs: number;
  /** How long after the start of a process the first of all audits may begin. */
  readonly firstAfterMs?: number;
}

export interface Audit {
  /** One audit, unless another process is at it. Rejects with the reason of the signal when it is to end before. */
  round(round: Round): Promise<AuditReport>;
  /** Audits where nobody else has for too long; each check also brings this process's metrics up to date. */
  readonly backstop: Job;
}

/** What is claimed: all the books, by one process. */
const BOOKS = 'books';
/** How often it is asked whether one is overdue. */
const CHECK_EVERY_MS = 60_000;
const FIRST_AFTER_MS = 300_000;
/** An audit that is under way renews its claim four times in this time. */
const LEASE_MS = 60_000;
/** It rests four times as long as it works: a fifth of one processor at most. */
const REST_FACTOR = 4;

export function createAudit({ pool, log, metrics, everyMs, firstAfterMs = FIRST_AFTER_MS }: AuditOptions): Audit {
  const claims = createClaims({ pool, job: 'audit', leaseMs: LEASE_MS });
  const begunAt = Date.now();

  async function isOverdue(): Promise<boolean> {
    const latest = await latestAudit(pool);
    if (latest === null) return Date.now() - begunAt >= firstAfterMs;
    metrics.audited(latest);
    return Date.now() - latest.endedAt.getTime() >= OVERDUE_INTERVALS * everyMs;
  }

  async function prove({ signal, onProgress }: Round): Promise<AuditReport> {
    const startedAt = new Date();
    const renew = renewing(() => claims.renew(BOOKS));
    const onStatement = (): Promise<void> => {
      onProgress();
      return renew();
    };
    const audit = await auditBooks(pool, { overdueMs: OVERDUE_MS, restFactor: REST_FACTOR, signal, onStatement });
    await recordAudit(pool, startedAt, audit);
    const latest = await latestAudit(pool);
    if (latest !== null) metrics.audited(latest);
    for (const finding of audit.findings) log.error({ finding }, 'The audit of the books has a finding.');
    const findings = audit.findings.map(({ invariant, count }) => ({ invariant, count }));
    return { done: true, rowsAtFault: findings.reduce((sum, { count }) => sum + count, 0), findings };
  }

  /** @param isWanted asked again once the books are claimed: another process may have ended an audit between question and claim. */
  async function claimed(round: Round, isWanted: () => Promise<boolean>): Promise<AuditReport> {
    const [mine] = await claims.take(1, async () => ((await isWanted()) ? [BOOKS] : []));
    if (mine === undefined || !(await isWanted())) return { done: false, rowsAtFault: 0, findings: [] };
    return prove(round).catch(async (error: unknown) => {
      await claims.release(BOOKS).catch(() => undefined);
      throw error;
    });
  }

  return {
    round: (round) => claimed(round, () => Promise.resolve(true)),
    backstop: {
      name: 'audit', everyMs: CHECK_EVERY_MS,
      run: async (signal) => void (await claimed({ signal, onProgress: () => undefined }, isOverdue)),
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
