/** What a failed statement costs: nothing but itself, unless the connection is gone. */
import pg from 'pg';
import { createGroupCommit } from '../../ledger/group-commit.ts';
import { query } from '../../ledger/query.ts';
import { isItemError } from '../../ledger/sql-errors.ts';
import { createPool, type ConnectionTimeouts } from '../../prisma/pool.ts';
import { anAddress, silent } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { directPayments } from '../support/payments.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());

const CONNECTIONS = 4;
const patient: ConnectionTimeouts = { statementMs: 30_000, lockMs: 10_000, idleInTransactionMs: 60_000 };

/** A pool of the product, how many connections it has opened, and its end. */
async function withPool(timeouts: ConnectionTimeouts, run: (pool: pg.Pool, opened: () => number) => Promise<void>): Promise<void> {
  const pool = createPool({ databaseUrl: db.url, connectionsMax: CONNECTIONS, timeouts, name: 'query-test', log: silent });
  let opened = 0;
  pool.on('connect', () => { opened += 1; });
  try {
    await run(pool, () => opened);
  } finally {
    await pool.end();
  }
}

const pidOf = async (pool: pg.Pool): Promise<number> =>
  (await query<{ pid: number }>(pool, { text: 'SELECT pg_backend_pid() AS pid' }))[0]?.pid ?? 0;

test('sixty escrows that are refused for want of money cost no more sessions than the pool is large', async () => {
  await withPool(patient, async (pool, opened) => {
    const payments = await directPayments(pool);
    const seller = anAddress();
    const refusals = await Promise.all(Array.from({ length: 60 }, () => payments.escrow({ buyer: anAddress(), seller })));
    // Outcomes, not errors: the statement that refuses goes well.
    expect(refusals).toHaveLength(60);
    for (const refused of refusals) expect(refused)
      .toMatchObject({ kind: 'refused', payment: null, refusal: { code: 'insufficient_balance' } });
    expect(opened()).toBeLessThanOrEqual(CONNECTIONS);
  });
});

test.each([
  ['a refusal', `SELECT refuse('not_found')`, { code: 'not_found' }],
  ['a broken constraint', `INSERT INTO account (owner, asset, available) VALUES ('x', 'USDC', -1)`, { code: '23514' }],
  ['a mistake in the statement', 'SELECT nothing FROM nowhere', { code: '42P01' }],
  ['a statement that took too long', 'SELECT pg_sleep(5)', { code: 'unavailable', cause: { code: '57014' } }],
])('after %s the connection goes on', async (_what, text, error) => {
  await withPool({ ...patient, statementMs: 200 }, async (pool, opened) => {
    const before = await pidOf(pool);
    await expect(query(pool, { name: 'fails', text })).rejects.toMatchObject(error);
    expect(await pidOf(pool)).toBe(before);
    expect(opened()).toBe(1);
  });
});

test('a connection that is cut is not used again, and its user hears that the outcome is unknown', async () => {
  await withPool(patient, async (pool, opened) => {
    const pid = await pidOf(pool);
    const lost = { code: 'unavailable', extras: { body: { funds_status: 'unknown' } } };
    const cut = expect(query(pool, { text: 'SELECT pg_sleep(30)' })).rejects.toMatchObject(lost);
    await db.pool.query('SELECT pg_terminate_backend($1)', [pid]);
    await cut;
    expect(await pidOf(pool)).not.toBe(pid);
    expect(opened()).toBe(2);
  });
});

test('a prepared statement that its table has outgrown fails once, not for ever', async () => {
  await db.pool.query('CREATE TABLE outgrown (id integer)');
  await withPool(patient, async (pool) => {
    const all = (): Promise<unknown> => query(pool, { name: 'outgrown', text: 'SELECT * FROM outgrown' });
    await all();
    await db.pool.query('ALTER TABLE outgrown ADD COLUMN size integer');
    await expect(all()).rejects.toMatchObject({ code: '0A000' });
    await all();
  });
  await db.pool.query('DROP TABLE outgrown');
});

test('in a transaction of somebody else it fails and leaves the end to him', async () => {
  const client = await db.pool.connect();
  await client.query('BEGIN');
  await expect(query(client, { text: `SELECT refuse('not_found')` })).rejects.toMatchObject({ code: 'not_found' });
  await client.query('ROLLBACK');
  client.release();
});

test('every connection has the three time limits', async () => {
  await withPool({ statementMs: 1_234, lockMs: 567, idleInTransactionMs: 8_910 }, async (pool) => {
    const shown = async (name: string): Promise<unknown> => (await pool.query<Record<string, unknown>>(`SHOW ${name}`)).rows[0]?.[name];
    const limits = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
    expect(await Promise.all(limits.map(shown))).toEqual(['1234ms', '567ms', '8910ms']);
  });
});

test('a transaction that stands idle loses its connection and the pool goes on', async () => {
  await withPool({ ...patient, idleInTransactionMs: 50 }, async (pool) => {
    const client = await pool.connect();
    await client.query('BEGIN');
    expect(await new Promise((resolve) => client.once('error', resolve))).toMatchObject({ code: '25P03' });
    client.release(true);
    expect(await pidOf(pool)).toBeGreaterThan(0);
  });
});

describe('in a group', () => {
  const text = 'UPDATE account SET updated_at = now() FROM unnest($1::text[]) AS x(owner) WHERE account.owner = x.owner';

  test('a wait for a lock in vain is the trouble of one item: the others are done one by one', async () => {
    await db.pool.query(`SELECT ledger_account(owner, 'USDC') FROM unnest(ARRAY['a', 'b', 'c']) owner`);
    const holder = await db.pool.connect();
    await holder.query('BEGIN');
    await holder.query(`SELECT 1 FROM account WHERE owner = 'b' FOR UPDATE`);
    await withPool({ ...patient, lockMs: 100 }, async (pool, opened) => {
      const groups: (readonly string[])[] = [];
      const run = async (owners: readonly string[]): Promise<readonly string[]> => {
        groups.push(owners);
        await query(pool, { text, values: [owners] });
        return owners;
      };
      const commit = createGroupCommit<string, string>({ itemsMax: 10, lanes: 1, run, isItemError, isOrdered: true });
      const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((owner) => commit(owner)));
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(outcomes[1]).toMatchObject({ reason: { code: 'unavailable', status: 503, cause: { code: '55P03' } } });
      expect(groups).toEqual([['a', 'b', 'c'], ['a'], ['b'], ['c']]);
      expect(opened()).toBe(1);
    });
    await holder.query('ROLLBACK');
    holder.release();
  });

  test.each([
    ['40P01', true], ['55P03', true], ['57014', true], ['23505', true], ['SURTY', true],
    ['57P01', false], ['57P03', false], ['53300', false], ['ECONNREFUSED', false], ['EPIPE', false],
  ])(
    'the error %s is that of one item: %s', async (code, expected) => {
      const connect = (): Promise<never> => Promise.reject(Object.assign(new Error('not_found'), { code }));
      const pool = Object.assign(Object.create(pg.Pool.prototype) as pg.Pool, { connect });
      const error: unknown = await query(pool, { text: 'SELECT 1' }).catch((thrown: unknown) => thrown);
      expect(isItemError(error)).toBe(expected);
    });
});
