/** What the audits of the job have found, for every process that wants to say so. */
import type pg from 'pg';
import type { Audit, Finding } from '../audit.ts';
import { query } from '../query.ts';

/** One audit from beginning to end. */
export interface AuditRun {
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly findings: readonly Finding[];
}

/** Half a year of audits every twelve hours, two weeks of hourly ones. */
const RUNS_MAX = 365;

/** Puts the result of an audit on record. @param startedAt by the clock of this process. Errors: unavailable. */
export async function recordAudit(pool: pg.Pool, startedAt: Date, { findings }: Audit): Promise<void> {
  await query(pool, { name: 'audit-record', values: [startedAt, JSON.stringify(findings)],
    text: 'INSERT INTO audit_run (started_at, findings) VALUES ($1, $2)' });
  await query(pool, { name: 'audit-forget', values: [RUNS_MAX],
    text: 'DELETE FROM audit_run WHERE id <= (SELECT id FROM audit_run ORDER BY id DESC OFFSET $1 LIMIT 1)' });
}

/** The latest audit on record, or null. Errors: unavailable. */
export async function latestAudit(pool: pg.Pool): Promise<AuditRun | null> {
  const [row] = await query<{ started_at: Date; ended_at: Date; findings: Finding[] }>(pool,
    { name: 'audit-latest', text: 'SELECT started_at, ended_at, findings FROM audit_run ORDER BY id DESC LIMIT 1' });
  return row === undefined ? null : { startedAt: row.started_at, endedAt: row.ended_at, findings: row.findings };
}
