/** Any payment by its id: who may look, and what its timeline tells. Real calls, real postings. */
import { randomBytes } from 'node:crypto';
import { startApp, type Reply } from '../support/app.ts';
import { anAddress } from '../support/builders.ts';
import { anOpenSession, aCandidate, aDelivery, aNewCall, aStore, endSession } from '../support/builders-gateway.ts';
import type { Trader } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ PLATFORM_FEE_BPS: '1000' });

interface Shown { at: string; kind: string; what: string; data: Record<string, unknown> }

const look = (id: string, trader: Pick<Trader, 'key'>, query = ''): Promise<Reply> => platform()
  .ask('GET', `/v1/payments/${id}${query}`, { key: trader.key });
const asAdmin = (id: string, query = ''): Promise<Reply> => platform()
  .ask('GET', `/v1/payments/${id}${query}`, { adminSecret: 'a-secret-for-tests' });
const timelineOf = (reply: Reply): Shown[] => reply.body.payment.timeline;
const steps = (reply: Reply): string[] => timelineOf(reply)
  .map(({ kind, data }) => `${kind} ${String(data['state'] ?? data['type'] ?? data['outcome'])}`);

/** Every page of a timeline, some entries at a time. */
async function pageThrough(id: string, limit: number): Promise<Shown[]> {
  const seen: Shown[] = [];
  for (let cursor = ''; ;) {
    const reply = await asAdmin(id, `?limit=${limit}${cursor}`);
    expect(reply.status).toBe(200);
    seen.push(...timelineOf(reply));
    if (reply.body.has_more !== true) return seen;
    expect(timelineOf(reply)).toHaveLength(limit);
    cursor = `&cursor=${encodeURIComponent(reply.body.next_cursor)}`;
  }
}

test('a call that needed two sellers tells of its acceptance, both attempts, the payment with its fee, and its end, in that order',
    async () => {
  const [bad, good] = [await seller('Bad', { kind: 'status', status: 500 }), await seller('Good')];
  await platform().offers(bad, { price: '0.10' });
  const owner = await platform().offers(good, { price: '0.20', name: 'Polyglot' });
  const session = await platform().aSession();
  const { body: { callId, workflowId } } = await platform().buy(session);
  const reply = await look(callId, session.buyer);
  expect(reply.body.payment).toMatchObject({
    kind: 'call', id: callId, state: 'settled', ended: true, workflowId, temporalUrl: null,
    amounts: { price: '0.200000', fee: '0.020000', reserved: '0.000000' },
    parties: [{ role: 'buyer', address: session.buyer.address }, { role: 'seller', address: owner.address }],
  });
  expect(steps(reply))
    .toEqual(['state accepted', 'attempt error_answer', 'attempt delivered', 'posting capture', 'posting fee', 'state settled']);
  const times = timelineOf(reply).map(({ at }) => Date.parse(at));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(timelineOf(reply).map(({ what }) => what).join('\n'))
    .toMatch(new RegExp(['2 sellers can be asked', 'HTTP 500', 'Polyglot \\(0x[0-9a-f]{40}\\) was asked and delivered within \\d+ ms',
      '0\\.180000 USDC were paid to the seller', '0\\.020000 USDC of the price went to the platform',
      'settled: 0\\.200000 USDC'].join('[^]*')));
});

test('a call that everybody failed tells why nothing was charged', async () => {
  await platform().offers(await seller('Bad', { kind: 'status', status: 500 }));
  const session = await platform().aSession();
  await platform().buy(session);
  const { body: { logs: [{ id }] } } = await platform()
    .ask('GET', `/v1/gateway/sessions/${session.token}/logs`, { key: session.buyer.key });
  const reply = await look(id, session.buyer);
  expect(steps(reply)).toEqual(['state accepted', 'attempt error_answer', 'state released']);
  expect(timelineOf(reply).at(-1))
    .toMatchObject({ data: { reason: 'proxy_failed' }, what: expect.stringContaining('nothing was charged') });
});

test('a call on its own shows its buyer what was set aside and came back, and its seller only what it earned', async () => {
  const owner = await platform().offers(await seller(), { price: '0.10' });
  const buyer = await platform().aTrader('1.00');
  const { body: { callId } } = await platform().buyOnce(buyer, { maxPrice: '0.70' });
  const mine = await look(callId, buyer);
  expect(steps(mine)).toEqual(['posting hold', 'state accepted', 'attempt delivered', 'posting capture', 'posting fee',
    'posting release', 'state settled']);
  expect(timelineOf(mine).find(({ data }) => data['type'] === 'release')?.what)
    .toBe('0.600000 USDC that had been set aside went back to the buyer.');
  const theirs = await look(callId, owner);
  expect(steps(theirs)).toEqual(['state accepted', 'attempt delivered', 'posting capture', 'posting fee', 'state settled']);
  expect(theirs.text).not.toMatch(/0\.[67]0/);
});

test('a session tells of its budget, of each call with attempts and postings inside, and of its end', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const session = await platform().aSession();
  const bought = [(await platform().buy(session)).body.callId, (await platform().buy(session)).body.callId];
  await platform().closeSession(session);
  const reply = await look(session.token, session.buyer);
  expect(reply.body.payment).toMatchObject({
    kind: 'session', state: 'closed', ended: true, workflowId: `gateway-session-${session.token}`,
    amounts: { total: '1.000000', spent: '0.200000', reserved: '0.000000', remaining: '0.000000', refunded: '0.800000' },
  });
  const entries = timelineOf(reply);
  expect(entries.map(({ kind }) => kind)).toEqual(['posting', 'state', 'call', 'call', 'posting', 'state']);
  expect(entries.filter(({ kind }) => kind === 'call').map(({ data }) => data['callId'])).toEqual(bought);
  expect(entries[2]?.data)
    .toMatchObject({ state: 'settled', price: '0.100000', attempts: [{ outcome: 'delivered' }],
    postings: [{ type: 'capture', amount: '0.090000' }, { type: 'fee', amount: '0.010000' }] });
  expect(entries.at(-2)?.what).toBe('0.800000 USDC that had been set aside went back to the buyer.');
  expect(entries.at(-1)?.what).toMatch(/^The session was closed\. The session has ended/);
});

test('a payment that was reversed tells so, in its own timeline and in that of its session', async () => {
  await platform().offers(await seller(), { price: '0.10' });
  const session = await platform().aSession();
  const { body: { callId } } = await platform().buy(session);
  const { rows: [capture] } = await platform()
    .db.pool.query<{ id: string }>(`SELECT id FROM posting WHERE ref = $1 AND kind = 'capture'`, [callId]);
  await platform().db.pool.query('SELECT ledger_reverse($1, $2)', [capture?.id, 'wrong seller']);
  const entry = timelineOf(await look(callId, session.buyer)).find(({ data }) => data['type'] === 'reversal');
  expect(entry).toMatchObject({ what: '0.090000 USDC were taken back from the seller and returned to the buyer.',
    data: { note: 'wrong seller' } });
  expect(JSON.stringify(timelineOf(await look(session.token, session.buyer)))).toContain('"type":"reversal"');
});

test.each([1, 2, 3, 7])('pages of %p entries give every entry of a long session once and in order', async (limit) => {
  const { pool } = platform().db;
  const session = await anOpenSession(pool, { maxTotal: '5.00' });
  const store = aStore(pool);
  const to = anAddress();
  // Accepted in one statement, hence in one microsecond: only the key tells them apart.
  const ids = Array.from({ length: 12 }, () => aNewCall(session, [aCandidate(to)]));
  await Promise.all(ids.map((call) => store.accept(call)));
  await Promise.all(ids.map(({ id }) => store.settle(aDelivery(id))));
  await endSession(pool, session.id);
  const all = timelineOf(await asAdmin(session.id, '?limit=1000'));
  expect(all).toHaveLength(2 + 12 + 2);
  const { rows } = await pool.query<{ n: string }>('SELECT count(DISTINCT accepted_at) AS n FROM gateway_call WHERE session_id = $1',
    [session.id]);
  expect(Number(rows[0]?.n)).toBeLessThan(12);
  expect(await pageThrough(session.id, limit)).toEqual(all);
});

test('only its parties and the admin may look; a stranger learns no more than elsewhere', async () => {
  const owner = await platform().offers(await seller());
  const session = await platform().aSession();
  const { body: { callId } } = await platform().buy(session);
  const stranger = await platform().aTrader();
  const missing = `call_${randomBytes(12).toString('hex')}`;
  const status = async (reply: Promise<Reply>): Promise<unknown[]> => {
    const { status: code, body } = await reply;
    return [code, body.error];
  };
  expect(await status(look(callId, owner))).toEqual([200, undefined]);
  expect(await status(asAdmin(callId))).toEqual([200, undefined]);
  expect(await status(look(callId, stranger))).toEqual([403, 'forbidden']);
  expect(await status(look(session.token, stranger))).toEqual([403, 'forbidden']);
  expect(await status(look(session.token, owner))).toEqual([403, 'forbidden']);
  expect(await status(look(missing, stranger))).toEqual([404, 'not_found']);
  expect(await status(platform().ask('GET', `/v1/payments/${callId}`))).toEqual([401, 'unauthorized']);
  expect(await status(platform().ask('GET', `/v1/payments/${callId}`, { adminSecret: 'a-wrong-secret' }))).toEqual([401, 'unauthorized']);
});

test.each([
  ['of no kind', 'tick_000000000000000000000000', 404, 'not_found'], ['too short', 'call_00', 404, 'not_found'],
  ['empty behind its prefix', 'gw_', 404, 'not_found'],
  ['in capitals', 'CALL_000000000000000000000000', 404, 'not_found'], ['with other characters', 'call_%00', 400, 'invalid_request'],
  ['very long', 'c'.repeat(65), 400, 'validation_error'],
])('an id that is %s finds nothing', async (_what, id, status, code) => {
  const reply = await asAdmin(id);
  expect([reply.status, reply.body.error]).toEqual([status, code]);
});

test.each([
  ['made of words', 'garbage', 400], ['of another list', Buffer.from('1700000000000000000|svc_12').toString('base64url'), 400],
  ['behind everything', Buffer.from(`99999999999999999999|1${'9'.repeat(18)}`).toString('base64url'), 200],
])('a cursor %s never breaks the list', async (_what, cursor, status) => {
  const session = await platform().aSession();
  const reply = await look(session.token, session.buyer, `?cursor=${cursor}`);
  expect([reply.status, reply.body.error ?? reply.body.payment.timeline]).toEqual([status, status === 400 ? 'invalid_cursor' : []]);
});

test('a call that is under way says so, and the end follows', async () => {
  const slow = await seller('Slow', { kind: 'slow', ms: 800 });
  await platform().offers(slow);
  const session = await platform().aSession();
  const bought = platform().buy(session);
  const callId = await eventually(async () => slow.requests[0]?.idempotencyKey ?? Promise.reject(new Error('Nobody was asked yet.')));
  const during = await look(callId, session.buyer);
  expect(during.body.payment).toMatchObject({ state: 'accepted', ended: false, endedAt: null, amounts: { reserved: '0.100000' } });
  expect(steps(during)).toEqual(['state accepted']);
  await bought;
  expect((await look(callId, session.buyer)).body.payment).toMatchObject({ state: 'settled', ended: true });
});

test('where a Temporal UI is configured, the payment links to its workflow there', async () => {
  const session = await platform().aSession();
  const { db, env } = platform();
  const app = await startApp({
    env: { ADMIN_SECRET: 'a-secret-for-tests', TEMPORAL_NAMESPACE: 'pay ments' },
    deps: { pool: db.pool, reads: db.pool, prisma: db.prisma, payments: platform().runtime.ports.payments,
      links: { api: '', temporalUi: 'https://temporal.example/' } },
  });
  const { body } = await app.ask('GET', `/v1/payments/${session.token}`, { adminSecret: env.ADMIN_SECRET ?? '' });
  expect(body.payment.temporalUrl).toBe(`https://temporal.example/namespaces/pay%20ments/workflows/gateway-session-${session.token}`);
  await app.close();
});

test('a page of a session with thousands of calls is read by index, whatever page it is', async () => {
  const { pool } = platform().db;
  const session = await anOpenSession(pool, { maxTotal: '1.00' });
  // Calls that cost nothing, so that the books stay as they are.
  await pool.query(`INSERT INTO gateway_call (id, session_id, buyer, service_type, state, accepted_at, finished_at)
    SELECT 'call_' || lpad(to_hex(n), 24, '0'), $1, $2, 'translation', 'refused', now() + n * interval '1 millisecond', now()
      FROM generate_series(1, 20000) n`, [session.id, session.agent]);
  await pool.query('ANALYZE gateway_call');
  const { rows } = await pool.query<{ 'QUERY PLAN': [{ Plan: unknown }] }>(`EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM gateway_call c
    WHERE c.session_id = $1 AND (c.accepted_at, c.id) > (now() + interval '10 seconds', '') ORDER BY c.accepted_at, c.id LIMIT 101`,
    [session.id]);
  const plan = JSON.stringify(rows[0]?.['QUERY PLAN']);
  expect(plan).toContain('gateway_call_by_session');
  expect(plan).not.toContain('"Sort"');
  const reply = await asAdmin(session.id, '?limit=1000');
  expect([reply.status, reply.body.has_more, timelineOf(reply).length]).toEqual([200, true, 1_000]);
  await pool.query('DELETE FROM gateway_call WHERE session_id = $1', [session.id]);
}, 30_000);
