/** What the log of a session says of sellers that failed, and of calls that found none. */
import type { OpenSession } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as the body of every reply
async function logsOf({ token, buyer }: OpenSession): Promise<Record<string, any>[]> {
  return (await platform().ask('GET', `/v1/gateway/sessions/${token}/logs`, { key: buyer.key })).body.logs;
}

/** Puts the window in which calls are counted a minute back. */
const aMinuteLater = ({ token }: OpenSession) => platform().db.pool.query(
  `UPDATE meter SET window_started_at = window_started_at - interval '61 seconds' WHERE id = $1`, [token]);

test('the log of a call lists every seller that failed before the one that delivered, with price, outcome and time', async () => {
  const [cut, broken, good] =
    [await seller('Cut'), await seller('Broken', { kind: 'status', status: 503 }), await seller('Good')];
  // Closed in the very moment it is asked: a seller that works once for one key is asked a second time.
  cut.behaveOnce({ kind: 'reset' }, { kind: 'status', status: 500 });
  const owners = [await platform().offers(cut, { price: '0.10' }), await platform().offers(broken, { price: '0.20' }),
    await platform().offers(good, { price: '0.30' })];
  const session = await platform().aSession();
  expect((await platform().buy(session)).body).toMatchObject({ serviceName: 'Good', retries: 2 });
  const [line] = await logsOf(session);
  expect(line).toMatchObject({ status: 'success', amount: '0.300000', agentCalled: owners[2]?.address });
  const told = { serviceId: expect.any(String), latencyMs: expect.any(Number), startedAt: expect.any(String) };
  expect(line?.['attempts']).toEqual([
    { ...told, seller: owners[0]?.address, price: '0.100000', outcome: 'reset', httpStatus: null, message: expect.any(String) },
    { ...told, seller: owners[0]?.address, price: '0.100000', outcome: 'error_answer', httpStatus: 500, message: 'answered with HTTP 500' },
    { ...told, seller: owners[1]?.address, price: '0.200000', outcome: 'error_answer', httpStatus: 503, message: 'answered with HTTP 503' },
    { ...told, seller: owners[2]?.address, price: '0.300000', outcome: 'delivered', httpStatus: 200, message: null },
  ]);
});

test('the log of a call that nobody delivered lists all who tried', async () => {
  for (const name of ['One', 'Two']) await platform().offers(await seller(name, { kind: 'status', status: 500 }));
  const session = await platform().aSession();
  expect((await platform().buy(session)).body.code).toBe('proxy_failed');
  const [line] = await logsOf(session);
  expect([line?.['status'], line?.['attempts'].map(({ outcome, price }: { outcome: string; price: string }) => [outcome, price])])
    .toEqual(['forward_failed', [['error_answer', '0.100000'], ['error_answer', '0.100000']]]);
});

test('calls that find no seller count for the pace of the session, and the log has one line for all of a minute', async () => {
  await platform().offers(await seller(), { price: '0.01' });
  const session = await platform().aSession({ maxRequestsPerMinute: 4 });
  const types = ['a', 'b', 'c', 'd', 'e', 'f'];
  const replies = [];
  for (const serviceType of types) replies.push(await platform().buy(session, { serviceType: `nobody-${serviceType}` }));
  expect(replies.map(({ status, body }) => [status, body.code]))
    .toEqual([...Array(4).fill([404, 'no_service']), ...Array(2).fill([429, 'rate_limited'])]);
  expect(Number(replies[5]?.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await platform().buy(session)).body.code).toBe('rate_limited');
  expect((await logsOf(session)).reduce((sum, line) => sum + Number(line['times'] ?? 1), 0)).toBe(4);
  // Two where a minute has begun between them.
  expect((await logsOf(session)).length).toBeLessThanOrEqual(2);
  await aMinuteLater(session);
  expect((await platform().buy(session)).status).toBe(200);
});

test('many calls that find no seller at once are counted each, and a session that is closed is not asked further', async () => {
  const session = await platform().aSession({ maxRequestsPerMinute: 10 });
  const replies = await Promise.all(Array.from({ length: 25 }, () => platform().buy(session)));
  expect(replies.filter(({ body }) => body.code === 'no_service')).toHaveLength(10);
  expect(replies.filter(({ body }) => body.code === 'rate_limited')).toHaveLength(15);
  await platform().closeSession(session);
  expect(await platform().buy(session)).toMatchObject({ status: 401, body: { code: 'session_closed' } });
});

test('a single call that finds no seller leaves no row', async () => {
  const buyer = await platform().aTrader('1.00');
  expect((await platform().buyOnce(buyer, { serviceType: 'nobody', maxPrice: '0.10' })).body.code).toBe('no_service');
  const { rows } = await platform().db.pool.query('SELECT 1 FROM gateway_call WHERE buyer = $1', [buyer.address]);
  expect(rows).toHaveLength(0);
});
