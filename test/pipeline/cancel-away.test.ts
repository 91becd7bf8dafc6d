/** A cancel that meets an absent database is not forgotten: it is an error, or it is written before anything else is bought. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { aLine, newestPipeline, pipelineNow, runPipeline } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

/** The statement that cancels answers like a database that has no room for us; nothing else is disturbed. @returns how to end that. */
async function cancelIsAway(): Promise<() => Promise<unknown>> {
  const { rows: [found] } = await platform().db.pool.query<{ head: string }>(`
    SELECT format('pipeline_cancel(%s) RETURNS %s', pg_get_function_arguments(oid), pg_get_function_result(oid)) AS head
      FROM pg_proc WHERE proname = 'pipeline_cancel'`);
  await platform().db.pool.query(`CREATE OR REPLACE FUNCTION ${found?.head} LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53300'; END $$`);
  const text = readFileSync(path.join(import.meta.dirname, '../../prisma/functions/pipeline.sql'), 'utf8');
  return () => platform().db.pool.query(text);
}

async function aSlowPipeline(ms: number) {
  const sellers = [await seller('Slow', { kind: 'slow', ms }), await seller('Last')] as const;
  const { types } = await aLine(platform(), sellers);
  const session = await platform().aSession();
  const reply = runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  await eventually(async () => expect(sellers[0].requests).toHaveLength(1), { everyMs: 10 });
  const { pipelineId: id, workflowId } = await newestPipeline(platform(), session);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  await eventually(() => handle.describe());
  return { session, reply, id: id as string, handle, last: sellers[1] };
}

test('the caller of a cancel that cannot be written is answered 503 in a sentence, and the pipeline goes on', async () => {
  const { session, reply, id } = await aSlowPipeline(1_000);
  const back = await cancelIsAway();
  const { status, body } = await platform().ask('POST', `/v1/gateway/pipelines/${id}/cancel`, { key: session.buyer.key });
  await back();
  expect([status, body.code]).toEqual([503, 'unavailable']);
  expect(body.message).toMatch(/cancel.*could not be written.*goes on/);
  expect(body.recovery).toMatch(/again/);
  expect((await reply).body).toMatchObject({ status: 'completed' });
}, 30_000);

test.each(['signal', 'update', 'cancellation'] as const)(
    'a %s that cannot be written is tried by the workflow until it is, before the next step begins',
    async (way) => {
  const { session, reply, id, handle, last } = await aSlowPipeline(3_000);
  const back = await cancelIsAway();
  const asked = way === 'signal' ? handle.signal('surety-cancel')
    : way === 'update' ? handle.executeUpdate('surety-cancel', { args: [{}] }) : handle.cancel();
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  expect([last.requests.length, (await pipelineNow(platform(), session, id)).status]).toEqual([0, 'running']);
  await back();
  const answer = await asked;
  if (way === 'update') expect(answer).toMatchObject({ state: 'cancelling' });
  expect((await reply).body).toMatchObject({ code: 'pipeline_cancelled', partialResult: { totalPaid: '0.100000' } });
  expect(last.requests).toHaveLength(0);
  expect(await handle.result()).toMatchObject({ state: 'cancelled' });
}, 60_000);
