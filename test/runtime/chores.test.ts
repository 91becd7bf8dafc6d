/** The platform's own work, started by schedules on a real server. */
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { ScheduleOverlapPolicy } from '@temporalio/client';
import type { AuditReport, RetentionReport } from '../../domain/chores.ts';
import { putSchedule } from '../../temporal/schedules.ts';
import { scheduleIdFor, taskQueues } from '../../workflows/contracts/ids.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';

jest.setTimeout(60_000);

let platform: TestPlatform;
beforeAll(async () => {
  platform = await startPlatform({ RETENTION_EVERY: '7m', AUDIT_EVERY: '3h' });
});
afterAll(() => platform?.close());

const scheduleOf = (chore: 'retention' | 'audit') =>
  platform.temporal.client.schedule.getHandle(scheduleIdFor(chore, platform.queueSuffix));

/** What one run says of itself that the schedule has started at once. */
async function oneRun<Report>(chore: 'retention' | 'audit'): Promise<Report> {
  const schedule = scheduleOf(chore);
  await eventually(() => schedule.describe());
  const before = (await schedule.describe()).info.numActionsTaken;
  await schedule.trigger();
  const started = await eventually(async () => {
    const { info } = await schedule.describe();
    if (info.numActionsTaken === before) throw new Error('The schedule has started nothing yet.');
    return info.recentActions.at(-1)!.action.workflow;
  });
  expect(started.workflowId).toMatch(new RegExp(`^${scheduleIdFor(chore, platform.queueSuffix)}-2`));
  return platform.temporal.client.workflow.getHandle(started.workflowId, started.firstExecutionRunId).result() as Promise<Report>;
}

test('each has a schedule by its setting, on a queue of this platform, and no two runs at a time', async () => {
  for (const [chore, everyMs] of [['retention', 420_000], ['audit', 10_800_000]] as const) {
    const { spec, action, policies, state } = await eventually(() => scheduleOf(chore).describe());
    expect(spec.intervals).toMatchObject([{ every: everyMs }]);
    expect(action).toMatchObject({ workflowType: chore, taskQueue: taskQueues.pipeline + platform.queueSuffix });
    expect(policies.overlap).toBe(ScheduleOverlapPolicy.SKIP);
    expect(state).toMatchObject({ paused: false, note: expect.stringContaining('docs/operations.md') });
  }
});

test('a run of retention removes what was kept long enough, and says what', async () => {
  await platform.db.pool.query(`INSERT INTO idempotency (agent_address, key, request_hash, resource_id, created_at)
    SELECT 'a', 'old-' || n, 'h', 'r', now() - interval '31 days' FROM generate_series(1, 5) n`);
  const report = await oneRun<RetentionReport>('retention');
  expect(report).toMatchObject({ failed: [], removed: { idempotency_keys: 5, answers: 0 } });
  const { rows } = await platform.db.pool.query(`SELECT 1 FROM idempotency WHERE key LIKE 'old-%'`);
  expect(rows).toEqual([]);
});

test('a run of the audit proves the books, puts that on record, and says what it found', async () => {
  expect(await oneRun<AuditReport>('audit')).toEqual({ done: true, rowsAtFault: 0, findings: [] });
  expect((await platform.ask('GET', '/health')).body.checks).toMatchObject({ books: 'healthy' });
  expect((await platform.ask('GET', '/metrics')).text).toMatch(/^surety_audit_timestamp_seconds 1\d{9}/m);

  const buyer = await platform.aTrader('1.00');
  await platform.db.pool.query('UPDATE account SET pending = 1 WHERE owner = $1', [buyer.address]);
  await platform.db.pool.query('TRUNCATE sweep_claim');
  const { rowsAtFault, findings } = await oneRun<AuditReport>('audit');
  await platform.db.pool.query('UPDATE account SET pending = 0 WHERE owner = $1', [buyer.address]);
  expect(rowsAtFault).toBeGreaterThan(0);
  expect(findings.map(({ invariant }) => invariant)).toContain('I6');
});

test('a later start changes a schedule that is there, and one that an operator has paused stays paused', async () => {
  const { client } = platform.temporal;
  const schedule = scheduleOf('audit');
  await eventually(() => schedule.pause('The disk is being replaced.'));
  const changed = { workflowType: 'audit', taskQueue: 'another', everyMs: 60_000, note: 'new' };
  await putSchedule(client, { scheduleId: schedule.scheduleId, ...changed });
  const { spec, action, state } = await schedule.describe();
  expect([spec.intervals?.[0]?.every, action, state.paused]).toEqual(
    [60_000, expect.objectContaining({ taskQueue: 'another' }), true]);
});
