/** Work that the platform does for itself by schedule: each run is one round, and its result says what was done. */
import { proxyActivities } from '@temporalio/workflow';
import type { ChoreActivities } from '../activities/chores.ts';
import type { AuditReport, RetentionReport } from '../domain/chores.ts';

// Tried until it is done: while one run waits for the database, the schedule starts no other. The heartbeat is longer than the claim of an
// audit, so that whoever comes after a process that died finds the books free.
const { removeOldRows, auditBooks } = proxyActivities<ChoreActivities>({
  startToCloseTimeout: '6h', heartbeatTimeout: '90s', retry: { initialInterval: '5s', maximumInterval: '5m' },
});

export const retention = (): Promise<RetentionReport> => removeOldRows();
export const audit = (): Promise<AuditReport> => auditBooks();
