/** Callers that do not wait, sellers that take their time, and operators who step in: the payment goes on by itself. */
import { usdc } from '../support/market.ts';
import type { GatewayCallsResult } from '../../workflows/contracts/gateway-calls.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

// A request waits for a second; a seller may take nine, so that whoever steps in has time on a slow machine as well.
const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', REQUEST_TIMEOUT: '1500ms', SELLER_TIMEOUT: '9s' });

test('a caller whose time is up hears that the call goes on and where the money is, and gets the result by asking again', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 3_200 });
  const offer = await platform().offers(slow, { price: '0.10' });
  const session = await platform().aSession();
  const first = await platform().buy(session, { key: 'patience' });
  expect([first.status, first.body.error, first.body.funds_status]).toEqual([504, 'call_pending', 'held_pending']);
  const { body: { call } } = await platform().ask('GET', `/v1/gateway/calls/${first.body.callId}`, { key: session.buyer.key });
  expect(call).toMatchObject({ status: 'in_progress', response: null });
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.100000', remaining: '0.900000', totalSpent: '0.000000' });
  const again = await eventually(async () => {
    const reply = await platform().buy(session, { key: 'patience' });
    expect(reply.status).toBe(200);
    return reply;
  });
  expect([again.body.callId, again.body.response.output]).toEqual([first.body.callId, { text: 'hello' }]);
  expect(slow.requests).toHaveLength(1);
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.10'));
});

test('a caller that hangs up does not stop the payment', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 1_000 });
  const offer = await platform().offers(slow, { price: '0.10' });
  const session = await platform().aSession();
  const patience = new AbortController();
  const gaveUp = fetch(`${platform().baseUrl}/v1/gateway/proxy`, {
    method: 'POST', signal: patience.signal, body: JSON.stringify({ serviceType: 'translation' }),
    headers: { authorization: `Bearer ${session.buyer.key}`, 'x-gateway-token': session.token, 'content-type': 'application/json' },
  });
  const rejected = expect(gaveUp).rejects.toThrow(/abort/i);
  await eventually(() => Promise.resolve(expect(slow.requests).toHaveLength(1)), { everyMs: 10 });
  patience.abort();
  await rejected;
  await eventually(async () => expect((await platform().sessionNow(session)).requestCount).toBe(1));
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.10'));
});

test('a seller that never answers costs its caller nothing, also when the caller has long gone', async () => {
  const silent = await seller('Silent', { kind: 'hang' });
  await platform().offers(silent, { price: '0.10' });
  const session = await platform().aSession();
  const [first, again] = [await platform().buy(session, { key: 'silence' }), await platform().buy(session, { key: 'silence' })];
  expect([first, again].map(({ body, headers }) => [body.error, headers.get('idempotent-replayed')]))
    .toEqual([['call_pending', null], ['call_pending', 'true']]);
  await eventually(async () => expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', remaining: '1.000000' }),
    { withinMs: 20_000 });
  const { body: { logs } } = await platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs`, { key: session.buyer.key });
  expect(logs[0]).toMatchObject({ status: 'forward_failed', error: expect.stringMatching(/Silent did not answer in time/) });
});

test('an operator who cancels the workflow of a slow call does not take the money from a seller that is at work', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 4_000 });
  const offer = await platform().offers(slow, { price: '0.10' });
  const session = await platform().aSession();
  const { body } = await platform().buy(session, { key: 'cancelled' });
  const { body: { call } } = await platform().ask('GET', `/v1/gateway/calls/${body.callId}`, { key: session.buyer.key });
  const workflow = platform().temporal.client.workflow.getHandle(call.workflowId);
  await workflow.cancel();
  await eventually(async () => expect((await workflow.describe()).status.name).toBe('CANCELLED'), { withinMs: 20_000 });
  expect(slow.requests[0]?.answered).toBe(true);
  expect([(await platform().moneyOf(offer)).available, (await platform().sessionNow(session))['totalSpent']])
    .toEqual([usdc('0.10'), '0.100000']);
}, 40_000);

test('the workflow of calls says a line about each, and the search tells those with a give-back from those without', async () => {
  const [slow, broken] = [await seller('Slow', { kind: 'slow', ms: 3_000 }), await seller('Broken', { kind: 'status', status: 500 })];
  const [offer, failing] = [await platform().offers(slow, { serviceType: 'slow-line', price: '0.10' }),
    await platform().offers(broken, { serviceType: 'broken-line', price: '0.20' })];
  const session = await platform().aSession();
  const replies = await Promise.all([platform().buy(session, { serviceType: 'slow-line' }),
    platform().buy(session, { serviceType: 'broken-line' })]);
  const expected = [['paid', offer.address, '0.100000'], ['returned', failing.address, '0.200000']];
  for (const [index, [outcome, seller, price]] of expected.entries()) {
    const { callId } = replies[index]?.body ?? {};
    const { body: { call } } = await platform().ask('GET', `/v1/gateway/calls/${callId}`, { key: session.buyer.key });
    const workflow = platform().temporal.client.workflow.getHandle(call.workflowId);
    const { calls } = (await workflow.result()) as GatewayCallsResult;
    const line = calls.find(({ id }) => id === callId);
    expect(line).toMatchObject({ id: callId, outcome, seller, price, attempts: 1 });
    expect(line?.ms).toBeGreaterThan(outcome === 'paid' ? 2_900 : 0);
    const { searchAttributes } = await workflow.describe();
    expect(searchAttributes['PaymentOutcome']).toEqual([calls.length > 1 ? 'split' : outcome]);
    // The slow one was waited for by the process that had asked, on its own queue.
    const { events } = await workflow.fetchHistory();
    const queues = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.taskQueue?.name ?? []);
    expect(queues).toEqual(outcome === 'paid' ? [expect.stringMatching(/^surety-gateway.*-.+/)] : expect.any(Array));
  }
}, 40_000);

test('money that calls under way have reserved cannot be spent by others', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 900 });
  await platform().offers(slow, { price: '0.40' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const underWay = [platform().buy(session), platform().buy(session)];
  await eventually(async () => expect((await platform().sessionNow(session))['reserved']).toBe('0.800000'), { everyMs: 10 });
  expect((await platform().buy(session)).body).toMatchObject({ error: 'budget_exceeded', remaining: '0.200000' });
  // On a slow machine the answer comes before the seller's does; the calls go on all the same.
  for (const { status, body } of await Promise.all(underWay)) expect(status === 200 ? 'paid' : body.code).toMatch(/^(paid|call_pending)$/);
  await eventually(async () => expect(await platform().sessionNow(session))
    .toMatchObject({ totalSpent: '0.800000', reserved: '0.000000' }));
});
