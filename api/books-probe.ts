/** What the last audit of the books says, for /health. */
import type pg from 'pg';
import { latestAudit } from '../ledger/audit/runs.ts';
import type { HealthProbe } from './deps.ts';

/** So many times as long as one audit should follow the other may pass before it is missed. */
const PATIENCE = 3;

/** @param everyMs time from one audit to the next. */
export function booksProbe(pool: pg.Pool, everyMs: number): HealthProbe {
  return {
    name: 'books', required: false,
    async check() {
      const latest = await latestAudit(pool);
      if (latest === null) return { detail: 'not audited yet' };
      const when = latest.endedAt.toISOString();
      const broken = latest.findings.reduce((sum, { count }) => sum + count, 0);
      if (broken > 0) {
        return { healthy: false, detail: `the audit of ${when} found ${broken} rows at fault; POST /v1/admin/reconcile names them` };
      }
      const isLate = Date.now() - latest.endedAt.getTime() > PATIENCE * everyMs;
      return { healthy: !isLate, detail: isLate ? `no audit since ${when}` : `right by the audit of ${when}` };
    },
  };
}
