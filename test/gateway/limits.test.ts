/** Budget, rate, time, and the end of a session: what holds when many things happen at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { letExpire } from '../support/builders-gateway.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

const expire = (token: string, agoSecs: number): Promise<void> => letExpire(platform().db.pool, token, agoSecs);

test('fifty calls at once on a budget for ten: exactly ten are paid, forty are refused, nothing is left over', async () => {
  const good = await seller('Good', { kind: 'slow', ms: 20 });
  const offer = await platform().offers(good, { price: '0.10' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const replies = await Promise.all(Array.from({ length: 50 }, (_, n) => platform().buy(session, { params: { n } })));
  const refused = replies.filter(({ status }) => status === 402);
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(10);
  expect(refused).toHaveLength(40);
  expect(refused[0]?.body)
    .toMatchObject({ error: 'budget_exceeded', funds_status: 'no_change', price: '0.100000', currency: 'USDC', remaining: '0.000000' });
  expect(good.requests).toHaveLength(10);
  expect((await platform().moneyOf(offer)).available).toBe(usdc('1.00'));
  expect((await platform().closeSession(session)).body)
    .toMatchObject({ totalSpent: '1.000000', totalRefunded: '0.000000', requestCount: 10 });
});

test('more calls a minute than the session allows are answered 429 with Retry-After, and cost nothing', async () => {
  await platform().offers(await seller(), { price: '0.01' });
  const session = await platform().aSession({ maxRequestsPerMinute: 3 });
  const replies = [];
  for (let n = 0; n < 5; n += 1) replies.push(await platform().buy(session));
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
  expect(replies[4]?.body).toMatchObject({ error: 'rate_limited', funds_status: 'no_change' });
  expect(Number(replies[4]?.headers.get('retry-after'))).toBeGreaterThan(0);
  await platform().db.pool.query(`UPDATE meter SET window_started_at = now() - interval '61 seconds' WHERE id = $1`,
    [session.token]);
  expect((await platform().buy(session)).status).toBe(200);
});

test('a session may name many types of service, as long as its terms stay short; otherwise nothing is held', async () => {
  const types = (count: number) => Array.from({ length: count }, (_, n) => `${'x'.repeat(97)}${String(n).padStart(3, '0')}`);
  const buyer = await platform().aTrader('1.00');
  const open = (count: number) => platform().ask('POST', '/v1/gateway/sessions',
    { key: buyer.key, body: { maxTotal: '1.00', allowedTypes: types(count) } });
  const refused = await open(100);
  expect([refused.status, refused.body.message]).toEqual([400, 'allowedTypes: must be at most 3000 characters together']);
  expect((await platform().moneyOf(buyer)).pending).toBe(0n);
  expect((await open(29)).status).toBe(201);
});

test('a session past its time buys nothing more, and the sweeper returns its budget when its workflow does not', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  await platform().buy(session);
  await expire(session.token, 1);
  const { status, body } = await platform().buy(session);
  expect([status, body.error, body.funds_status]).toEqual([401, 'session_expired', 'no_change']);
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: 0n, pending: usdc('0.90') });
  await expire(session.token, 11);
  await eventually(async () => expect((await platform().sessionNow(session))['status']).toBe('expired'));
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.90'), pending: 0n });
  await platform().booksAreRight({ overdueMs: 60_000 });
});

test('a call under way when its session is closed is still paid, and the rest goes back at once', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 800 });
  const offer = await platform().offers(slow, { price: '0.30' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const underWay = platform().buy(session);
  await eventually(async () => expect(slow.requests).toHaveLength(1));
  const closed = await platform().closeSession(session);
  expect(closed.body).toMatchObject({ totalSpent: '0.000000', totalRefunded: '0.700000', stillReserved: '0.300000',
    session: { status: 'closed' } });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.70'), pending: usdc('0.30') });
  expect((await underWay).status).toBe(200);
  await eventually(async () => expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.70'), pending: 0n }));
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.30'));
  expect((await platform().closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.300000', totalRefunded: '0.700000', stillReserved: '0.000000', requestCount: 1 });
});

test('a call under way that fails after its session was closed is given back to the buyer', async () => {
  const doomed = await seller('Doomed', { kind: 'slow', ms: 600 });
  await platform().offers(doomed, { price: '0.30' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const underWay = platform().buy(session);
  await eventually(async () => expect(doomed.requests).toHaveLength(1));
  await platform().closeSession(session);
  await doomed.close();
  expect((await underWay).body.error).toBe('proxy_failed');
  await eventually(async () => expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('1.00'), pending: 0n }));
  expect((await platform().closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.000000', totalRefunded: '1.000000', stillReserved: '0.000000' });
});

test('a failover to a cheaper seller after the session was closed returns the difference', async () => {
  const [liked, cheap] = await Promise.all([seller('Liked', { kind: 'slow', ms: 600 }), seller('Cheap')]);
  const { address } = await platform().offers(liked, { price: '0.50', idempotent: false });
  const offer = await platform().offers(cheap, { price: '0.20' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const underWay = platform().buy(session, { preferAgent: address });
  await eventually(async () => expect(liked.requests).toHaveLength(1));
  await platform().closeSession(session);
  await liked.close();
  expect((await underWay).body).toMatchObject({ serviceName: 'Cheap', amountPaid: '0.200000' });
  await eventually(async () => expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.80'), pending: 0n }));
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.20'));
});

test('calls, closes and twins in one great mixture leave every session ended and every coin accounted for', async () => {
  const [good, moody] = await Promise.all([seller('Good', { kind: 'slow', ms: 15 }), seller('Moody')]);
  moody.behaveOnce(...Array.from({ length: 60 },
    (_, n) => (n % 3 === 0 ? ({ kind: 'status', status: 500 } as const) : ({ kind: 'ok' } as const))));
  await platform().offers(good, { price: '0.11' });
  await platform().offers(moody, { price: '0.07' });
  const sessions = await Promise.all(Array.from({ length: 12 }, () => platform().aSession({ maxTotal: '0.50' })));
  await Promise.all(sessions.flatMap((session, s) => [
    ...Array.from({ length: 8 }, (_, n) => platform().buy(session, { key: `mix-${s}-${n % 5}`, params: { n: n % 5 } })),
    sleep(s * 8).then(() => platform().closeSession(session)),
  ]));
  for (const session of sessions) {
    const { body } = await platform().closeSession(session);
    expect(usdc(body.totalSpent) + usdc(body.totalRefunded)).toBe(usdc('0.50'));
    expect(body.stillReserved).toBe('0.000000');
    expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc(body.totalRefunded), pending: 0n });
  }
});
