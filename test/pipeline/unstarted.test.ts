/** Pipelines and their workflows when many run at once: one that is over before a start was sent needs none, and every other has one. */
import { WorkflowNotFoundError } from '@temporalio/client';
import { aLine, newestPipeline, runPipeline, workflowResult } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

test('in a burst every start that was sent has its workflow, what was over before needs none, and no notice is left', async () => {
  const { types } = await aLine(platform(), [await seller('Quick')], { price: '0.01' });
  const session = await platform().aSession({ maxTotal: '2.00' });
  const steps = types.map((serviceType) => ({ serviceType }));
  const replies = await Promise.all(Array.from({ length: 20 }, () => runPipeline(platform(), session, { steps })));
  expect(replies.map(({ status, body }) => `${status} ${body.status}`)).toEqual(Array(20).fill('200 completed'));
  const { pool } = platform().db;
  await eventually(async () => expect((await pool.query(`SELECT 1 FROM workflow_notice WHERE kind = 'pipeline'`)).rows).toEqual([]));
  const { rows } = await pool.query<{ workflow_id: string; workflow_started: boolean }>(
    'SELECT workflow_id, workflow_started FROM pipeline');
  const started = rows.filter((row) => row.workflow_started).length;
  expect([rows.length, started > 0, started < 20]).toEqual([20, true, true]);
  for (const row of rows) {
    const described = platform().temporal.client.workflow.getHandle(row.workflow_id).describe();
    if (row.workflow_started) expect((await described).type).toBe('pipeline');
    else await expect(described).rejects.toThrow(WorkflowNotFoundError);
  }
}, 30_000);

test('one that waits for its start and goes on gets its workflow a moment later', async () => {
  const { types } = await aLine(platform(), [await seller('Slow', { kind: 'slow', ms: 2_500 })], { prefix: 'slow', price: '0.01' });
  const session = await platform().aSession({ maxTotal: '2.00' });
  const steps = types.map((serviceType) => ({ serviceType }));
  const replies = await Promise.all(Array.from({ length: 12 }, () => runPipeline(platform(), session, { steps })));
  for (const { body } of replies) expect(await workflowResult(platform(), body.workflowId as string)).toMatchObject({ state: 'completed' });
}, 30_000);

test('a message that says it has ended is not believed: the workflow reads the row', async () => {
  const { types } = await aLine(platform(), [await seller('Unhurried', { kind: 'slow', ms: 3_000 })], { prefix: 'forged', price: '0.01' });
  const session = await platform().aSession();
  const answer = runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  const { workflowId } = await eventually(() => newestPipeline(platform(), session)) as { workflowId: string };
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  await eventually(() => handle.signal('surety-moved', { version: 99, state: 'failed', ended: true, deadlineMs: null }));
  await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ state: 'running', version: 1 }));
  expect((await answer).body.status).toBe('completed');
  expect(await handle.result()).toMatchObject({ state: 'completed', paid: [{ step: 0 }] });
}, 30_000);
