/** Work that may be given back unpaid: only what the seller has offered so, and the seller knows it of every request. */
import { verifySellerRequest } from '../../platform/seller-signature.ts';
import { usdc } from '../support/market.ts';
import { aLine, runPipeline, undone } from '../support/pipelines.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';
import type { Behaviour } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

const broken: Behaviour = { kind: 'status', status: 500 };

test.each([
  ['a step marked refundable', false], ['every step of an all-or-nothing pipeline', true],
])('%s is refused where no service lets its work be given back: the step is named, nothing is held, nobody is asked',
    async (_what, allOrNothing) => {
  const sellers = [await seller('Willing'), await seller('Strict')];
  const willing = await aLine(platform(), sellers.slice(0, 1), { prefix: 'willing' });
  const strict = await aLine(platform(), sellers.slice(1), { prefix: 'strict', refundable: false });
  const session = await platform().aSession();
  const { status, body } = await runPipeline(platform(), session, {
    allOrNothing, steps: [{ serviceType: willing.types[0]! }, { serviceType: strict.types[0]!, refundable: !allOrNothing }],
  });
  expect([status, body.code, body.failedStep, body.funds_status]).toEqual([404, 'no_refundable_service', 1, 'no_change']);
  expect(body.message).toMatch(/^Step 2 of 2 \(index 1\): .*strict-0.*given back/);
  expect(sellers.map(({ requests }) => requests.length)).toEqual([0, 0]);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', remaining: '1.000000' });
});

test('a refundable step is bought of a service that offers it, however cheap the others are, and never fails over to one of them',
    async () => {
  const [cheap, dear, end] = [await seller('Cheap'), await seller('Dear', broken), await seller('End')];
  await platform().offers(cheap, { serviceType: 'either', price: '0.01' });
  await platform().offers(dear, { serviceType: 'either', price: '0.20', refundable: true });
  await platform().offers(end, { serviceType: 'end' });
  const session = await platform().aSession();
  const { status, body } =
    await runPipeline(platform(), session, { steps: [{ serviceType: 'either', refundable: true }, { serviceType: 'end' }] });
  expect([status, body.code, body.failedStep]).toEqual([502, 'pipeline_failed', 0]);
  expect([cheap, dear, end].map(({ requests }) => requests.length)).toEqual([0, 1, 0]);
});

test('the signed request says whether the work may be given back, and nobody can change that on the way', async () => {
  const sellers = [await seller('First'), await seller('Second')];
  const { types, owners } = await aLine(platform(), sellers);
  const session = await platform().aSession();
  await runPipeline(platform(), session, { steps: types.map((serviceType, step) => ({ serviceType, refundable: step === 1 })) });
  const requests = sellers.map(({ requests: [request] }) => request!);
  expect(requests.map(({ headers }) => headers['x-payment-refundable'])).toEqual(['false', 'true']);
  const { body: { keys } } = await platform().ask('GET', '/.well-known/surety-keys.json');
  const verdicts = requests.flatMap((request, step) => ['false', 'true'].map((told) => verifySellerRequest(
    { ...request, headers: { ...request.headers, 'x-payment-refundable': told } }, { keys, seller: owners[step]!.address })));
  expect(verdicts).toEqual(['ok', 'bad_signature', 'bad_signature', 'ok']);
});

test('a compensation carries the answer of a step that was paid, and never that of a step that was given back', async () => {
  const { types, owners } = await aLine(platform(), [await seller('Paid'), await seller('Unpaid'), await seller('Broken', broken)]);
  const undo = await seller('Undo');
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType, step) => ({ serviceType, refundable: step === 1, compensation: { endpoint: undo.endpoint } })) });
  await undone(platform(), session, body.pipelineId);
  const asked = undo.requests.map((request) => JSON.parse(request.body) as { step: number; paid: boolean; response: unknown });
  expect(asked.map(({ step, paid, response }) => [step, paid, response])).toEqual([
    [1, false, null], [0, true, expect.objectContaining({ seller: 'Paid' })],
  ]);
  expect(await Promise.all(owners.map(async (owner) => (await platform().moneyOf(owner)).available))).toEqual([usdc('0.10'), 0n, 0n]);
});
