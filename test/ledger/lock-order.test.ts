/**
 * Locks are taken in one rank by everybody, or two statements wait for each other until Postgres ends one of them. Here at the level of
 * SQL: what one buyer may start at the same moment with the same idempotency keys.
 */
import pg from 'pg';
import { parseAmount } from '../../domain/money.ts';
import { escrowKind } from '../../payments/kinds.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { aCandidate, aGivenUp, aNewCall, aNewSession, aStore, callOnce, openSession } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { anOpening, directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';

let db: TestDatabase;
const pools: pg.Pool[] = [];
const payments = new Map<pg.Pool, DirectPayments>();
const [buyer, seller] = [anAddress(), anAddress()];

beforeAll(async () => {
  db = await createTestDatabase();
  // Two processes.
  for (let n = 0; n < 2; n += 1) pools.push(new pg.Pool({ connectionString: db.url, max: 8 }));
  for (const pool of pools) payments.set(pool, await directPayments(pool));
  await aDeposit(db.pool, buyer, '1000');
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await db?.close();
});

const [ROUNDS, KEYS, TWINS] = [40, 2, 4];

/** Opens something that holds money under this key, by its SQL function. */
type Opening = (pool: pg.Pool, key: string) => Promise<unknown>;

const singleCall: Opening = async (pool, key) => {
  const session = aNewSession({ agent: buyer, maxTotal: '0.10' });
  return callOnce(aStore(pool), session, aNewCall(session, [aCandidate(seller)], { idempotency: { key, requestHash: 'call' } }));
};
const escrow: Opening = async (pool, key) => {
  const opening = anOpening({ buyer, seller, amountMicros: parseAmount('0.10') });
  const claim = { owner: buyer, key, requestHash: 'escrow' };
  return payments.get(pool)?.taker.open(escrowKind.rules, { ...noAttempt, opening, claim, askedAtMs: Date.now(), workflowStarted: false });
};
const session: Opening = (pool, key) =>
  openSession(pool, aNewSession({ agent: buyer, maxTotal: '0.10', key: { key, requestHash: 'session' } }));

/** The SQLSTATE or our code of what went wrong; null where nothing did. */
const codeOf = (running: Promise<unknown>): Promise<unknown> =>
  running.then(() => null, (error: unknown) => (error as { cause?: { code?: unknown } }).cause?.code ?? (error as { code?: unknown }).code);

test('single calls, escrows and sessions of one buyer with the same keys never wait for each other in a ring', async () => {
  const seen = new Set<unknown>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const running: Promise<unknown>[] = [];
    for (let n = 0; n < KEYS * TWINS; n += 1) {
      const key = `round-${round}-key-${n % KEYS}`;
      for (const [index, open] of [singleCall, escrow, session].entries()) {
        running.push(codeOf(open(pools[(n + index) % 2] ?? db.pool, key)));
      }
    }
    for (const code of await Promise.all(running)) seen.add(code);
  }
  // One of each key wins, the others hear that it is taken, and nobody is a victim of a deadlock or of anything else.
  expect([...seen]).toEqual([null]);
}, 60_000);

test('a single call repeated at the same moment is one call, and its twins are told which', async () => {
  for (let round = 0; round < 10; round += 1) {
    const twins = Array.from({ length: 6 }, (_, n) => singleCall(pools[n % 2] ?? db.pool, `twin-${round}`));
    const outcomes = await Promise.all(twins) as { outcome: string; existingId: string | null }[];
    const replays = outcomes.filter(({ outcome }) => outcome === 'replay');
    expect(outcomes.filter(({ outcome }) => outcome === 'accepted')).toHaveLength(1);
    expect(replays).toHaveLength(5);
    expect(new Set(replays.map(({ existingId }) => existingId)).size).toBe(1);
  }
  expect((await db.pool.query(`SELECT 1 FROM gateway_call WHERE idempotency_key LIKE 'twin-%'`)).rowCount).toBe(10);
  const { rowCount } = await db.pool.query(
    'SELECT 1 FROM meter m WHERE single_use AND NOT EXISTS (SELECT 1 FROM gateway_call c WHERE c.session_id = m.id)',
  );
  expect(rowCount).toBe(0);
});

test('calls that are given back while escrows take their keys never wait in a ring', async () => {
  const seen = new Set<unknown>();
  for (let round = 0; round < 20; round += 1) {
    const calls = Array.from({ length: 4 }, (_, n) => {
      const own = aNewSession({ agent: buyer, maxTotal: '0.10' });
      return { own, call: aNewCall(own, [aCandidate(seller)], { idempotency: { key: `back-${round}-${n}`, requestHash: 'call' } }) };
    });
    await Promise.all(calls.map(({ own, call }) => callOnce(aStore(db.pool), own, call)));
    const released = calls.map(({ call }) => codeOf(aStore(pools[0] ?? db.pool).release(aGivenUp(call.id))));
    const taken = calls.flatMap((_, n) => pools.map((pool) => codeOf(escrow(pool, `back-${round}-${n}`))));
    for (const code of await Promise.all([...released, ...taken])) seen.add(code);
  }
  expect(seen).not.toContain('40P01');
}, 60_000);
