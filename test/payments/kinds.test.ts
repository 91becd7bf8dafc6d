/** Every kind of payment that has a row of its own, found by its id: state, amounts, parties, and its timeline. */
import { multistepRules } from '../../domain/multistep.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { aMultistepOpening } from '../support/multistep-rules.ts';
import { directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';
import { directStreams } from '../support/stream-rules.ts';

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
  app = await startApp({ env: { ADMIN_SECRET: admin.adminSecret },
    deps: { pool: db.pool, reads: db.pool, prisma: db.prisma, payments: port as never } });
  await aDeposit(db.pool, buyer, '100');
});
afterAll(async () => {
  await app.close();
  await db.close();
});

async function show(id: string) {
  const { status, body } = await app.ask('GET', `/v1/payments/${id}`, admin);
  expect(status).toBe(200);
  return { ...body.payment, entries: (body.payment.timeline as { kind: string; data: { state?: string; type?: string } }[])
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
    entries: ['posting hold', 'state pending', 'state delivered', 'state disputed', 'posting capture', 'posting release', 'state released'],
  });
});

test('a multistep escrow', async () => {
  const [id, other] = [idOf('mse_'), anAddress()];
  const multistep = await directPayments(db.pool, { rules: multistepRules });
  const opening = aMultistepOpening(buyer, [{ payee: other, amountMicros: '100000' }, { payee: seller, amountMicros: '200000' }], { id });
  await multistep.taker.open(multistepRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
  await multistep.step(id, 'confirm-step', buyer, { stepIndex: 1 });
  const begun = ['posting hold', 'state open', 'posting capture', 'state open'];
  expect(await show(id)).toMatchObject({
    kind: 'multistep_escrow', state: 'open', ended: false, entries: begun,
    amounts: { total: '0.300000', spent: '0.200000', refunded: '0.000000' },
    parties: [{ role: 'buyer', address: buyer }, { role: 'seller', address: other }, { role: 'seller', address: seller }],
    timeline: [{}, { what: 'The buyer put 0.300000 USDC into an escrow of several steps.' },
      { data: { reference: `${id}:part:1`, to: seller } },
      { what: 'The buyer confirmed step 2 of 2 (index 1); its seller gets 0.200000 USDC.' }],
  });
  await multistep.step(id, 'refund', buyer);
  const { timeline, ...ended } = await show(id);
  expect(ended).toMatchObject({ state: 'aborted', ended: true, entries: [...begun, 'posting release', 'state aborted'] });
  expect(timeline.at(-1).what).toBe('It ended (buyer_refund) before every step was confirmed: 0.100000 USDC back to the buyer.');
});

test('a stream, its ticks as one entry', async () => {
  const streams = await directStreams(db.pool);
  const { id } = await streams.open({ buyer, seller });
  const tick = { streamId: id, agent: seller, fromSeq: null, ticks: null, idempotency: null };
  await streams.ticks.tickBatch({ ...tick, count: 9 });
  await streams.step(id, 'topup', buyer, { amount: '0.50' });
  await streams.ticks.tickBatch({ ...tick, count: 2 });
  expect(await show(id)).toMatchObject({
    kind: 'stream', state: 'open', ended: false,
    amounts: { deposit: '1.500000', spent: '1.100000', remaining: '0.400000', refunded: '0.000000' },
    entries: ['posting hold', 'state open', 'state deposit_low', 'posting hold', 'state open', 'ticks'],
  });
});

test('a pipeline with its steps', async () => {
  const session = await anOpenSession(db.pool, { maxTotal: '1.00' });
  const id = idOf('pipe_');
  await db.pool.query(`INSERT INTO pipeline (id, session_id, buyer, steps, held, workflow_id) VALUES ($1, $2, $3, 2, 100, 'pipeline-x')`,
    [id, session.id, session.agent]);
  await db.pool.query(`SELECT pipeline_moved($1, 1, 'created')`, [id]);
  for (const step of [0, 1]) {
    const call = aNewCall(session, [aCandidate(seller)]);
    await aStore(db.pool).accept(call);
    await db.pool.query('UPDATE gateway_call SET pipeline_id = $1, step_index = $2 WHERE id = $3', [id, step, call.id]);
    await aStore(db.pool).settle(aDelivery(call.id));
  }
  const step = ['state accepted', 'posting capture', 'state settled'];
  expect(await show(id))
    .toMatchObject({ kind: 'pipeline', state: 'running', parties: [{ role: 'buyer', address: session.agent }],
    entries: ['state created', ...step, ...step] });
});

test.each(['esc_', 'mse_', 'str_', 'pipe_'])('%s: an unknown id is not found', async (prefix) => {
  expect((await app.ask('GET', `/v1/payments/${prefix}${'2'.repeat(24)}`, admin)).status).toBe(404);
});
