/** What a buyer sees when it opens a session and buys, in both spellings of the wire. */
import { createPlatformSuite } from '../support/platform-suite.ts';
import { usdc } from '../support/market.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', PLATFORM_FEE_BPS: '250' });

test('a call is answered nested and flat with the same fields, and the seller has the money', async () => {
  const good = await seller();
  const { address, serviceId } = await platform().offers(good, { name: 'Polyglot', price: '0.25' });
  const session = await platform().aSession({ maxTotal: '1.00', warnAtPercent: 20 });
  const { status, body } = await platform().buy(session, { params: { text: 'hello' } });
  expect(status).toBe(200);
  const { result, ...flat } = body;
  expect(flat).toEqual(result);
  expect(flat).toEqual({
    response: { output: { text: 'hello' }, seller: good.name }, serviceUsed: address, serviceId, serviceName: 'Polyglot',
    amountPaid: '0.250000', latencyMs: expect.any(Number),
    retries: 0, callId: expect.stringMatching(/^call_[0-9a-f]{24}$/), sessionId: session.token,
    workflowId: expect.stringMatching(/^gateway-calls-/),
    totalSpent: '0.250000', remaining: '0.750000', budgetLow: true, requestCount: 1,
  });
  // The platform's fee of this suite is 2.5 %.
  expect(await platform().moneyOf({ address })).toEqual({ available: usdc('0.24375'), pending: 0n });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: 0n, pending: usdc('0.75') });
});

test('the seller is told who pays how much for which call, and that call is its idempotency key', async () => {
  const good = await seller();
  const { address } = await platform().offers(good, { price: '0.10' });
  const session = await platform().aSession();
  const { body } = await platform().buy(session, { params: { text: 'who pays?' } });
  const [request] = good.requestsFor(body.callId);
  expect(request).toMatchObject({
    method: 'POST', path: '/work', body: '{"text":"who pays?"}',
    headers: expect.objectContaining({ 'x-payment-amount': '0.100000', 'x-payment-from': session.buyer.address, 'x-payment-to': address,
      'x-payment-ref': body.callId }),
  });
});

test('a session without maxPerRequest allows its whole budget for one call', async () => {
  await platform().offers(await seller(), { price: '0.90' });
  const session = await platform().aSession({ maxTotal: '0.90' });
  expect((await platform().sessionNow(session))['maxPerRequest']).toBe('0.900000');
  expect((await platform().buy(session)).body.amountPaid).toBe('0.900000');
});

test('a session shows every field that clients of the first system read', async () => {
  const buyer = await platform().aTrader('2.00');
  const { status, body } = await platform().ask('POST', '/v1/gateway/sessions', {
    key: buyer.key, body: { maxTotal: '1.5', maxPerRequest: '0.5', strategy: 'best_value', allowedTypes: ['translation'],
      expiresInSecs: 120, warnAtPercent: 80, maxRequestsPerMinute: 5 },
  });
  expect(status).toBe(201);
  expect(body.token).toBe(body.session.id);
  expect(body.session).toEqual({
    id: expect.stringMatching(/^gw_[0-9a-f]{24}$/), agentAddress: buyer.address, maxTotal: '1.500000', maxPerRequest: '0.500000',
    totalSpent: '0.000000', remaining: '1.500000',
    reserved: '0.000000', requestCount: 0, strategy: 'best_value', allowedTypes: ['translation'], warnAtPercent: 80,
    maxRequestsPerMinute: 5, status: 'active',
    workflowId: `gateway-session-${body.token}`, expiresAt: expect.any(String), createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('0.50'), pending: usdc('1.50') });
});

test('a session whose budget the buyer does not have is refused, and nothing is held', async () => {
  const buyer = await platform().aTrader('0.50');
  const { status, body } = await platform().ask('POST', '/v1/gateway/sessions', { key: buyer.key, body: { maxTotal: '0.500001' } });
  expect([status, body.error, body.price, body.currency, body.funds_status])
    .toEqual([402, 'insufficient_balance', '0.500001', 'USDC', 'no_change']);
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('0.50'), pending: 0n });
});

test('closing gives back what was not spent, and closing again changes nothing', async () => {
  await platform().offers(await seller(), { price: '0.30' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  await platform().buy(session);
  const first = await platform().closeSession(session);
  expect(first.body).toMatchObject({ totalSpent: '0.300000', totalRefunded: '0.700000', stillReserved: '0.000000', requestCount: 1,
    session: { status: 'closed', remaining: '0.000000' } });
  const { updatedAt: _, ...again } = (await platform().closeSession(session)).body.session;
  expect(first.body.session).toMatchObject(again);
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.70'), pending: 0n });
  expect((await platform().buy(session)).body).toMatchObject({ error: 'session_closed', funds_status: 'no_change' });
});

test('a single call holds maxPrice, pays the price and returns the rest at once', async () => {
  const { address } = await platform().offers(await seller(), { price: '0.20' });
  const buyer = await platform().aTrader('1.00');
  const { status, body } = await platform().buyOnce(buyer, { maxPrice: '0.50', params: { text: 'once' } });
  expect(status).toBe(200);
  const { result, ...flat } = body;
  expect(flat).toEqual(result);
  expect(flat).toMatchObject({ response: { output: { text: 'once' } }, serviceUsed: address, amountPaid: '0.200000', retries: 0,
    callId: expect.any(String), sessionId: expect.any(String) });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('0.80'), pending: 0n });
  const { body: list } = await platform().ask('GET', '/v1/gateway/sessions', { key: buyer.key });
  expect(list.sessions).toEqual([]);
});

test('a single call that the buyer cannot cover is refused and leaves no trace', async () => {
  await platform().offers(await seller(), { price: '0.20' });
  const buyer = await platform().aTrader('0.40');
  const { status, body } = await platform().buyOnce(buyer, { maxPrice: '0.50' });
  expect([status, body.error, body.price]).toEqual([402, 'insufficient_balance', '0.500000']);
  const { rows } = await platform().db.pool.query('SELECT 1 FROM meter WHERE owner = $1', [buyer.address]);
  expect(rows).toEqual([]);
});

test('a single call whose sellers all fail costs nothing and holds nothing', async () => {
  await platform().offers(await seller('Broken', { kind: 'status', status: 500 }), { price: '0.20', serviceType: 'only-broken' });
  const buyer = await platform().aTrader('0.50');
  const { status, body } = await platform().buyOnce(buyer, { maxPrice: '0.50', serviceType: 'only-broken' });
  expect([status, body.error]).toEqual([502, 'proxy_failed']);
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('0.50'), pending: 0n });
});

test('a platform fee comes out of the price, and both parts reach their owners', async () => {
  const { address } = await platform().offers(await seller(), { price: '0.100001', serviceType: 'with-fee' });
  const session = await platform().aSession();
  const { body } = await platform().buy(session, { serviceType: 'with-fee' });
  expect(body.amountPaid).toBe('0.100001');
  // 250 bps of 100,001 micros, rounded down.
  expect((await platform().moneyOf({ address })).available).toBe(100_001n - 2_500n);
  const { rows } = await platform().db.pool.query('SELECT fee FROM gateway_call WHERE id = $1', [body.callId]);
  expect(rows).toEqual([{ fee: '2500' }]);
}, 20_000);
