/** Every kind of payment that is kept in a row of its own, found by its id: state, amounts, parties, and what its timeline tells. */
import { startApp, type TestApp } from '../support/app.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { directPayments, type DirectPayments } from '../support/payments.ts';

let db: TestDatabase;
let app: TestApp;
let payments: DirectPayments;
const [buyer, seller] = [anAddress(), anAddress()];
const admin = { adminSecret: 'a-secret-for-tests' };
const idOf = (prefix: string): string => prefix + '1'.repeat(24);

beforeAll(async () => {
  db = await createTestDatabase();
  payments = await directPayments(db.pool);
  const { store } = payments;
  // What the page of a payment asks; nothing here takes a step over HTTP.
  const port = { read: async (id: string) => (await store.read(id))?.payment ?? null, eventsOf: (id: string) => store.eventsAfter(id, 0) };
  app = await startApp({ env: { ADMIN_SECRET: admin.adminSecret }, deps: { pool: db.pool, reads: db.pool, prisma: db.prisma, payments: port as never } });
  await aDeposit(db.pool, buyer, '100');
});
afterAll(async () => {
  await app.close();
  await db.close();
});

async function show(id: string) {
  const { status, body } = await app.ask('GET', `/v1/payments/${id}`, admin);
  expect(status).toBe(200);
  return { ...body.payment, told: (body.payment.timeline as { kind: string; data: { state?: string; type?: string } }[])
    .map(({ kind, data }) => `${kind} ${data.state ?? data.type ?? ''}`.trim()) };
}

test('an escrow', async () => {
  const { id } = await payments.escrow({ id: idOf('esc_'), buyer, seller });
  await payments.step(id, 'deliver', seller);
  await payments.step(id, 'dispute', buyer, { reason: 'Half of it is missing.' });
  await payments.step(id, 'resolve', { address: null, as: 'platform' }, { resolution: 'partial', releaseAmount: '0.4' });
  expect(await show(id)).toMatchObject({
    kind: 'escrow', state: 'released', ended: true, amounts: { amount: '1.000000', released: '0.400000', refunded: '0.600000' },
    parties: [{ role: 'buyer', address: buyer }, { role: 'seller', address: seller }],
    told: ['posting hold', 'state pending', 'state delivered', 'state disputed', 'posting capture', 'posting release', 'state released'],
  });
});

test('a multistep escrow', async () => {
  const id = idOf('mse_');
  await db.pool.query(`INSERT INTO agent (address, name) VALUES ($1, 'Seller')`, [seller]);
  await db.pool.query('SELECT multistep_create($1, NULL, NULL)',
    [JSON.stringify({ id, buyer, total: '300000', expiresInMs: 60_000, workflowId: 'w',
    steps: [{ seller, amount: '100000' }, { seller, amount: '200000' }] })]);
  await db.pool.query(`SELECT ledger_capture(ARRAY[$1], ARRAY[$1 || ':step:1'], ARRAY[$2], ARRAY[200000::bigint], ARRAY[0::bigint], NULL)`,
    [id, seller]);
  expect(await show(id))
    .toMatchObject({ kind: 'multistep_escrow', state: 'open', ended: false, told: ['state created', 'posting hold', 'posting capture'] });
});

test('a stream, its ticks as one entry', async () => {
  const id = idOf('str_');
  await db.pool.query(`SELECT ledger_hold($1, $2, 'USDC', 1000000, 'pending', NULL)`, [id, buyer]);
  await db.pool.query(`INSERT INTO stream (id, buyer, seller, deposit, price_per_tick, stale_timeout_ms, look_at, workflow_id, created_at, updated_at, top_ups, tick_count, spent)
    VALUES ($1, $2, $3, 1500000, 10, 60000, now(), 'w', now(), now(), 1, 2, 20)`, [id, buyer, seller]);
  await db.pool.query(`SELECT ledger_increase_hold($1, $1 || ':topup:1', 500000)`, [id]);
  await db.pool.query(`INSERT INTO stream_tick SELECT $1, n, 10, n * 10, NULL, 'buyer', now() FROM generate_series(1, 2) n`, [id]);
  expect(await show(id))
    .toMatchObject({ kind: 'stream', state: 'open', amounts: { deposit: '1.500000', spent: '0.000020' },
    told: ['posting hold', 'posting hold', 'ticks'] });
});

test('a pipeline with its steps', async () => {
  const session = await anOpenSession(db.pool, { maxTotal: '1.00' });
  const id = idOf('pipe_');
  await db.pool.query(`INSERT INTO pipeline (id, session_id, buyer, steps, held, workflow_id) VALUES ($1, $2, $3, 2, 100, 'pipeline-x')`,
    [id, session.id, session.agent]);
  await db.pool.query(`SELECT payment_moved('pipeline', $1, 1, 'pipeline.created')`, [id]);
  for (const step of [0, 1]) {
    const call = aNewCall(session, [aCandidate(seller)]);
    await aStore(db.pool).accept(call);
    await db.pool.query('UPDATE gateway_call SET pipeline_id = $1, step_index = $2 WHERE id = $3', [id, step, call.id]);
    await aStore(db.pool).settle(aDelivery(call.id));
  }
  const step = ['state accepted', 'posting capture', 'state settled'];
  expect(await show(id))
    .toMatchObject({ kind: 'pipeline', state: 'running', parties: [{ role: 'buyer', address: session.agent }],
    told: ['state created', ...step, ...step] });
});

test.each(['esc_', 'mse_', 'str_', 'pipe_'])('%s: an unknown id is not found', async (prefix) => {
  expect((await app.ask('GET', `/v1/payments/${prefix}${'2'.repeat(24)}`, admin)).status).toBe(404);
});
