/** Reads have connections and a time limit of their own: a slow one is answered with a sentence, and no crowd of them delays money. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { createPrisma } from '../../prisma/client.ts';
import { createPool } from '../../prisma/pool.ts';
import type { Registry } from '../../registry/registry.ts';
import { askAt, startApp, type Reply, type TestApp } from '../support/app.ts';
import { anAddress, anAgent, aRegistry, silent, type RegisteredAgent } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const READ_MS = 400;
const adminSecret = 'a-secret-for-tests';
let db: TestDatabase;
let pool: pg.Pool;
let reads: pg.Pool;
let registry: Registry;
let app: TestApp;
let ada: RegisteredAgent;
/** Holds what a test has locked. */
let blocker: pg.PoolClient;

beforeAll(async () => {
  db = await createTestDatabase();
  const poolOf = (connectionsMax: number, statementMs: number): pg.Pool => createPool({
    databaseUrl: db.url, connectionsMax, connectMs: READ_MS, name: 'reads-test', log: silent,
    timeouts: { statementMs, lockMs: 10_000, idleInTransactionMs: 60_000 } });
  pool = poolOf(2, 30_000);
  reads = poolOf(2, READ_MS);
  const prisma = createPrisma(reads);
  registry = aRegistry(db, { reads: prisma, pool });
  await registry.start();
  const { keys, agents, services, ownership, catalogue } = registry;
  app = await startApp({ env: { DEMO_MODE: 'true', ADMIN_SECRET: adminSecret },
    deps: { pool, reads, prisma, keys, agents, services, ownership, catalogue } });
  ada = await anAgent(registry);
});
afterAll(async () => {
  await app.close();
  await registry.stop();
  await Promise.all([pool.end(), reads.end()]);
  await db.close();
});
beforeEach(async () => {
  blocker = await db.pool.connect();
  await blocker.query('BEGIN');
});
afterEach(async () => {
  await blocker.query('ROLLBACK');
  blocker.release();
});

const lock = (table: string) => blocker.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
const ask = (path: string): Promise<Reply> => askAt(app.baseUrl + path.replace(':ada', ada.address), 'GET', { adminSecret });
const deposit = () => askAt(`${app.baseUrl}/v1/admin/deposits`, 'POST',
  { adminSecret, body: { agentAddress: ada.address, amount: '1.00', txHash: anAddress() } });

const tooLong = {
  status: 503,
  body: { error: 'unavailable', message: 'The database took too long over this, and gave it up.', funds_status: 'no_change',
    recovery: expect.stringContaining('Ask again in a moment') },
};

describe('a read that takes too long', () => {
  test.each([
    ['agent', '/v1/agents'], ['agent', '/v1/agents/:ada'], ['service', '/v1/services'], ['agent_stats', '/v1/reputation'],
    ['agent_stats', '/v1/network/stats'], ['posting', '/v1/feed'], ['posting', '/v1/agents/:ada/ledger'],
    ['account', '/v1/agents/:ada/balance'], ['gateway_call', '/v1/payments/call_000000000000000000000000'],
  ])('because %s is locked is answered 503 with a sentence: GET %s', async (table, path) => {
    await lock(table);
    const reply = await ask(path);
    expect(reply).toMatchObject(tooLong);
    expect(reply.headers.get('retry-after')).toBe('1');
  });
});

test('a crowd of slow reads, more than there are connections for them, does not delay money', async () => {
  await lock('agent_stats');
  const crowd = Promise.all(Array.from({ length: 12 }, () => ask('/v1/reputation')));
  await sleep(50);
  const startedAt = performance.now();
  expect((await deposit()).status).toBe(201);
  expect((await deposit()).status).toBe(201);
  expect(performance.now() - startedAt).toBeLessThan(READ_MS - 100);
  const replies = await crowd;
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([503]));
  await blocker.query('ROLLBACK');
  expect((await ask('/v1/reputation')).status).toBe(200);
});

test('proof of the books may take longer than other reads', async () => {
  await lock('account');
  const proof = ask('/v1/admin/reconcile');
  await sleep(READ_MS * 2);
  await blocker.query('ROLLBACK');
  expect(await proof).toMatchObject({ status: 200, body: { ok: true } });
});
