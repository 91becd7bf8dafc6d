/** The life of a long call over HTTP: accepted, asked, begun, and then delivered, given up, cancelled, or given back by the clock. */
import { buyLong, buyLongOnce, firstRequest, linkIn, longCallIs, longCallNow, stepOf } from '../support/long-calls.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Behaviour } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', SELLER_TIMEOUT: '2s' });

const later: Behaviour = { kind: 'status', status: 202 };

/** A seller of films that answers so, and a session that may buy them. */
async function scene(behaviour: Behaviour = later, { maxDurationSecs = 3_600, idempotent = true } = {}) {
  const studio = await seller('Studio', behaviour);
  const owner = await platform().offers(studio, { serviceType: 'film', price: '0.40', maxDurationSecs, idempotent });
  return { studio, owner, session: await platform().aSession() };
}

test('a seller that answers 202 completes the call an hour before its time, and is paid', async () => {
  const { studio, owner, session } = await scene();
  const accepted = await buyLong(platform(), session);
  const { callId, workflowId } = accepted.body;
  expect([accepted.status, accepted.headers.get('preference-applied')]).toEqual([202, 'respond-async']);
  expect(accepted.headers.get('location')).toMatch(new RegExp(`/v1/gateway/calls/${callId}$`));
  expect(accepted.body).toMatchObject({ workflowId: `gateway-call-${callId}`, state: 'asking', price: '0.400000', seller: owner.address });
  expect(Date.parse(accepted.body.deadline) - Date.now()).toBeGreaterThan(3_590_000);
  const request = await firstRequest(studio);
  expect(request.headers).toMatchObject({ 'x-payment-ref': callId, 'idempotency-key': callId, prefer: 'respond-async' });
  await longCallIs(platform(), session.buyer, callId, 'begun');
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.400000', totalSpent: '0.000000' });

  expect((await stepOf(platform(), owner, callId, 'progress', { percent: 40, note: 'Scene 2' })).body.call)
    .toMatchObject({ state: 'begun', percent: 40, note: 'Scene 2' });
  const done = await stepOf(platform(), owner, callId, 'complete', { result: { film: 'http://films/1' } });
  expect([done.status, done.body.call.state]).toEqual([200, 'settled']);
  const { call, events } = await longCallNow(platform(), session.buyer, callId);
  expect(call).toMatchObject({ status: 'success', amount: '0.400000', response: { film: 'http://films/1' }, sessionId: session.token });
  expect(events.map(({ step }: { step: string }) => step)).toEqual(['accepted', 'asked', 'begun', 'progress', 'completed']);
  expect((await platform().moneyOf(owner)).available).toBe(usdc('0.40'));
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', totalSpent: '0.400000' });
  const timeline: string[] = [];
  for (let cursor = ''; ;) {
    const { body } = await platform().ask('GET', `/v1/payments/${callId}?limit=2${cursor}`, { key: session.buyer.key });
    timeline.push(...body.payment.timeline.map(({ what }: { what: string }) => what));
    if (!body.has_more) break;
    cursor = `&cursor=${body.next_cursor}`;
  }
  expect(timeline.map((what) => what.replace(/0x[0-9a-f]+/, 'x'))).toEqual([
    'A call for "film" was accepted; one seller can be asked.',
    expect.stringMatching(/^Studio \(x\) was asked and delivered within \d+ ms\.$/), 'Studio (x) is asked.',
    'The seller has begun; the call can no longer be cancelled.', 'The seller is at work: 40 %: Scene 2',
    '0.400000 USDC were paid to the seller.', 'The call is settled: 0.400000 USDC were charged for what x delivered.',
  ]);
  expect(await platform().temporal.client.workflow.getHandle(workflowId).result())
    .toMatchObject({ id: callId, state: 'settled', paid: '0.400000', returned: '0.000000', seller: owner.address });
  expect(studio.requests).toHaveLength(1);
}, 30_000);

test('a seller that delivers at once is paid at once; a call of its own holds and returns what is not needed', async () => {
  const { owner } = await scene({ kind: 'ok' });
  const buyer = await platform().aTrader('1.00');
  const { status, body } = await buyLongOnce(platform(), buyer, { maxPrice: '0.90' });
  expect(status).toBe(202);
  const { call } = await longCallIs(platform(), buyer, body.callId, 'settled');
  expect(call).toMatchObject({ status: 'success', response: { output: { scene: 1 }, seller: 'Studio' } });
  expect([(await platform().moneyOf(owner)).available, await platform().moneyOf(buyer)])
    .toEqual([usdc('0.40'), { available: usdc('0.60'), pending: 0n }]);
});

test('whoever holds the link completes without a key, also before the 202; no other text does', async () => {
  const { studio, session } = await scene({ kind: 'hang' });
  const { callId } = (await buyLong(platform(), session)).body;
  const request = await firstRequest(studio);
  const link = linkIn(request);
  const ask = (path: string, body: object) => platform().ask('POST', path, { body });
  for (const wrong of [link.slice(0, -1), `${link}A`, link.replace(/token=.*/, 'token='), link.replace(/token=./, 'token=z')]) {
    expect(await ask(wrong, { result: { film: 'forged' } })).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  }
  const another = (await buyLong(platform(), session)).body.callId as string;
  expect((await ask(link.replace(callId, another), { result: {} })).status).toBe(401);
  expect((await ask(linkIn(request, 'progress'), { percent: 10 })).body.call).toMatchObject({ state: 'begun', percent: 10 });
  expect((await ask(link, { result: { film: 'the real one' } })).body.call.state).toBe('settled');
  expect((await longCallNow(platform(), session.buyer, callId)).call.response).toEqual({ film: 'the real one' });
  await eventually(() => Promise.resolve(expect(studio.requests).toHaveLength(2)));
  // The hanging seller: nothing is left to wait for.
  expect((await ask(linkIn(studio.requests[1] as typeof request, 'fail'), {})).body.call)
    .toMatchObject({ callId: another, state: 'released' });
}, 30_000);

test('completing twice with one result is once, with another one it is refused; nothing follows an end', async () => {
  const { owner, session } = await scene();
  const { callId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  const complete = (result: object) => stepOf(platform(), owner, callId, 'complete', { result });
  const many = await Promise.all([1, 2, 3, 4].map(() => complete({ a: { b: [1, 2] }, c: 'x' })));
  expect(many.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  const again = await complete({ c: 'x', a: { b: [1, 2] } });
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, 'true']);
  expect(await complete({ a: { b: [2, 1] }, c: 'x' })).toMatchObject({ status: 409, body: { code: 'invalid_state',
    funds_status: 'settled_safe', message: expect.stringContaining('its price is paid to the seller') } });
  expect((await stepOf(platform(), owner, callId, 'fail', { reason: 'too late' })).status).toBe(409);
  expect((await stepOf(platform(), session.buyer, callId, 'cancel')).status).toBe(409);
  expect((await platform().moneyOf(owner)).available).toBe(usdc('0.40'));
});

test('a seller that gives up is not paid; its reason is for the buyer to read', async () => {
  const { owner, session } = await scene();
  const { callId, workflowId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  const { body } = await stepOf(platform(), owner, callId, 'fail', { reason: 'The script cannot be filmed.' });
  expect(body.call).toMatchObject({ state: 'released', error: 'Studio gave the call up: The script cannot be filmed.' });
  expect((await longCallNow(platform(), session.buyer, callId)).call).toMatchObject({ status: 'forward_failed', response: null });
  expect(await platform().sessionNow(session)).toMatchObject({ remaining: '1.000000', reserved: '0.000000' });
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  expect(await handle.result()).toMatchObject({ state: 'released', paid: '0.000000', returned: '0.400000' });
  await eventually(async () => expect((await handle.describe()).searchAttributes).toMatchObject(
    { PaymentOutcome: ['returned'], PaymentState: ['released'], Buyer: [session.buyer.address], Seller: [owner.address] }));
});

test('the buyer cancels until the seller has begun, and not after that', async () => {
  const { studio, owner, session } = await scene({ kind: 'hang' });
  const { callId } = (await buyLong(platform(), session)).body;
  await firstRequest(studio);
  expect(await stepOf(platform(), owner, callId, 'cancel'))
    .toMatchObject({ status: 403, body: { message: 'Only the buyer may cancel the call.' } });
  expect((await stepOf(platform(), session.buyer, callId, 'cancel')).body.call.state).toBe('released');
  expect((await stepOf(platform(), owner, callId, 'complete', { result: {} })).body).toMatchObject({ code: 'invalid_state',
    funds_status: 'returned', message: expect.stringContaining('The buyer cancelled the call before its seller began.') });
  studio.behave(later);
  const next = (await buyLong(platform(), session)).body.callId as string;
  await longCallIs(platform(), session.buyer, next, 'begun');
  expect((await stepOf(platform(), session.buyer, next, 'cancel')).body).toMatchObject({
    code: 'invalid_state', funds_status: 'held_pending',
    message: expect.stringMatching(/^The seller has begun: .* not possible to cancel it\.$/) });
  await stepOf(platform(), owner, next, 'complete', { result: {} });
}, 30_000);

test('a seller that falls silent loses the call at its own time, and the key of the buyer is free again', async () => {
  const { owner, session } = await scene(later, { maxDurationSecs: 2 });
  const { callId } = (await buyLong(platform(), session, { key: 'silent' })).body;
  const repeated = await buyLong(platform(), session, { key: 'silent' });
  expect([repeated.status, repeated.body.callId, repeated.headers.get('idempotent-replayed')]).toEqual([202, callId, 'true']);
  const { call, events } = await longCallIs(platform(), session.buyer, callId, 'released');
  expect(call).toMatchObject({ error: 'Studio began and did not deliver in its time.', attempts: [{ outcome: 'timeout' }] });
  expect(events.at(-1)).toMatchObject({ step: 'overdue', by: 'clock' });
  expect((await stepOf(platform(), owner, callId, 'complete', { result: {} })).body)
    .toMatchObject({ code: 'invalid_state', funds_status: 'returned', message: expect.stringContaining('did not deliver in its time') });
  expect((await buyLong(platform(), session, { key: 'silent' })).body.callId).not.toBe(callId);
});
