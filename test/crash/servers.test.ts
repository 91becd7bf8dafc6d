/** The servers themselves die under load: Postgres with kill -9, Temporal with its file. Afterwards nothing is lost, doubled or stuck. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../temporal/connection.ts';
import type { Reply } from '../support/app.ts';
import { usdc, type OpenSession, type Purchase } from '../support/market.ts';
import type { PlatformNode } from '../support/nodes.ts';
import { startOwnServers, type OwnServers } from '../support/own-servers.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';
import { letExpire } from '../support/builders-gateway.ts';

let servers: OwnServers;
let node: PlatformNode;
const sellers: Seller[] = [];

beforeAll(async () => {
  servers = await startOwnServers({ SELLER_TIMEOUT: '15s', REQUEST_TIMEOUT: '25s', WORKER_QUEUES: 'gateway' });
  node = servers.node;
}, 120_000);
afterAll(async () => {
  await Promise.all(sellers.map((seller) => seller.close()));
  await servers.close();
}, 60_000);

// A test leaves the platform as its last kill has left it; the next one begins when it is well again.
beforeEach(() => eventually(async () => {
  await servers.pool.query('SELECT 1');
  const { status, text } = await node.ask('GET', '/health/ready');
  if (status !== 200) throw new Error(text);
}, { withinMs: 30_000 }), 40_000);

async function aSeller(behaviour: Behaviour): Promise<Seller> {
  const seller = await startSeller('Good', behaviour);
  sellers.push(seller);
  return seller;
}

/** Asks until there is a final answer, as a patient client does. */
async function insist(session: OpenSession, purchase: Purchase): Promise<Reply> {
  return eventually(async () => {
    const reply = await node.buy(session, purchase);
    if ([409, 429, 503, 504].includes(reply.status)) throw new Error(reply.text);
    return reply;
  }, { withinMs: 40_000, everyMs: 100 });
}

const databaseIsBack = (): Promise<unknown> => eventually(() => servers.pool.query('SELECT 1'), { withinMs: 30_000 });

test('Postgres killed twice under load: every client that insists is served once and charged once', async () => {
  const good = await aSeller({ kind: 'slow', ms: 30 });
  const owner = await node.offers(good, { serviceType: 'loaded', price: '0.01' });
  const sessions = await Promise.all([1, 2, 3, 4].map(() => node.aSession({ maxTotal: '5.00', maxRequestsPerMinute: 1_000 })));
  const clients = sessions.flatMap((session, s) => [0, 1, 2, 3].map(async (c) => {
    const got: Reply[] = [];
    for (let n = 0; n < 15; n += 1) {
      got.push(await insist(session, { serviceType: 'loaded', key: `load-${s}-${c}-${n}`, params: { n } }));
      await sleep(40);
    }
    return got;
  }));
  await sleep(300);
  await servers.killPostgres();
  await sleep(1_500);
  await databaseIsBack();
  await servers.killPostgres();
  const replies = (await Promise.all(clients)).flat();
  expect(replies.map(({ status, text }) => (status === 200 ? 200 : text))).toEqual(Array(240).fill(200));
  expect(new Set(replies.map(({ body }) => body.callId)).size).toBe(240);
  // A call that was accepted while its answer was lost is given back; it may cost a moment, never money.
  await eventually(async () => expect((await servers.pool.query(`SELECT id FROM gateway_call WHERE state = 'accepted'`)).rows).toEqual([]),
    { withinMs: 20_000 });
  expect((await node.moneyOf(owner)).available).toBe(usdc('2.40'));
  for (const session of sessions) expect((await node.closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.600000', totalRefunded: '4.400000', stillReserved: '0.000000' });
  await node.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

test('a seller that answers while Postgres is dead is paid when it is back, in the same request', async () => {
  const slow = await aSeller({ kind: 'slow', ms: 600 });
  const owner = await node.offers(slow, { serviceType: 'unlucky', price: '0.10', idempotent: false });
  const session = await node.aSession();
  const reply = node.buy(session, { serviceType: 'unlucky' });
  await eventually(async () => expect(slow.requests).toHaveLength(1), { everyMs: 10 });
  await servers.killPostgres();
  expect(await reply).toMatchObject({ status: 200, body: { amountPaid: '0.100000', requestCount: 1 } });
  expect(slow.requests).toHaveLength(1);
  expect((await node.moneyOf(owner)).available).toBe(usdc('0.10'));
  await node.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('a seller that is at work while Postgres is away for longer than anybody asks it is paid: its driver lives', async () => {
  const slow = await aSeller({ kind: 'slow', ms: 9_000 });
  const owner = await node.offers(slow, { serviceType: 'long-away', price: '0.10', idempotent: false });
  const session = await node.aSession();
  const begun = Date.now();
  const reply = node.buy(session, { serviceType: 'long-away' });
  await eventually(async () => expect(slow.requests).toHaveLength(1), { everyMs: 10 });
  // Its workflow asks after two seconds, in vain, and again, and goes on to whoever is patient.
  while (Date.now() - begun < 6_000) await servers.killPostgres();
  expect(await reply).toMatchObject({ status: 200, body: { amountPaid: '0.100000', requestCount: 1 } });
  expect([slow.requests.length, (await node.moneyOf(owner)).available]).toEqual([1, usdc('0.10')]);
  await node.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('connections that Postgres ends while it goes on living cost no call', async () => {
  const slow = await aSeller({ kind: 'slow', ms: 300 });
  const owner = await node.offers(slow, { serviceType: 'cut-off', price: '0.10', idempotent: false });
  const session = await node.aSession();
  const reply = node.buy(session, { serviceType: 'cut-off' });
  await eventually(async () => expect(slow.requests).toHaveLength(1), { everyMs: 10 });
  await servers.pool.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()');
  expect(await reply).toMatchObject({ status: 200, body: { amountPaid: '0.100000' } });
  expect((await node.moneyOf(owner)).available).toBe(usdc('0.10'));
  await node.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('while Postgres is away a request is told so, with where the money is', async () => {
  const good = await aSeller({ kind: 'ok' });
  await node.offers(good, { serviceType: 'away', price: '0.10' });
  const session = await node.aSession();
  await servers.killPostgres();
  const reply = await node.buy(session, { serviceType: 'away', key: 'away' });
  // Held: the connection broke while the call was being written, and nobody knows yet whether it was. Never that it was paid.
  if (reply.status !== 200) expect(reply)
    .toMatchObject({ status: 503,
    body: { error: 'unavailable', funds_status: expect.stringMatching(/^(no_change|held_pending|unknown)$/),
    recovery: expect.any(String) } });
  expect((await insist(session, { serviceType: 'away', key: 'away' })).status).toBe(200);
  expect((await node.sessionNow(session))['totalSpent']).toBe('0.100000');
  await eventually(() => node.booksAreRight({ overdueMs: 60_000 }), { withinMs: 20_000 });
}, 60_000);

test('Temporal killed and its file deleted: calls under way are paid, lost sessions can be closed or expire, new ones work', async () => {
  const [slow, crawling] = [await aSeller({ kind: 'slow', ms: 1_500 }), await aSeller({ kind: 'slow', ms: 5_000 })];
  const owners = [await node.offers(slow, { serviceType: 'forgotten', price: '0.10' }),
    await node.offers(crawling, { serviceType: 'crawling', price: '0.10', idempotent: false })];
  const [closing, expiring, duringOutage] = await Promise.all([1, 2, 3].map(() => node.aSession({ maxTotal: '1.00' })));
  if (closing === undefined || expiring === undefined || duringOutage === undefined) throw new Error('Three sessions were opened.');
  const underWay = Promise.all([node.buy(closing, { serviceType: 'forgotten' }), node.buy(closing, { serviceType: 'crawling' })]);
  await eventually(async () => expect([slow.requests.length, crawling.requests.length]).toEqual([1, 1]), { everyMs: 10 });
  await servers.killTemporal({ andForget: true });

  // At once, while nothing answers: money does not wait for Temporal.
  const closedAt = Date.now();
  expect((await node.closeSession(duringOutage)).body).toMatchObject({ totalRefunded: '1.000000', session: { status: 'closed' } });
  expect(Date.now() - closedAt).toBeLessThan(10_000);
  expect((await underWay).map(({ status }) => status)).toEqual([200, 200]);
  expect((await node.buy(closing, { serviceType: 'forgotten' })).status).toBe(200);

  // Back, and it knows nothing: its namespace is empty.
  const temporal = await eventually(() => connectClient({ address: servers.temporalAddress, namespace: 'default' }), { withinMs: 30_000 });
  try {
    await eventually(async () => {
      await expect(temporal.client.workflow.getHandle(`gateway-session-${closing.token}`).describe()).rejects.toThrow(/not found/i);
    }, { withinMs: 20_000 });
    expect((await node.closeSession(closing)).body)
      .toMatchObject({ totalSpent: '0.300000', totalRefunded: '0.700000', session: { status: 'closed' } });
    await letExpire(servers.pool, expiring.token, 11);
    await eventually(async () => expect((await node.sessionNow(expiring))['status']).toBe('expired'), { withinMs: 10_000 });
    expect(await node.moneyOf(expiring.buyer)).toEqual({ available: usdc('1.00'), pending: 0n });

    // The worker has found its way back: a new session is ended by its own workflow.
    const fresh = await node.aSession({ maxTotal: '1.00' });
    await temporal.client.workflow.getHandle(`gateway-session-${fresh.token}`).signal('surety-close');
    await eventually(async () => expect((await node.sessionNow(fresh))['status']).toBe('closed'), { withinMs: 20_000 });
  } finally {
    await temporal.close();
  }
  expect(await Promise.all(owners.map(async (owner) => (await node.moneyOf(owner)).available))).toEqual([usdc('0.20'), usdc('0.10')]);
  await node.booksAreRight({ overdueMs: 60_000 });
}, 90_000);
