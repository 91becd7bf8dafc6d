/** A migration adds a column while every connection is warm: none of the statements that it has prepared may notice. */
import pg from 'pg';
import { createPipelineStore } from '../../activities/pipeline/store.ts';
import { parseAmount } from '../../domain/money.ts';
import { multistepRules } from '../../domain/multistep.ts';
import { deposit, reverse } from '../../ledger/admin.ts';
import { createNotices } from '../../ledger/notices.ts';
import { readLatestPayments, readPayments } from '../../ledger/payments.ts';
import { readBalance, readBalanceAt, readEntries } from '../../ledger/reads.ts';
import { readTickSpan } from '../../ledger/ticks.ts';
import { readTimelineEvents, readTimelinePostings } from '../../ledger/timeline.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { discover } from '../../registry/discovery.ts';
import { createReputationReader } from '../../trust/reputation.ts';
import { aDeposit, anAgent, aRegistry, platformAddress } from '../support/builders.ts';
import {
  aCandidate, aDelivery, aGivenUp, anAttempt, aNewCall, aNewSession, aStore, callOnce, endSession, openSession, sessionNow,
} from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { aMultistepOpening } from '../support/multistep-rules.ts';
import { directPayments, noAttempt } from '../support/payments.ts';
import { directStreams } from '../support/stream-rules.ts';

let db: TestDatabase;
let pool: pg.Pool;
let buyer: string;
let seller: string;
const metrics = createMetrics({ runtime: false });

beforeAll(async () => {
  db = await createTestDatabase();
  // One connection, so that the second round finds everything prepared.
  pool = new pg.Pool({ connectionString: db.url, max: 1 });
  const registry = aRegistry(db);
  [buyer, seller] = [(await anAgent(registry)).address, (await anAgent(registry)).address];
  await aDeposit(pool, buyer, '1000');
}, 30_000);
afterAll(async () => {
  await pool.end();
  await db.close();
});

async function callsAndSessions(): Promise<void> {
  const store = aStore(pool);
  const session = aNewSession({ agent: buyer });
  await openSession(pool, session);
  const call = () => aNewCall(session, [aCandidate(seller), aCandidate(seller)]);
  const [paid, given, moved] = [call(), call(), call()];
  for (const each of [paid, given, moved]) expect((await store.accept(each)).outcome).toBe('accepted');
  await store.settle(aDelivery(paid.id));
  await store.release(aGivenUp(given.id));
  expect(await store.nextAttempt(moved.id, 0, 1, [anAttempt])).toBe('moved');
  await store.drivesAttempt(moved.id, 1);
  await db.pool.query(`UPDATE gateway_call SET lease_until = now() - interval '1 second' WHERE id = $1`, [moved.id]);
  expect(await store.takeOver([moved.id])).toHaveLength(1);
  await store.renewLeases([moved.id]);
  await store.noteRefusal({ sessionId: session.id, serviceType: 'x', code: 'no_service', message: 'none' });
  expect((await sessionNow(pool, session.id))?.agentAddress).toBe(buyer);
  expect((await store.call(paid.id))?.state).toBe('settled');
  await store.progressOf([moved.id]);
  await store.abandonedCalls(0, 10);
  await endSession(pool, session.id);
  const single = aNewSession({ agent: buyer });
  expect((await callOnce(store, single, aNewCall(single, [aCandidate(seller)]))).outcome).toBe('accepted');
}

async function paymentsOnTheEngine(): Promise<void> {
  const { store, escrow, step, clock } = await directPayments(pool, { metrics });
  expect(await store.canOpen({ buyer, asset: 'USDC', amountMicros: parseAmount('1') }, 'none'))
    .toMatchObject({ covered: true, claimed: false });
  const { id } = await escrow({ buyer, seller });
  await store.markStarted([id]);
  expect(await step(id, 'deliver', seller)).toMatchObject({ kind: 'done', payment: { state: 'delivered', workflowStarted: true } });
  expect(await clock(id)).toBeNull();
  expect(await step(id, 'cancel', seller, {}, { attempt: newId('call'), messageSent: true })).toMatchObject({ kind: 'refused' });
  await store.claimOverdue(['escrow'], { graceMs: 0, leaseMs: 0, limit: 10 });
  expect(await step(id, 'confirm', buyer)).toMatchObject({ kind: 'done', payment: { state: 'released' } });
  expect((await store.eventsAfter(id, 0)).map((event) => event.step)).toEqual(['open', 'deliver', 'confirm']);
  expect((await store.byIds([id]))[0]?.state).toBe('released');
  expect(await store.idsOf('escrow', seller, { after: null, limit: 1 })).toEqual([id]);
  expect(await store.idByLookup('escrow', 'x')).toBeNull();
  const notices = createNotices(pool);
  await notices.claim(['escrow'], { ageMs: 0, leaseMs: 1, limit: 10 });
  await notices.forget([{ id, version: 3 }]);
}

async function multistepEscrows(): Promise<void> {
  const { store, taker, step } = await directPayments(pool, { metrics, rules: multistepRules });
  const opening = aMultistepOpening(buyer, [0, 1].map(() => ({ payee: seller, amountMicros: '1000000' })));
  await taker.open(multistepRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
  expect(await step(opening.id, 'confirm-step', buyer, { stepIndex: 0 })).toMatchObject({ kind: 'done', payment: { state: 'open' } });
  expect((await store.idsOf('multistep', seller, { after: null, limit: 1 }))).toEqual([opening.id]);
  expect(await step(opening.id, 'refund', buyer)).toMatchObject({ kind: 'done', payment: { state: 'aborted' } });
}

async function streams(): Promise<void> {
  const direct = await directStreams(pool, metrics);
  const { id } = await direct.open({ buyer, seller });
  const tick = { streamId: id, agent: buyer, idempotency: null };
  await direct.ticks.tick({ ...tick, seq: 1, amountMicros: null, metadata: null });
  await direct.ticks.tickBatch({ ...tick, fromSeq: 2, count: 2, ticks: null });
  expect(await direct.ticks.ticksOf(id, { afterSeq: 0, limit: 10 })).toHaveLength(3);
  expect(await readTickSpan(pool, id, 3)).not.toBeNull();
  await direct.clock(id);
  await direct.step(id, 'topup', buyer, { amount: '1' });
  await direct.step(id, 'close', buyer);
  expect((await direct.read(id)).meter.uses).toBe(3);
}

async function pipelines(): Promise<void> {
  const store = createPipelineStore({ pool, driver: 'test', leaseMs: 6_000, feeOwner: platformAddress, onDrained: () => undefined });
  const open = async () => {
    const session = aNewSession({ agent: buyer });
    await openSession(pool, session);
    const steps = [0, 1].map(() => ({
      callId: newId('call'), serviceType: 'x', paramsJson: '{}', candidates: [aCandidate(seller)], refundable: false, compensation: null,
    }));
    const id = newId('pipeline');
    await store.open({
      id, sessionId: session.id, buyer, tenantId: null, workflowId: `pipeline-${id}`, workflowStarted: false, allOrNothing: false,
      feeBps: 0, steps, idempotency: null,
    });
    return { id, calls: steps.map(({ callId }) => callId) };
  };
  const whole = await open();
  await store.pass(whole.id, aDelivery(whole.calls[0] ?? ''), { step: 1, paramsJson: '{}' });
  await store.startStep(whole.id, 1, '{}');
  expect((await store.pass(whole.id, aDelivery(whole.calls[1] ?? ''), null)).ended?.state).toBe('completed');
  expect((await store.read(whole.id)).steps).toHaveLength(2);
  const stopped = await open();
  await store.act(stopped.id, 'cancel', buyer);
  await store.finish(stopped.id);
  await store.claimUndo(stopped.id, 0, 1);
  await store.noteUndo({ id: stopped.id, step: 0, done: true, pauseMs: null, error: null });
  await store.act(stopped.id, 'retry-undo', buyer);
  await store.row(stopped.id);
  await store.markStarted(stopped.id);
  await store.earlier(buyer, { key: 'none', requestHash: 'h' });
  await store.step(stopped.id, 0);
  await store.steps(stopped.id);
  await store.rows([stopped.id]);
  await store.claimStale({ quietMs: 0, claimMs: 1, limit: 10 });
}

async function books(): Promise<void> {
  const posting = await deposit(pool, { owner: buyer, asset: 'USDC', amountMicros: parseAmount('1'), txHash: `0x${newId('call')}` });
  await reverse(pool, BigInt(posting), 'a mistake');
  await readBalance(pool, buyer);
  await readBalanceAt(pool, buyer, new Date());
  await readEntries(pool, buyer, { before: null, limit: 10 });
  expect((await readPayments(pool, buyer, { counterparty: null, limit: 100 })).payments.length).toBeGreaterThan(3);
  await readLatestPayments(pool, 10);
  await readTimelinePostings(pool, ['x'], { limit: 10 });
  await readTimelineEvents(pool, 'x', { limit: 10 });
  await createReputationReader({ pool }).leaderboard({ limit: 10 });
  await createReputationReader({ pool }).of([buyer]);
  for (const sortBy of ['price', 'reputation', 'value'] as const) {
    await discover(pool, { sortBy, includeInactive: false, verifiedOnly: false, limit: 10, offset: 0, after: null });
  }
}

async function everything(): Promise<void> {
  for (const part of [callsAndSessions, paymentsOnTheEngine, multistepEscrows, streams, pipelines, books]) await part();
}

test('every statement of every store works before and after, on the same connection and on a new one', async () => {
  await everything();
  const { rows: prepared } = await pool.query<{ name: string }>('SELECT name FROM pg_prepared_statements ORDER BY 1');
  expect(prepared.length).toBeGreaterThan(50);
  const { rows: tables } = await db.pool.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
  );
  for (const { name } of tables) await db.pool.query(`ALTER TABLE ${name} ADD COLUMN arrived_later text NOT NULL DEFAULT 'x'`);
  await everything();
  expect((await pool.query('SELECT name FROM pg_prepared_statements ORDER BY 1')).rows).toEqual(prepared);
  // A connection that is made later plans anew, with the column in the row types.
  await pool.end();
  pool = new pg.Pool({ connectionString: db.url, max: 1 });
  await everything();
}, 60_000);
