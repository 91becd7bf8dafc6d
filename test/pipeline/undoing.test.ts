/** Compensations that do not work at once: called again for long, by one process at a time, and once more when somebody asks. */
import { freePort } from '../../platform/ports.ts';
import type { OpenSession } from '../support/market.ts';
import { aLine, pipelineNow, runPipeline, undone } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';

const { platform, seller, story } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

const broken: Behaviour = { kind: 'status', status: 500 };
const refusing: Behaviour = { kind: 'status', status: 410 };
let lines = 0;

/** A pipeline of two steps, the second of which fails; its first is to be undone at this address. */
async function aFailed(endpoint: string): Promise<{ session: OpenSession; id: string; workflowId: string }> {
  const { types } = await aLine(platform(), [await seller('First'), await seller('Broken', broken)], { prefix: `undo-${(lines += 1)}` });
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint } })) });
  expect(body.code).toBe('pipeline_failed');
  return { session, id: body.pipelineId, workflowId: body.workflowId };
}

/** One whose compensation was refused, so that it was given up. */
async function aGivenUp(): Promise<Awaited<ReturnType<typeof aFailed>> & { undo: Seller }> {
  const undo = await seller('Undo', refusing);
  const failed = await aFailed(undo.endpoint);
  expect(await undone(platform(), failed.session, failed.id))
    .toMatchObject({ compensations: [{ step: 0, status: 'failed', attempts: 1 }, {}] });
  return { ...failed, undo };
}

const retry = (id: string, who: object) => platform().ask('POST', `/v1/gateway/pipelines/${id}/retry-undo`, who);

story('an endpoint that cannot be reached for ten seconds is called again until it can, each time with the same key', async () => {
  const port = await freePort();
  const { session, id } = await aFailed(`http://127.0.0.1:${port}/work`);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  expect(await pipelineNow(platform(), session, id)).toMatchObject({ status: 'undoing', compensations: [{ status: 'pending' }, {}] });
  const undo = await startSeller('Late', { kind: 'ok' }, port);
  try {
    expect(await undone(platform(), session, id))
      .toMatchObject({ status: 'failed', compensations: [{ status: 'done' }, { status: 'not_needed' }] });
    expect(undo.requests.map(({ idempotencyKey }) => idempotencyKey)).toEqual([expect.stringMatching(/^call_[0-9a-f]{24}:compensate$/)]);
  } finally {
    await undo.close();
  }
}, 60_000);

story('one compensation that does not work holds up no other, and the latest step comes first', async () => {
  const [gone, willing] = [await seller('Gone', { kind: 'status', status: 503 }), await seller('Willing')];
  const { types } = await aLine(platform(), [await seller('A'), await seller('B'), await seller('C', broken)],
    { prefix: `undo-${(lines += 1)}` });
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session, { steps: types.map((serviceType, step) =>
    ({ serviceType, compensation: { endpoint: (step === 1 ? gone : willing).endpoint } })) });
  await eventually(async () => expect((await pipelineNow(platform(), session, body.pipelineId)).compensations).toMatchObject(
    [{ step: 0, status: 'done', attempts: 1 }, { step: 1, status: 'pending', error: 'answered with HTTP 503' },
      { step: 2, status: 'not_needed' }]), { everyMs: 20 });
  gone.behave({ kind: 'ok' });
  expect((await undone(platform(), session, body.pipelineId)).compensations).toMatchObject([{ status: 'done' }, { status: 'done' }, {}]);
}, 60_000);

story('a compensation that was given up is called again when the buyer asks, with the same key, and the pipeline ends anew', async () => {
  const { session, id, undo } = await aGivenUp();
  undo.behave({ kind: 'ok' });
  const { status, body } = await retry(id, { key: session.buyer.key });
  expect([status, body.pipeline.status, body.pipeline.compensations[0].status]).toEqual([200, 'undoing', 'pending']);
  expect(await undone(platform(), session, id)).toMatchObject({ status: 'failed', compensations: [{ status: 'done', attempts: 2 }, {}] });
  expect(new Set(undo.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  expect(await retry(id, { key: session.buyer.key })).toMatchObject({ status: 409, body: { code: 'invalid_state' } });
  const { body: { payment } } = await platform().ask('GET', `/v1/payments/${id}`, { key: session.buyer.key });
  expect(payment.timeline.map(({ data }: { data: { state?: string } }) => data.state)).toEqual(expect.arrayContaining(
    ['undoing', 'undo_failed', 'failed', 'undo_retried', 'step_undone']));
}, 60_000);

story('only the buyer and the admin may have compensations called again, and only where one has failed', async () => {
  const { session, id, undo } = await aGivenUp();
  const stranger = await platform().aTrader('1.00');
  expect(await retry(id, { key: stranger.key })).toMatchObject({ status: 403, body: { code: 'unauthorized' } });
  expect(await retry('pipe_000000000000000000000000', { key: stranger.key })).toMatchObject({ status: 404 });
  expect((await retry(id, {})).status).toBe(401);
  undo.behave({ kind: 'ok' });
  expect(await retry(id, { adminSecret: 'a-secret-for-tests' })).toMatchObject({ status: 200, body: { pipeline: { status: 'undoing' } } });
  expect(await undone(platform(), session, id)).toMatchObject({ compensations: [{ status: 'done' }, {}] });
}, 60_000);

for (const way of ['signal', 'update'] as const) story(`an operator has a compensation called again by ${way} at Temporal`, async () => {
  const { session, id, workflowId, undo } = await aGivenUp();
  undo.behave({ kind: 'ok' });
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  const stranger = { by: '0x00000000000000000000000000000000000000aa' };
  await expect(handle.executeUpdate('surety-retry-undo', { args: [stranger] })).rejects.toMatchObject({ cause: { type: 'unauthorized' } });
  if (way === 'signal') await handle.signal('surety-retry-undo');
  else expect(await handle.executeUpdate('surety-retry-undo', { args: [{}] })).toMatchObject({ state: 'undoing' });
  await eventually(async () => expect(await pipelineNow(platform(), session, id))
    .toMatchObject({ status: 'failed', compensations: [{ status: 'done', attempts: 2 }, {}] }));
  expect(await handle.result())
    .toMatchObject({ state: 'failed', undone: [{ step: 0, state: 'done', attempts: 2 }, { step: 1, state: 'not_needed' }] });
}, 60_000);
