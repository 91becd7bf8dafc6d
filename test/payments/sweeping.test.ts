/** What is overdue is ended by one process, however many look, and what cannot be ended holds up nothing else. */
import { escrowKind } from '../../payments/kinds.ts';
import { createSweeper } from '../../payments/sweeper.ts';
import { createNotices } from '../../ledger/notices.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadlineIn } from '../support/escrows.ts';
import { directPayments, type DirectPayments } from '../support/payments.ts';

let db: TestDatabase;
let direct: DirectPayments;
const [buyer, seller] = [anAddress(), anAddress()];
beforeAll(async () => {
  db = await createTestDatabase(8);
  direct = await directPayments(db.pool);
  await aDeposit(db.pool, buyer, '1000');
});
afterAll(() => db.close());

/** A sweeper as a process of its own would have it, and what it has tried. */
function aSweeper() {
  const tried: string[] = [];
  const taker = { ...direct.taker, clock: async (...args: Parameters<typeof direct.taker.clock>) => {
    tried.push(args[1]);
    return direct.taker.clock(...args);
  } };
  const keeper = { soon: () => undefined, confirmed: () => undefined, started: () => Promise.resolve() };
  const failed: string[] = [];
  const sweep = createSweeper({ store: direct.store, taker, keeper, failed: (_error, id) => failed.push(id) });
  return { tried, failed, sweep: (leaseMs = 30_000) => sweep([escrowKind], { graceMs: 0, leaseMs }) };
}

async function overdue(count: number): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: count }, async () => (await direct.escrow({ buyer, seller })).id));
  await Promise.all(ids.map((id) => deadlineIn(db.pool, id, -1)));
  return ids;
}

test('three processes share what is overdue: each payment is tried by one of them', async () => {
  const ids = await overdue(60);
  const sweepers = [aSweeper(), aSweeper(), aSweeper()];
  const ended = await Promise.all(sweepers.map(({ sweep }) => sweep()));
  expect(ended.reduce((sum, count) => sum + count, 0)).toBe(60);
  expect(sweepers.flatMap(({ tried }) => tried).sort()).toEqual(ids.sort());
  expect((await direct.store.byIds(ids)).every(({ state }) => state === 'refunded')).toBe(true);
});

test('one that cannot be ended holds up no other, and is left alone until its lease is over', async () => {
  const [broken = '', ...sound] = await overdue(5);
  await db.pool.query('UPDATE hold SET closed_at = now() WHERE id = $1', [broken]);
  const [first, second] = [aSweeper(), aSweeper()];
  expect(await first.sweep()).toBe(4);
  expect(first.failed).toEqual([broken]);
  expect((await direct.store.byIds(sound)).every(({ state }) => state === 'refunded')).toBe(true);
  expect(await second.sweep()).toBe(0);
  expect(second.tried).toEqual([]);
  await db.pool.query('UPDATE hold SET closed_at = NULL WHERE id = $1', [broken]);
  // Who asks for it to be done now does not wait for the lease of another.
  expect(await second.sweep(0)).toBe(1);
});

test('notices are claimed by one process for the time of a lease', async () => {
  const { id } = await direct.escrow({ buyer, seller });
  const notices = createNotices(db.pool);
  const claim = () => notices.claim(['escrow'], { ageMs: 0, leaseMs: 30_000, limit: 1_000 });
  const claimed = await Promise.all([claim(), claim(), claim()]);
  expect(claimed.flat().filter((notice) => notice.id === id)).toEqual([{ id, kind: 'escrow', version: 1 }]);
  expect((await claim()).filter((notice) => notice.id === id)).toEqual([]);
});
