/** Pipelines that end well: steps in order, answers handed on, sellers paid, the rest of the budget untouched. */
import { pipelineOut, pipelineRecordOut } from '../../api/wire/pipeline.ts';
import { usdc } from '../support/market.ts';
import { aLine, pipelineNow, runPipeline, workflowResult } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

async function sellers(count: number) {
  return Promise.all(Array.from({ length: count }, (_, step) => seller(`Seller ${step}`)));
}

test.each([1, 3, 10])('%i steps are bought in order, each handed the answer of the one before', async (count) => {
  const line = await sellers(count);
  const { types, owners } = await aLine(platform(), line);
  const session = await platform().aSession({ maxTotal: '2.00' });
  const steps = types.map((serviceType, step) =>
    ({ serviceType, params: step === 0 ? { text: 'begin' } : { before: '$prev', name: '$prev.seller' } }));
  const { status, body } = await runPipeline(platform(), session, { steps });
  expect([status, body.status]).toEqual([200, 'completed']);
  expect(body.steps.map((step: { step: number; stepIndex: number; serviceName: string; amountPaid: string; status: string }) =>
    [step.step, step.stepIndex, step.serviceName, step.amountPaid, step.status]))
    .toEqual(types.map((_, step) => [step, step, `Seller ${step}`, '0.100000', 'paid']));
  const total = usdc('0.10') * BigInt(count);
  expect([usdc(body.totalPaid), usdc(body.totalSpent), usdc(body.remaining)]).toEqual([total, total, usdc('2.00') - total]);
  expect(pipelineOut.parse(body)).toEqual(body);
  expect(body.result).toEqual({ steps: body.steps, totalPaid: body.totalPaid, totalSpent: body.totalSpent, remaining: body.remaining });
  for (const [step, { requests }] of line.entries()) {
    expect(requests).toHaveLength(1);
    expect(requests[0]?.idempotencyKey).toBe(body.steps[step].callId);
    if (step > 0) expect(JSON.parse(requests[0]?.body ?? ''))
      .toEqual({ before: body.steps[step - 1].response, name: `Seller ${step - 1}` });
  }
  for (const owner of owners) expect((await platform().moneyOf(owner)).available).toBe(usdc('0.10'));
  const now = await pipelineNow(platform(), session, body.pipelineId);
  expect(pipelineRecordOut.parse(now)).toEqual(now);
  expect(now).toMatchObject({ status: 'completed', totalPaid: body.totalPaid, steps: body.steps, compensations: [] });
});

test('its workflow ends with it and shows it to whoever looks at Temporal', async () => {
  const { types } = await aLine(platform(), await sellers(2));
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  const handle = platform().temporal.client.workflow.getHandle(body.workflowId);
  expect(await workflowResult(platform(), body.workflowId)).toMatchObject({ state: 'completed', version: 2, returned: '0.000000' });
  const { searchAttributes } = await handle.describe();
  expect(searchAttributes).toMatchObject(
    { Buyer: [session.buyer.address], PaymentState: ['completed'], PaymentOutcome: ['paid'], AmountUsd: [0.2] });
  await eventually(async () => expect((await platform().db.pool.query('SELECT 1 FROM workflow_notice')).rows).toEqual([]));
  // One task of the workflow for all quick steps: the whole history is a handful of events.
  expect((await handle.fetchHistory()).events?.length).toBeLessThan(20);
});
