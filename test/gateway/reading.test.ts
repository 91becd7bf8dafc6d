/** Logs, lists, dry runs, and who may see or use what. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sessionBounds, type SessionTerms } from '../../domain/gateway.ts';
import { parseAmount } from '../../domain/money.ts';
import { usdc, type OpenSession } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { anOpenSession, endSession, letExpire } from '../support/builders-gateway.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

async function dryRun(session: OpenSession, body: Record<string, unknown> = { serviceType: 'translation' }) {
  return (await platform().ask('POST', `/v1/gateway/sessions/${session.token}/dry-run`, { key: session.buyer.key, body })).body.result;
}

test('a dry run says what a call would cost, asks nobody and moves nothing', async () => {
  const good = await seller();
  await platform().offers(good, { name: 'Polyglot', price: '0.30' });
  const session = await platform().aSession({ maxTotal: '1.00' });
  expect(await dryRun(session)).toEqual({
    allowed: true, budgetOk: true, remaining: '1.000000', serviceFound: true, bestPrice: '0.300000', bestService: 'Polyglot',
    estimatedCallsRemaining: 3,
  });
  expect(good.requests).toHaveLength(0);
  expect((await platform().sessionNow(session)).requestCount).toBe(0);
});

test('a session that was closed without its workflow, by another process or by hand, is closed for its workflow too', async () => {
  const session = await platform().aSession({ maxTotal: '1.00' });
  await endSession(platform().db.pool, session.token);
  const handle = platform().temporal.client.workflow.getHandle(`gateway-session-${session.token}`);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('COMPLETED'), { withinMs: 20_000 });
  expect(await handle.result()).toMatchObject({ id: session.token, state: 'closed', returned: '1.000000' });
}, 30_000);

test('a session whose start was lost has a workflow again that ends with it', async () => {
  const { pool } = platform().db;
  const lost = await anOpenSession(pool, { maxTotal: '1.00' });
  const handle = platform().temporal.client.workflow.getHandle(`gateway-session-${lost.id}`);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'), { withinMs: 20_000 });
  await endSession(pool, lost.id);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('COMPLETED'), { withinMs: 20_000 });
}, 60_000);

test('a dry run gives the reason in the words clients know: no service, budget, closed, expired', async () => {
  await platform().offers(await seller(), { price: '0.30' });
  const session = await platform().aSession({ maxTotal: '0.50' });
  expect(await dryRun(session, { serviceType: 'painting' }))
    .toMatchObject({ allowed: false, serviceFound: false, denyReason: 'no service available' });
  expect(await dryRun(session, { serviceType: 'translation', maxPrice: '0.10' }))
    .toMatchObject({ allowed: false, denyReason: 'no service available' });
  await platform().buy(session);
  expect(await dryRun(session))
    .toMatchObject({ allowed: false, budgetOk: false, serviceFound: true, denyReason: 'budget insufficient for cheapest service',
    estimatedCallsRemaining: 0 });
  const late = await platform().aSession();
  await letExpire(platform().db.pool, late.token);
  expect(await dryRun(late)).toMatchObject({ allowed: false, denyReason: 'session has expired' });
  await platform().closeSession(session);
  expect(await dryRun(session)).toMatchObject({ allowed: false, denyReason: 'session is not active' });
});

test('the log is paged newest first, without gaps and without repeats', async () => {
  await platform().offers(await seller(), { price: '0.01' });
  const session = await platform().aSession();
  const bought: string[] = [];
  for (let n = 0; n < 7; n += 1) bought.push((await platform().buy(session)).body.callId);
  const seen: string[] = [];
  let cursor = '';
  for (let pages = 1; ; pages += 1) {
    const { status, body } = await platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs?limit=3${cursor}`,
      { key: session.buyer.key });
    expect([status, body.count]).toEqual([200, body.logs.length]);
    seen.push(...body.logs.map((line: { id: string }) => line.id));
    expect(body.has_more).toBe(pages < 3);
    if (!body.has_more) break;
    cursor = `&cursor=${encodeURIComponent(body.next_cursor)}`;
  }
  expect(seen).toEqual(bought.toReversed());
});

test('sessions are listed newest first, each agent its own, and never null', async () => {
  const buyer = await platform().aTrader('5.00');
  expect((await platform().ask('GET', '/v1/gateway/sessions', { key: buyer.key })).body)
    .toEqual({ sessions: [], count: 0, has_more: false });
  const tokens: string[] = [];
  for (let n = 0; n < 3; n += 1) tokens.unshift((await platform().aSession({}, buyer)).token);
  await platform().aSession();
  const first = (await platform().ask('GET', '/v1/gateway/sessions?limit=2', { key: buyer.key })).body;
  const rest = (await platform().ask('GET', `/v1/gateway/sessions?limit=2&cursor=${encodeURIComponent(first.next_cursor)}`,
    { key: buyer.key })).body;
  expect([...first.sessions, ...rest.sessions].map((session: { id: string }) => session.id)).toEqual(tokens);
});

test.each(['garbage', 'gw_000000000000000000000000', ''])('the cursor %p is refused, not an inner error', async (cursor) => {
  const session = await platform().aSession();
  const { status, body } = await platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs?cursor=${cursor}`,
    { key: session.buyer.key });
  expect([status, body.error]).toEqual([400, 'invalid_cursor']);
});

test('somebody else may neither read nor use nor close a session, nor see its calls', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const session = await platform().aSession();
  const { body: { callId } } = await platform().buy(session);
  const stranger = await platform().aTrader('1.00');
  const asStranger = { token: session.token, buyer: stranger };
  const replies = await Promise.all([
    platform().buy(asStranger), platform().closeSession(asStranger),
    platform().ask('GET', `/v1/gateway/sessions/${session.token}`, { key: stranger.key }),
    platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs`, { key: stranger.key }),
    platform().ask('GET', `/v1/gateway/calls/${callId}`, { key: stranger.key }),
    platform().ask('POST', `/v1/gateway/sessions/${session.token}/dry-run`, { key: stranger.key, body: { serviceType: 'translation' } }),
  ]);
  expect(replies.map(({ status, body }) => [status, body.error])).toEqual(Array(6).fill([403, 'forbidden']));
  expect(await platform().sessionNow(session)).toMatchObject({ status: 'active', totalSpent: '0.100000' });
});

test('the seller of a call may see that call, but not what was answered', async () => {
  const offer = await platform().offers(await seller());
  const session = await platform().aSession();
  const { body: { callId } } = await platform().buy(session);
  const read = async (key: string) => (await platform().ask('GET', `/v1/gateway/calls/${callId}`, { key })).body.call;
  expect((await read(session.buyer.key)).response).toEqual({ output: { text: 'hello' }, seller: 'Good' });
  expect((await read(offer.key)).response).toBeNull();
});

test.each([
  ['none at all', undefined, 401, 'unauthorized'], ['no session id', 'sk_123', 401, 'unauthorized'],
  ['unknown', 'gw_000000000000000000000000', 401, 'unauthorized'],
])('a token that is %s is a wrong credential', async (_what, token, status, code) => {
  const buyer = await platform().aTrader('1.00');
  const reply = await platform()
    .ask('POST', '/v1/gateway/proxy',
    { key: buyer.key, headers: token === undefined ? {} : { 'x-gateway-token': token }, body: { serviceType: 'translation' } });
  expect([reply.status, reply.body.error, reply.body.funds_status]).toEqual([status, code, 'no_change']);
});

test('a token without an API key is worth nothing', async () => {
  const session = await platform().aSession();
  const reply = await platform()
    .ask('POST', '/v1/gateway/proxy', { headers: { 'x-gateway-token': session.token }, body: { serviceType: 'translation' } });
  expect([reply.status, reply.body.error]).toEqual([401, 'unauthorized']);
});

test('a closed and an expired session are 401 on the token route, each with its own code', async () => {
  await platform().offers(await seller());
  const [closed, expired] = [await platform().aSession(), await platform().aSession()];
  await platform().closeSession(closed);
  await letExpire(platform().db.pool, expired.token);
  const replies = [await platform().buy(closed), await platform().buy(expired)];
  expect(replies.map(({ status, body }) => [status, body.error])).toEqual([[401, 'session_closed'], [401, 'session_expired']]);
});

test('the workflow of a session ends it when its time is up and returns the budget', async () => {
  const buyer = await platform().aTrader('1.00');
  const terms: SessionTerms = {
    maxTotalMicros: parseAmount('1.00'), maxPerRequestMicros: parseAmount('1.00'), strategy: 'cheapest', allowedTypes: [], warnAtPercent: 0,
    maxRequestsPerMinute: sessionBounds.requestsPerMinuteDefault, lifeMs: 1_000,
  };
  const { session } = await platform().runtime.ports.gateway.openSession(buyer.address, null, terms, null);
  await sleep(1_000);
  // Within the grace in which the sweeper leaves it to the workflow.
  await eventually(async () => expect(await platform().sessionNow({ token: session.id, buyer })).toMatchObject({ status: 'expired' }),
    { withinMs: 8_000 });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('1.00'), pending: 0n });
  expect(await platform().temporal.client.workflow.getHandle(session.workflowId).result())
    .toMatchObject({ id: session.id, state: 'expired', resolution: 'expired', role: 'clock', returned: '1.000000' });
});

test('a signal from the Temporal CLI closes a session like its owner would', async () => {
  const session = await platform().aSession({ maxTotal: '1.00' });
  const handle = platform().temporal.client.workflow.getHandle(`gateway-session-${session.token}`);
  await handle.signal('surety-close');
  expect(await handle.result()).toMatchObject({ id: session.token, state: 'closed', role: 'platform', returned: '1.000000' });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('1.00'), pending: 0n });
});
