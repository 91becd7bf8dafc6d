/** One key, one payment: twins, replays, other bodies, other sessions. */
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

test('twenty twins sent at once are charged once and all get the same answer', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 300 });
  const offer = await platform().offers(slow, { price: '0.10' });
  const session = await platform().aSession();
  const replies = await Promise.all(Array.from({ length: 20 }, () => platform().buy(session, { key: 'twin-1' })));
  expect(replies.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(new Set(replies.map(({ body }) => body.callId)).size).toBe(1);
  expect(replies.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(19);
  expect(slow.requests).toHaveLength(1);
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.10'));
});

test('twins of a single call are charged once and all get the same answer', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 300 });
  await platform().offers(slow, { price: '0.10' });
  const buyer = await platform().aTrader('5.00');
  const replies = await Promise.all(Array.from({ length: 6 }, () => platform().buyOnce(buyer, { key: 'twin-2', maxPrice: '0.50' })));
  expect(replies.map(({ status }) => status)).toEqual(Array(6).fill(200));
  expect(new Set(replies.map(({ body }) => body.callId)).size).toBe(1);
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('4.90'), pending: 0n });
});

test('a repeated key answers with the first result, also after the session was closed', async () => {
  const good = await seller();
  await platform().offers(good, { price: '0.10' });
  const session = await platform().aSession();
  const first = await platform().buy(session, { key: 'again-1' });
  const second = await platform().buy(session, { key: 'again-1' });
  await platform().closeSession(session);
  const third = await platform().buy(session, { key: 'again-1' });
  for (const reply of [second, third]) {
    expect([reply.status, reply.headers.get('idempotent-replayed'), reply.body.callId]).toEqual([200, 'true', first.body.callId]);
    expect(reply.body.response).toEqual(first.body.response);
  }
  expect(good.requests).toHaveLength(1);
});

test('the key counts the same in the header and in the body', async () => {
  const good = await seller();
  await platform().offers(good);
  const session = await platform().aSession();
  const send = (): Promise<{ body: { callId: string } }> => platform().ask('POST', '/v1/gateway/proxy', {
    key: session.buyer.key, headers: { 'x-gateway-token': session.token }, body: { serviceType: 'translation', idempotencyKey: 'in-body' },
  });
  const [first, second] = [await send(), await send()];
  expect(second.body.callId).toBe(first.body.callId);
  expect(good.requests).toHaveLength(1);
});

test('the same key with another body is refused and charges nothing', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const session = await platform().aSession();
  await platform().buy(session, { key: 'other-1' });
  for (const change of [{ params: { text: 'other' } }, { maxPrice: '0.9' }, { serviceType: 'summary' }]) {
    // The type that nobody offers is refused before the key is looked at.
    const { status, body } = await platform().buy(session, { key: 'other-1', ...change });
    expect([status, body.error]).toEqual('serviceType' in change ? [404, 'no_service'] : [422, 'idempotency_mismatch']);
  }
  expect((await platform().sessionNow(session))['totalSpent']).toBe('0.100000');
});

test('the same key in another session of the buyer is another request, and is refused rather than answered wrongly', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const buyer = await platform().aTrader('2.00');
  const [one, two] = [await platform().aSession({}, buyer), await platform().aSession({}, buyer)];
  await platform().buy(one, { key: 'shared' });
  const { status, body } = await platform().buy(two, { key: 'shared' });
  expect([status, body.error]).toEqual([422, 'idempotency_mismatch']);
  expect((await platform().sessionNow(two))['totalSpent']).toBe('0.000000');
});

test('two buyers may use the same key', async () => {
  await platform().offers(await seller());
  const [one, two] = [await platform().aSession(), await platform().aSession()];
  const replies = [await platform().buy(one, { key: 'mine' }), await platform().buy(two, { key: 'mine' })];
  expect(replies.map(({ status }) => status)).toEqual([200, 200]);
  expect(replies[0]?.body.callId).not.toBe(replies[1]?.body.callId);
});

test('a key whose call failed is free again, because nothing was charged', async () => {
  const moody = await seller('Moody', { kind: 'status', status: 500 });
  await platform().offers(moody);
  const session = await platform().aSession();
  expect((await platform().buy(session, { key: 'retry-me' })).status).toBe(502);
  moody.behave({ kind: 'ok' });
  expect((await platform().buy(session, { key: 'retry-me' })).status).toBe(200);
  expect((await platform().sessionNow(session)).requestCount).toBe(1);
});

test('opening a session twice with one key holds one budget; another body is refused', async () => {
  const buyer = await platform().aTrader('5.00');
  const open = (maxTotal: string) => platform()
    .ask('POST', '/v1/gateway/sessions', { key: buyer.key, headers: { 'idempotency-key': 'open-1' }, body: { maxTotal } });
  const replies = await Promise.all([open('1.00'), open('1.00'), open('1.00')]);
  expect(replies.map(({ status }) => status)).toEqual([201, 201, 201]);
  expect(new Set(replies.map(({ body }) => body.token)).size).toBe(1);
  expect((await open('2.00')).body.error).toBe('idempotency_mismatch');
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('4.00'), pending: usdc('1.00') });
});
