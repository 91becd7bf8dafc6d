/** Reads of an owner with tens of thousands of payments cost what they show, not what the owner has. */
import pg from 'pg';
import { readPayments } from '../../ledger/payments.ts';
import { readBalanceAt } from '../../ledger/reads.ts';
import { anAddress, aPayment, platformAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());

describe('a hot seller', () => {
  const [hot, regular] = [anAddress(), anAddress()];
  const regularRefs: string[] = [];
  /** 3 payments of one buyer, and 30,000 of another one among them; each with its hold and release, as escrows have them. */
  beforeAll(async () => {
    for (let n = 0; n < 3; n += 1) {
      regularRefs.unshift(await aPayment(db.pool, { from: regular, to: hot, amount: '0.01' }));
      await db.pool.query(
        `INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
         SELECT 'bulk:' || $2 || ':' || i, k, 'bulk', 'bulk', 'USDC', b.id, 'pending', CASE k WHEN 'capture' THEN s.id ELSE b.id END,
                'available', 1 FROM generate_series(1, 10000) i, unnest(ARRAY['hold', 'capture', 'release']) k,
                LATERAL (SELECT ledger_account($3, 'USDC') AS id) b, LATERAL (SELECT id FROM account WHERE owner = $1) s`,
        [hot, n, platformAddress]);
    }
  }, 60_000);

  /** How many rows of postings are read by what runs on this pool of one connection. */
  async function rowsRead(run: (pool: pg.Pool) => Promise<unknown>): Promise<number> {
    const pool = new pg.Pool({ connectionString: db.url, max: 1 });
    const soFar = async (): Promise<number> => {
      await pool.query('SELECT pg_stat_force_next_flush()');
      const { rows } = await pool.query<{ read: string }>(
        `SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_user_tables WHERE relname = 'posting'`);
      return Number(rows[0]?.read);
    };
    try {
      const before = await soFar();
      await run(pool);
      return (await soFar()) - before;
    } finally {
      await pool.end();
    }
  }

  test('costs a stranger no more than what it sees', async () => {
    await db.pool.query('ANALYZE posting');
    let found: string[] = [];
    const read = await rowsRead(async (pool) => {
      found = (await readPayments(pool, hot, { counterparty: regular, limit: 100 })).payments.map(({ ref }) => ref);
    });
    expect(found).toEqual(regularRefs);
    expect(read).toBeLessThan(1_000);
  });

  test('reads its own payments page by page, all of them and none twice', async () => {
    const seen: string[] = [];
    let before: bigint | undefined;
    do {
      const page = await readPayments(db.pool, hot, { counterparty: null, limit: 1_000, ...(before === undefined ? {} : { before }) });
      seen.push(...page.payments.map(({ postingId }) => postingId));
      before = page.next === null ? undefined : BigInt(page.next);
    } while (before !== undefined);
    expect(seen).toHaveLength(30_003);
    expect(new Set(seen).size).toBe(30_003);
  });

  test('has a balance of the past from whichever end is near, and is refused one in the middle', async () => {
    const { rows: [row] } = await db.pool.query<{ id: string }>('SELECT id FROM account WHERE owner = $1', [hot]);
    // A payment each second until now, written in that order.
    const pool = new pg.Pool({ connectionString: db.url, max: 1 });
    await pool.query('SET session_replication_role = replica');
    await pool.query(
      `UPDATE posting SET created_at = now() - (SELECT max(id) FROM posting) * interval '1 second' + id * interval '1 second'`);
    await pool.query(`UPDATE account a SET available = p.gained FROM (SELECT sum(amount) AS gained FROM posting WHERE credit_account = $1) p
                       WHERE a.id = $1`, [row?.id]);
    await pool.end();
    const times = await db.pool.query<{ at: Date; available: string }>(
      `SELECT created_at AS at, sum(amount) OVER (ORDER BY id) AS available FROM posting WHERE credit_account = $1 ORDER BY id`, [row?.id]);
    const at = async (n: number): Promise<string | undefined> => {
      const moment = times.rows.at(n);
      const found = await readBalanceAt(db.pool, hot, moment?.at ?? new Date(0), 'USDC', 5_000)
        .catch((error: { code: string }) => error.code);
      return typeof found === 'string' ? found
        : `${found.available === BigInt(moment?.available ?? -1)} ${found.updatedAt?.getTime() === moment?.at.getTime()}`;
    };
    expect([await at(0), await at(1_000), await at(3_500), await at(15_000), await at(-3_500), await at(-1)])
      .toEqual(['true true', 'true true', 'true true', 'range_too_large', 'true true', 'true true']);
  });

  test('with many holds and few payments in between is read in steps, not at once', async () => {
    const first = await readPayments(db.pool, platformAddress, { counterparty: null, limit: 10 });
    expect(first.payments.length).toBeLessThanOrEqual(10);
    expect(first.next).not.toBeNull();
  });
});
