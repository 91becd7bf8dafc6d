/** Pipelines that end badly: what was paid stays paid, what may go back goes back, and what was done is undone. */
import { pipelineRecordOut } from '../../api/wire/pipeline.ts';
import { usdc } from '../support/market.ts';
import { aLine, pipelineNow, runPipeline, undone, workflowResult } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Behaviour, Seller } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

const broken: Behaviour = { kind: 'status', status: 500 };

/** Sellers of which one, by its number, is broken. */
async function lineWith(brokenStep: number, count = 3) {
  const sellers = await Promise.all(Array.from({ length: count },
    (_, step) => seller(`Seller ${step}`, step === brokenStep ? broken : undefined)));
  return { sellers, ...(await aLine(platform(), sellers)) };
}

/** What was asked of a seller of compensations, oldest first. */
function asked({ requests }: Seller): { key: string | null; body: Record<string, unknown> }[] {
  return requests.map(({ idempotencyKey: key, body }) => ({ key, body: JSON.parse(body) }));
}

test('a failing middle step stops the pipeline: the first stays paid, the last is never asked, and partialResult says so', async () => {
  const { sellers, types, owners } = await lineWith(1);
  const session = await platform().aSession();
  const { status, body } = await runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  expect([status, body.error, body.failedStep, body.funds_status, body.cause.code])
    .toEqual([502, 'pipeline_failed', 1, 'settled_safe', 'proxy_failed']);
  expect(body.message).toMatch(/Step 2 of 3 \(index 1\) failed: Seller 1 answered with HTTP 500.*0\.100000 was paid for 1 of 3 steps/);
  expect(body.partialResult).toMatchObject({ totalPaid: '0.100000', totalSpent: '0.100000', remaining: '0.900000' });
  expect(body.partialResult.steps)
    .toEqual([expect.objectContaining({ step: 0, status: 'paid', response: expect.objectContaining({ seller: 'Seller 0' }) })]);
  expect(sellers.map(({ requests }) => requests.length)).toEqual([1, 1, 0]);
  expect(await Promise.all(owners.map(async (owner) => (await platform().moneyOf(owner)).available))).toEqual([usdc('0.10'), 0n, 0n]);
  const now = await pipelineNow(platform(), session, body.pipelineId);
  expect(pipelineRecordOut.parse(now)).toEqual(now);
  expect([now.status, now.steps.map((step: { status: string }) => step.status)]).toEqual(['failed', ['paid', 'failed', 'not_run']]);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', requestCount: 1 });
});

test('a failing first step costs nothing, and there is no partialResult', async () => {
  const { types } = await lineWith(0);
  const session = await platform().aSession();
  const { status, body } = await runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  expect([status, body.error, body.funds_status, body.partialResult]).toEqual([502, 'pipeline_failed', 'returned', undefined]);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', remaining: '1.000000', requestCount: 0 });
});

test('all or nothing: when the third step fails the first two are given back, and their answers are not handed out', async () => {
  const { types, owners } = await lineWith(2);
  const session = await platform().aSession();
  const { status, body } =
    await runPipeline(platform(), session, { allOrNothing: true, steps: types.map((serviceType) => ({ serviceType })) });
  expect([status, body.error, body.failedStep, body.funds_status]).toEqual([502, 'pipeline_failed', 2, 'returned']);
  expect(body.partialResult)
    .toMatchObject({ totalPaid: '0.000000', remaining: '1.000000',
    steps: [{ status: 'refunded', amountPaid: '0.000000', response: null }, { status: 'refunded', response: null }] });
  for (const owner of owners) expect((await platform().moneyOf(owner)).available).toBe(0n);
  const { body: { call } } = await platform()
    .ask('GET', `/v1/gateway/calls/${body.partialResult.steps[0].callId}`, { key: session.buyer.key });
  expect(call.response).toBeNull();
});

test('all or nothing that succeeds pays everybody at the end, with the platform\'s books in order', async () => {
  const { types, owners } = await lineWith(-1);
  const session = await platform().aSession();
  const { status, body } =
    await runPipeline(platform(), session, { allOrNothing: true, steps: types.map((serviceType) => ({ serviceType })) });
  expect([status, body.totalPaid, body.remaining]).toEqual([200, '0.300000', '0.700000']);
  expect(body.steps.map((step: { refundable: boolean; status: string }) => [step.refundable, step.status]))
    .toEqual([[true, 'paid'], [true, 'paid'], [true, 'paid']]);
  for (const owner of owners) expect((await platform().moneyOf(owner)).available).toBe(usdc('0.10'));
});

test('refundable and ordinary steps mix: the one is given back, the other stays paid', async () => {
  const { types, owners } = await lineWith(2);
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType, step) => ({ serviceType, refundable: step === 0 })) });
  expect(body.partialResult.steps.map((step: { status: string }) => step.status)).toEqual(['refunded', 'paid']);
  expect(await Promise.all(owners.map(async (owner) => (await platform().moneyOf(owner)).available))).toEqual([0n, usdc('0.10'), 0n]);
});

test('compensations are called in reverse order, signed, with the answer of a paid step; only for steps that delivered', async () => {
  const { types } = await lineWith(2);
  const undo = await seller('Undo');
  const session = await platform().aSession();
  const steps = types.map((serviceType, step) =>
    ({ serviceType, refundable: step === 1, compensation: { endpoint: undo.endpoint, params: { reason: `undo ${step}` } } }));
  const { body } = await runPipeline(platform(), session, { steps });
  const { compensations } = await undone(platform(), session, body.pipelineId);
  expect(compensations.map(({ step, status, attempts }: { step: number; status: string; attempts: number }) => [step, status, attempts]))
    .toEqual([[0, 'done', 1], [1, 'done', 1], [2, 'not_needed', 0]]);
  const [{ callId: first }, { callId: second }] = body.partialResult.steps;
  expect(asked(undo).map(({ key }) => key)).toEqual([`${second}:compensate`, `${first}:compensate`]);
  expect(asked(undo)[0]?.body)
    .toEqual({ pipelineId: body.pipelineId, callId: second, step: 1, params: { reason: 'undo 1' }, paid: false, response: null });
  expect(asked(undo)[1]?.body).toMatchObject({ step: 0, paid: true, response: { seller: 'Seller 0' } });
  expect(undo.requests[0]?.headers)
    .toMatchObject({ 'x-payment-from': session.buyer.address, 'x-payment-ref': second, 'x-payment-amount': '0.000000',
    'x-payment-signature': expect.any(String) });
});

test('a compensation that fails is tried again until it works', async () => {
  const { types } = await lineWith(1, 2);
  const undo = await seller('Undo');
  undo.behaveOnce({ kind: 'status', status: 503 }, { kind: 'reset' });
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } })) });
  expect(await undone(platform(), session, body.pipelineId))
    .toMatchObject({ status: 'failed', compensations: [{ step: 0, status: 'done', attempts: 3 }, { step: 1, status: 'not_needed' }] });
  expect(new Set(asked(undo).map(({ key }) => key)).size).toBe(1);
});

test('a compensation that is refused is not asked again, is shown with its reason, and does not keep the others from being called',
    async () => {
  const { types } = await lineWith(2);
  const [refusing, willing] = [await seller('Refusing', { kind: 'status', status: 410 }), await seller('Willing')];
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType, step) => ({ serviceType, compensation: { endpoint: (step === 1 ? refusing : willing).endpoint } })) });
  expect((await undone(platform(), session, body.pipelineId)).compensations).toEqual([
    expect.objectContaining({ step: 0, status: 'done' }),
    expect.objectContaining({ step: 1, status: 'failed', attempts: 1, error: 'answered with HTTP 410' }),
    expect.objectContaining({ step: 2, status: 'not_needed' }),
  ]);
  expect([refusing.requests.length, willing.requests.length]).toEqual([1, 1]);
});

test('the timeline tells of every try to undo a step, with its time, between the failure and the end', async () => {
  const { types } = await lineWith(2);
  const [refusing, moody] = [await seller('Refusing', { kind: 'status', status: 410 }), await seller('Moody')];
  moody.behaveOnce({ kind: 'status', status: 503 });
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType, step) => ({ serviceType, compensation: { endpoint: (step === 1 ? refusing : moody).endpoint } })) });
  const payment = await eventually(async () => {
    const reply = await platform().ask('GET', `/v1/payments/${body.pipelineId}`, { key: session.buyer.key });
    expect(reply.body.payment).toMatchObject({ state: 'failed', ended: true });
    return reply.body.payment as { endedAt: string; timeline: { at: string; what: string; data: Record<string, unknown> }[] };
  });
  const undone = payment.timeline.slice(payment.timeline.findIndex(({ data }) => data['state'] === 'undoing') + 1);
  expect(undone.map(({ data: { state, stepIndex, attempt, error } }) => [state, stepIndex, attempt, error])).toEqual([
    ['undo_failed', 1, 1, 'answered with HTTP 410'], ['undo_tried', 0, 1, 'answered with HTTP 503'], ['step_undone', 0, 2, undefined],
    ['failed', undefined, undefined, undefined],
  ]);
  expect(undone.map(({ what }) => what).slice(0, 3)).toEqual([
    'The compensation of step 2 (index 1) was called for the last time and answered with HTTP 410; it was given up.',
    'The compensation of step 1 (index 0) was called and answered with HTTP 503; it is called again.',
    'The compensation of step 1 (index 0) was called and accepted.',
  ]);
  // The workflow waits half a second between two tries.
  expect(Date.parse(undone[2]?.at ?? '') - Date.parse(undone[1]?.at ?? '')).toBeGreaterThanOrEqual(450);
});

test('a step whose seller broke off in the middle may have been done, so it is undone as well', async () => {
  const { sellers, types } = await lineWith(-1, 2);
  sellers[1]?.behave({ kind: 'cut' });
  const undo = await seller('Undo');
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } })) });
  expect((await undone(platform(), session, body.pipelineId)).compensations).toMatchObject([{ status: 'done' }, { status: 'done' }]);
  expect(asked(undo).map((request) => [request.body['step'], request.body['response'] === null])).toEqual([[1, true], [0, false]]);
});

test('no compensation is called where the pipeline completes', async () => {
  const { types } = await lineWith(-1, 2);
  const undo = await seller('Undo');
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } })) });
  await workflowResult(platform(), body.workflowId);
  expect((await pipelineNow(platform(), session, body.pipelineId)).compensations.map(({ status }: { status: string }) => status))
    .toEqual(['not_needed', 'not_needed']);
  expect(undo.requests).toHaveLength(0);
});

test('a step fails over to the next seller, whose lower price is all that is paid', async () => {
  const [first, next, last] = [await seller('First', broken), await seller('Next'), await seller('Last')];
  const preferred = await platform().offers(first, { serviceType: 'fails-over', price: '0.30' });
  const cheap = await platform().offers(next, { serviceType: 'fails-over', price: '0.20' });
  await platform().offers(last, { serviceType: 'last', price: '0.10' });
  const session = await platform().aSession({ maxTotal: '0.40' });
  const { body } = await runPipeline(platform(), session,
    { steps: [{ serviceType: 'fails-over', preferAgent: preferred.address }, { serviceType: 'last' }] });
  expect(body).toMatchObject({ totalPaid: '0.300000', remaining: '0.100000',
    steps: [{ serviceName: 'Next', amountPaid: '0.200000' }, { serviceName: 'Last' }] });
  expect((await platform().moneyOf(cheap)).available).toBe(usdc('0.20'));
});

test('an answer that grows beyond all bounds when it is handed on fails the step that asked for it, before its seller is asked',
    async () => {
  const { sellers, types } = await lineWith(-1, 2);
  sellers[0]?.behave({ kind: 'text', text: JSON.stringify({ output: 'x'.repeat(1_000_000) }) });
  const session = await platform().aSession();
  const { status, body } =
    await runPipeline(platform(), session,
    { steps: [{ serviceType: types[0] ?? '' }, { serviceType: types[1] ?? '', params: { many: Array(20).fill('$prev.output') } }] });
  expect([status, body.error, body.failedStep]).toEqual([502, 'pipeline_failed', 1]);
  expect(body.message).toMatch(/larger than 5 MiB/);
  expect(sellers[1]?.requests).toHaveLength(0);
});
