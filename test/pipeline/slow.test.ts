/** Pipelines that take their time: slow sellers, callers that do not wait, cancelling, closing, and operators at Temporal. */
import type { Reply } from '../support/app.ts';
import { usdc, type OpenSession } from '../support/market.ts';
import { aLine, newestPipeline, runPipeline, undone, type StepBody } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Seller } from '../support/sellers.ts';

const { platform, seller, story } =
  createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline', REQUEST_TIMEOUT: '12s', SELLER_TIMEOUT: '10s' });

let lines = 0;

/** Two quick sellers around a slow one, of types that nobody else sells. */
async function aSlowLine(ms: number) {
  const sellers = [await seller('Quick'), await seller('Slow', { kind: 'slow', ms }), await seller('Last')] as const;
  const { types, owners } = await aLine(platform(), sellers, { prefix: `line-${(lines += 1)}` });
  const steps = types.map((serviceType): StepBody => ({ serviceType, params: { before: '$prev.seller' } }));
  return { sellers, owners, steps };
}

/** Starts it and waits until the slow seller is at work. */
async function begin(session: OpenSession, steps: readonly StepBody[], slow: Seller,
    key?: string): Promise<{ reply: Promise<Reply>; id: string; workflowId: string }> {
  const reply = runPipeline(platform(), session, { steps }, key);
  await eventually(() => Promise.resolve(expect(slow.requests.length).toBe(1)), { everyMs: 10 });
  const { pipelineId, workflowId } = await newestPipeline(platform(), session);
  // The workflow is started a moment after the pipeline.
  await eventually(() => platform().temporal.client.workflow.getHandle(workflowId).describe());
  return { reply, id: pipelineId, workflowId };
}

const cancel = (session: OpenSession, id: string): Promise<Reply> => platform()
  .ask('POST', `/v1/gateway/pipelines/${id}/cancel`, { key: session.buyer.key });

story('a slow step goes on as an ordinary activity with a sign of life, and the next is handed its answer', async () => {
  const { sellers: [, slow, last], steps } = await aSlowLine(3_000);
  const session = await platform().aSession();
  const { reply, workflowId } = await begin(session, steps, slow);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  await eventually(async () => {
    const { raw } = await handle.describe();
    expect(raw.pendingActivities?.map(({ activityType }) => activityType?.name)).toEqual(['finishStep']);
  });
  expect((await reply).body).toMatchObject({ status: 'completed', totalPaid: '0.300000' });
  expect(JSON.parse(last.requests[0]?.body ?? '')).toEqual({ before: 'Slow' });
  expect(await handle.result()).toMatchObject({ state: 'completed' });
}, 40_000);

story('cancelled while a step runs: that step is paid, the next is never asked, and a second cancel is refused', async () => {
  const { sellers: [, slow, last], owners, steps } = await aSlowLine(2_500);
  const session = await platform().aSession();
  const { reply, id } = await begin(session, steps, slow);
  expect(await cancel(session, id)).toMatchObject({ status: 200, body: { pipeline: { status: 'cancelling' } } });
  expect(await cancel(session, id)).toMatchObject({ status: 409, body: { code: 'invalid_state' } });
  const { status, body } = await reply;
  expect([status, body.code, body.status, body.funds_status, body.partialResult.totalPaid])
    .toEqual([409, 'pipeline_cancelled', 'cancelled', 'settled_safe', '0.200000']);
  expect(await Promise.all(owners.map(async (owner) => (await platform().moneyOf(owner)).available)))
    .toEqual([usdc('0.10'), usdc('0.10'), 0n]);
  expect(last.requests).toHaveLength(0);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', remaining: '0.800000' });
}, 40_000);

story('cancelled while a refundable step runs: its delivery is given back, and undone', async () => {
  const { sellers: [, slow], owners, steps } = await aSlowLine(2_500);
  const undo = await seller('Undo');
  const session = await platform().aSession();
  const { reply, id } =
    await begin(session, steps.map((step) => ({ ...step, refundable: true, compensation: { endpoint: undo.endpoint } })), slow);
  await cancel(session, id);
  const { body } = await reply;
  expect([body.code, body.funds_status, body.partialResult.steps.map(({ status }: { status: string }) => status)])
    .toEqual(['pipeline_cancelled', 'returned', ['refunded', 'refunded']]);
  expect((await undone(platform(), session, id)).compensations)
    .toMatchObject([{ status: 'done' }, { status: 'done' }, { status: 'not_needed' }]);
  expect(undo.requests).toHaveLength(2);
  for (const owner of owners) expect((await platform().moneyOf(owner)).available).toBe(0n);
}, 40_000);

for (const way of ['signal', 'update', 'cancellation'] as const) story(`an operator stops a pipeline by ${way} at Temporal`, async () => {
  const { sellers: [, slow, last], steps } = await aSlowLine(7_500);
  const session = await platform().aSession();
  const { reply, workflowId } = await begin(session, steps, slow);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  if (way === 'signal') await handle.signal('surety-cancel');
  else if (way === 'update') expect(await handle.executeUpdate('surety-cancel', { args: [{ by: session.buyer.address }] }))
    .toMatchObject({ state: 'cancelling' });
  else await handle.cancel();
  expect((await reply).body).toMatchObject({ code: 'pipeline_cancelled', partialResult: { totalPaid: '0.200000' } });
  expect(await handle.result()).toMatchObject({ state: 'cancelled', returned: '0.100000', paid: [{ step: 0 }, { step: 1 }] });
  expect(last.requests).toHaveLength(0);
}, 40_000);

story('a signal from somebody who is not the buyer is refused, and the reason is kept for whoever looks', async () => {
  const { sellers: [, slow], steps } = await aSlowLine(7_500);
  const session = await platform().aSession();
  const { reply, workflowId } = await begin(session, steps, slow);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  await handle.signal('surety-cancel', { by: '0x00000000000000000000000000000000000000aa' });
  await eventually(async () => expect(await handle.query('surety-view'))
    .toMatchObject({ state: 'running', lastRefusal: 'Only the buyer may cancel a pipeline.' }));
  await expect(handle.executeUpdate('surety-cancel', { args: [{ by: '0x00000000000000000000000000000000000000aa' }] }))
    .rejects.toMatchObject({ cause: { type: 'unauthorized' } });
  expect((await reply).status).toBe(200);
}, 40_000);

story('a session that is closed while its pipeline runs keeps what the pipeline needs, and returns the rest at once', async () => {
  const { sellers: [, slow], owners, steps } = await aSlowLine(2_500);
  const session = await platform().aSession({ maxTotal: '1.00' });
  const { reply } = await begin(session, [steps[0]!, { ...steps[1]!, refundable: true }, steps[2]!], slow);
  expect((await platform().closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.100000', totalRefunded: '0.700000', stillReserved: '0.200000' });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.70'), pending: usdc('0.20') });
  expect((await reply).body).toMatchObject({ status: 'completed', totalPaid: '0.300000', remaining: '0.000000' });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.70'), pending: 0n });
  for (const owner of owners) expect((await platform().moneyOf(owner)).available).toBe(usdc('0.10'));
}, 40_000);

story('a closed session whose all-or-nothing pipeline fails gives everything back to the buyer', async () => {
  const { sellers: [, slow, last], steps } = await aSlowLine(2_500);
  last.behave({ kind: 'status', status: 500 });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const { reply } = await begin(session, steps.map((step) => ({ ...step, refundable: true })), slow);
  await platform().closeSession(session);
  expect((await reply).body).toMatchObject({ code: 'pipeline_failed', funds_status: 'returned' });
  await eventually(async () => expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('1.00'), pending: 0n }));
}, 40_000);
