/** Temporal dies while long calls are under way, with and without its memory, and is away when they are bought. */
import { buyLong, longCallIs, longCallNow, stepOf } from '../support/long-calls.ts';
import { startOwnServers, type OwnServers } from '../support/own-servers.ts';
import type { PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Seller } from '../support/sellers.ts';

let servers: OwnServers;
let node: PlatformNode;
const sellers: Seller[] = [];

beforeAll(async () => {
  servers = await startOwnServers({ SELLER_TIMEOUT: '4s', WORKER_QUEUES: 'gateway' });
  node = servers.node;
}, 120_000);
afterAll(async () => {
  await Promise.all(sellers.map((seller) => seller.close()));
  await servers.close();
}, 60_000);

async function aScene(serviceType: string, maxDurationSecs = 600) {
  const studio = await startSeller('Studio', { kind: 'status', status: 202 });
  sellers.push(studio);
  const owner = await node.offers(studio, { serviceType, price: '0.40', maxDurationSecs });
  const session = await node.aSession();
  return { studio, owner, session, buy: async () => (await buyLong(node, session, { serviceType })).body.callId as string };
}

test('a seller works on while Temporal restarts; it is not asked again, and is paid when it completes', async () => {
  const { studio, owner, session, buy } = await aScene('restart');
  const callId = await buy();
  await longCallIs(node, session.buyer, callId, 'begun', 20_000);
  await servers.killTemporal({ andForget: false });
  expect((await stepOf(node, owner, callId, 'complete', { result: {} })).status).toBe(200);
  expect(studio.requests).toHaveLength(1);
  expect((await longCallNow(node, session.buyer, callId)).call.status).toBe('success');
  await node.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('without Temporal a long call is bought and its seller asked all the same', async () => {
  const { studio, owner, session, buy } = await aScene('away');
  // The test before has killed it.
  await eventually(async () => servers.freezeTemporal(), { withinMs: 20_000 });
  try {
    const callId = await buy();
    await longCallIs(node, session.buyer, callId, 'begun', 30_000);
    expect((await stepOf(node, owner, callId, 'complete', { result: {} })).status).toBe(200);
    expect(studio.requests).toHaveLength(1);
  } finally {
    servers.thawTemporal();
  }
  await node.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

test('every process is replaced while a seller works: it is not asked again, and its completion is paid', async () => {
  const { studio, owner, session, buy } = await aScene('replaced');
  const callId = await buy();
  await longCallIs(node, session.buyer, callId, 'begun', 20_000);
  await node.kill();
  node = await servers.startNode();
  expect((await stepOf(node, owner, callId, 'complete', { result: {} })).status).toBe(200);
  expect(studio.requests).toHaveLength(1);
  await eventually(async () => expect((await servers.pool.query('SELECT 1 FROM workflow_notice')).rows).toEqual([]), { withinMs: 30_000 });
  await node.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

test('a call whose workflow Temporal has forgotten is given back at the time of its seller', async () => {
  const { session, buy } = await aScene('forgotten', 8);
  const callId = await buy();
  await longCallIs(node, session.buyer, callId, 'begun', 20_000);
  await servers.killTemporal({ andForget: true });
  const { events } = await longCallIs(node, session.buyer, callId, 'released', 60_000);
  expect(events.at(-1)).toMatchObject({ step: 'overdue', by: 'clock' });
  await node.booksAreRight({ overdueMs: 60_000 });
}, 90_000);
