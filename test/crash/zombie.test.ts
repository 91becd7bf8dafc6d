/** A process that was only asleep wakes up and finds its calls ended by another one: nothing is settled, released or paid again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createNodes, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Seller } from '../support/sellers.ts';
import { usdc } from '../support/market.ts';

let nodes: Nodes;
let sleeper: PlatformNode;
let other: PlatformNode;
const sellers: Seller[] = [];

beforeAll(async () => {
  nodes = await createNodes({ WORKER_QUEUES: 'gateway' });
  [sleeper, other] = await Promise.all([nodes.start(), nodes.start()]);
}, 90_000);

afterAll(async () => {
  await Promise.all(sellers.map((seller) => seller.close()));
  await nodes.close();
}, 30_000);

async function aSlowSeller(name: string): Promise<Seller> {
  const seller = await startSeller(name, { kind: 'slow', ms: 800 });
  sellers.push(seller);
  return seller;
}

test('a process that sleeps for ten seconds in the middle of its calls changes nothing when it wakes', async () => {
  const [safe, risky] = [await aSlowSeller('Safe'), await aSlowSeller('Risky')];
  const safeOwner = await sleeper.offers(safe, { serviceType: 'safe', price: '0.10' });
  const riskyOwner = await sleeper.offers(risky, { serviceType: 'risky', price: '0.10', idempotent: false });
  const session = await sleeper.aSession({ maxTotal: '1.00' });
  const [safeReply, riskyReply] = [sleeper.buy(session, { serviceType: 'safe', key: 'safe' }),
    sleeper.buy(session, { serviceType: 'risky', key: 'risky' })];
  await eventually(async () => expect([safe.requests.length, risky.requests.length]).toEqual([1, 1]), { everyMs: 10 });

  sleeper.send('SIGSTOP');
  const stoppedAt = Date.now();
  const open = async (): Promise<number> => (await nodes.pool.query(`SELECT 1 FROM gateway_call WHERE state = 'accepted'`)).rowCount ?? 0;
  expect(await open()).toBe(2);
  await eventually(async () => expect(await open()).toBe(0), { withinMs: 9_000 });
  const before = await nodes.pool.query('SELECT id, state, driver, drives, price, error_code FROM gateway_call ORDER BY id');
  await sleep(Math.max(0, stoppedAt + 10_000 - Date.now()));
  sleeper.send('SIGCONT');

  // The sleeper's own clients are answered with what really happened.
  expect(await safeReply).toMatchObject({ status: 200, body: { serviceName: 'Safe', response: { output: { text: 'hello' } } } });
  expect(await riskyReply).toMatchObject({ status: 502, body: { error: 'execution_unknown', funds_status: 'no_change' } });
  await sleep(500);
  expect((await nodes.pool.query('SELECT id, state, driver, drives, price, error_code FROM gateway_call ORDER BY id')).rows)
    .toEqual(before.rows);
  expect(before.rows.map(({ state }) => state).sort()).toEqual(['released', 'settled']);
  // Asked again with the same key by whoever took over; the one that makes no such promise was left alone.
  expect([safe.requests.length, risky.requests.length]).toEqual([2, 1]);
  expect(new Set(safe.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  expect([(await other.moneyOf(safeOwner)).available, (await other.moneyOf(riskyOwner)).available]).toEqual([usdc('0.10'), 0n]);
  expect((await other.closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.100000', totalRefunded: '0.900000', stillReserved: '0.000000' });
  await other.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('a process that fails over late, after another one has ended its call, asks no further seller', async () => {
  const [slow, next] = [await aSlowSeller('Slow'), await aSlowSeller('Next')];
  await sleeper.offers(slow, { serviceType: 'late', price: '0.10' });
  await sleeper.offers(next, { serviceType: 'late', price: '0.20' });
  const session = await sleeper.aSession({ maxTotal: '1.00' });
  const reply = sleeper.buy(session, { serviceType: 'late' });
  await eventually(async () => expect(slow.requests).toHaveLength(1), { everyMs: 10 });
  sleeper.send('SIGSTOP');
  // The sleeper will find its connection broken when it wakes; the other one gets an answer.
  slow.behave({ kind: 'ok' });
  await eventually(async () => expect((await other.sessionNow(session)).requestCount).toBe(1), { withinMs: 30_000 });
  await slow.close();
  sleeper.send('SIGCONT');
  expect(await reply).toMatchObject({ status: 200, body: { serviceName: 'Slow' } });
  expect(next.requests).toHaveLength(0);
  expect((await other.closeSession(session)).body).toMatchObject({ totalSpent: '0.100000', totalRefunded: '0.900000' });
  await other.booksAreRight({ overdueMs: 60_000 });
}, 60_000);

test('a process that is told to stop hands over what its seller has not answered, and leaves nothing open', async () => {
  const slow = await startSeller('Endless', { kind: 'hang' });
  sellers.push(slow);
  const owner = await sleeper.offers(slow, { serviceType: 'endless', price: '0.10' });
  const session = await sleeper.aSession({ maxTotal: '1.00' });
  const reply = sleeper.buy(session, { serviceType: 'endless', key: 'endless' }).then(({ status }) => status, () => 'gone');
  await eventually(async () => expect(slow.requests).toHaveLength(1), { everyMs: 10 });
  sleeper.send('SIGTERM');
  slow.behave({ kind: 'ok' });
  // The drain waits for one second only in these tests.
  expect(await sleeper.ended).toBe(0);
  expect([503, 'gone', 504]).toContain(await reply);
  await eventually(async () => expect((await other.sessionNow(session)).requestCount).toBe(1), { withinMs: 30_000 });
  expect((await other.moneyOf(owner)).available).toBe(usdc('0.10'));
  expect((await other.buy(session, { serviceType: 'endless', key: 'endless' })).status).toBe(200);
  expect((await other.closeSession(session)).body).toMatchObject({ totalSpent: '0.100000', totalRefunded: '0.900000' });
  await other.booksAreRight({ overdueMs: 60_000 });
}, 60_000);
