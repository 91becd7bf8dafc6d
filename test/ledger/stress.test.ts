/**
 * Fifty group commits at once over three pools, with sellers, sessions and steps mixed at random; then one question: are the books right?
 */
import pg from 'pg';
import { auditBooks } from '../../ledger/audit.ts';
import { anAddress } from '../support/builders.ts';
import {
  aCandidate, aDelivery, aGivenUp, anAttempt, aNewCall, aNewSession, anOpenSession, aStore, callOnce, endSession, sessionsFinished,
  type NewSession,
} from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { moneyOf, usdc } from '../support/market.ts';

let db: TestDatabase;
let pools: pg.Pool[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  pools = [1, 2, 3].map(() => new pg.Pool({ connectionString: db.url, max: 6 }));
}, 30_000);
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await db.close();
});

/** Numbers that look random and are the same in every run. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

async function deadlocks(): Promise<number> {
  await db.pool.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await db.pool.query<{ deadlocks: string }>('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()');
  return Number(rows[0]?.deadlocks);
}

test('settles, releases, failovers, closes and single calls of three processes neither deadlock nor lose a coin', async () => {
  const roll = dice(7);
  const sellers = Array.from({ length: 6 }, anAddress);
  const buyers = Array.from({ length: 8 }, anAddress);
  // A seller that buys as well: its account is on both sides.
  buyers.push(...sellers.slice(0, 2));
  const sessions: NewSession[] = [];
  for (let n = 0; n < 40; n += 1) sessions.push(await anOpenSession(db.pool, { agent: buyers[n % buyers.length], maxTotal: '3.00' }));
  for (const buyer of buyers) await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 50000000, $2, NULL)`, [buyer, `extra-${buyer}`]);
  // The three processes: each has group commits of its own.
  const stores = pools.map((pool, n) => aStore(pool, { driver: `p${n}` }));
  const failures: unknown[] = [];

  const oneCall = async (n: number): Promise<void> => {
    const store = stores[n % 3]!;
    const candidates = [0, 1].map(() => aCandidate(sellers[roll(sellers.length)]!, `0.${10 + roll(10)}`));
    let session = sessions[roll(sessions.length)]!;
    const single = roll(4) === 0;
    if (single) session = aNewSession({ agent: buyers[roll(buyers.length)]!, maxTotal: '0.50' });
    const call = aNewCall(session, candidates, { feeBps: roll(2) * 250 });
    const { outcome } = single ? await callOnce(store, session, call) : await store.accept(call);
    if (outcome !== 'accepted') return;
    let attempt = 0;
    if (roll(3) === 0 && (await store.nextAttempt(call.id, 0, 1, [anAttempt])) === 'moved') attempt = 1;
    // Somebody else thinks the same, or the opposite, at the same moment.
    const other = stores[(n + 1) % 3]!;
    const end = roll(3) === 0 ? store.release(aGivenUp(call.id)) : store.settle(aDelivery(call.id, attempt));
    const echo = roll(4) === 0 ? other.settle(aDelivery(call.id, attempt)) : roll(6) === 0
      ? other.release(aGivenUp(call.id)) : Promise.resolve();
    const close = !single && roll(15) === 0 ? endSession(pools[(n + 1) % 3]!, session.id) : Promise.resolve();
    await Promise.all([end, echo, close]);
  };
  for (let round = 0; round < 12; round += 1) {
    await Promise.all(Array.from({ length: 50 }, (_, n) => oneCall(n).catch((error: unknown) => failures.push(error))));
    if (round % 3 === 0) await db.pool.query('SELECT ledger_fold_fees(50)');
  }
  expect(failures).toEqual([]);
  expect(await deadlocks()).toBe(0);
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });

  await sessionsFinished();
  await Promise.all(sessions.map((session, n) => endSession(pools[n % 3]!, session.id, 'expired')));
  await db.pool.query('SELECT ledger_fold_fees(100000)');
  expect(await auditBooks(db.pool, { overdueMs: 0 })).toEqual({ ok: true, findings: [] });
  const { rows: [left] } =
    await db.pool.query<{ pending: string; owned: string }>('SELECT sum(pending) AS pending, sum(available) AS owned FROM account');
  expect(left).toEqual({ pending: '0', owned: (usdc('120.00') + 10n * usdc('50.00')).toString() });
  expect((await Promise.all(sellers.map((seller) => moneyOf(db.pool, seller)))).every(({ available }) => available > 0n)).toBe(true);
}, 60_000);

test('giving up many calls of ended sessions while others are settled does not deadlock', async () => {
  const before = await deadlocks();
  const traders = Array.from({ length: 30 }, anAddress);
  const stores = pools.map((pool, n) => aStore(pool, { driver: `d${n}` }));
  for (let round = 0; round < 15; round += 1) {
    // Everybody buys from everybody, so every batch touches the same accounts in another order.
    const calls = await Promise.all(traders.map(async (agent, n) => {
      const session = await anOpenSession(db.pool, { agent });
      const call = aNewCall(session, [aCandidate(traders[(n * 11 + round + 1) % traders.length]!)]);
      await stores[n % 3]!.accept(call);
      return { call, session };
    }));
    await Promise.all(calls.map(({ session }, n) => endSession(pools[n % 3]!, session.id)));
    const ends = calls.map(({ call }, n) =>
      (n % 2 === 0 ? stores[n % 3]!.release(aGivenUp(call.id)) : stores[n % 3]!.settle(aDelivery(call.id))));
    await Promise.all(ends);
  }
  await sessionsFinished();
  expect(await deadlocks()).toBe(before);
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
}, 60_000);
