import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createPrisma, type Db } from '../../prisma/client.ts';
import { testServers, withDatabase } from './servers.ts';

export interface TestDatabase {
  readonly url: string;
  readonly pool: pg.Pool;
  readonly prisma: Db;
  /** Ends the connections and drops the database. */
  close(): Promise<void>;
}

/**
 * A fresh, migrated database that nobody else uses. Make one in `beforeAll`, close it in `afterAll`.
 * @param connectionsMax of the pool.
 */
export async function createTestDatabase(connectionsMax = 10): Promise<TestDatabase> {
  const { databaseUrl, template } = testServers();
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(databaseUrl, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  const url = withDatabase(databaseUrl, name);
  const pool = new pg.Pool({ connectionString: url, max: connectionsMax });
  // A test may kill connections on purpose; an idle one that breaks must not end the test process.
  pool.on('error', () => undefined);
  const prisma = createPrisma(pool);
  return {
    url,
    pool,
    prisma,
    close: async () => {
      await prisma.$disconnect();
      await pool.end();
      await administer(databaseUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

async function administer(databaseUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
