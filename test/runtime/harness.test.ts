import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { connectTestTemporal, type TestTemporal } from '../support/temporal.ts';

let database: TestDatabase;
let temporal: TestTemporal;

beforeAll(async () => {
  [database, temporal] = await Promise.all([createTestDatabase(), connectTestTemporal()]);
});
afterAll(async () => {
  await Promise.all([database.close(), temporal.close()]);
});

test('a test database is migrated and empty', async () => {
  const { rows } = await database.pool.query<{ n: number }>('SELECT count(*)::int AS n FROM _prisma_migrations');
  expect(rows[0]?.n).toBeGreaterThan(0);
  expect(await database.prisma.agent.count()).toBe(0);
});

test('two test databases do not see each other', async () => {
  const other = await createTestDatabase();
  await other.pool.query('CREATE TABLE only_here (n int)');
  await expect(database.pool.query('SELECT * FROM only_here')).rejects.toThrow('does not exist');
  await other.close();
});

test('the test Temporal answers searches by our attributes', async () => {
  const { count } = await temporal.client.workflow.count("Buyer = '0x1' AND AmountUsd > 5");
  expect(count).toBe(0);
});
