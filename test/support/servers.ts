/** The one Postgres and the one Temporal that a run of the tests shares. Started by test/run.ts, or kept up by `npm run test:servers`. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrate } from '../../prisma/migrate.ts';
import { startStack } from '../../temporal/stack.ts';

export interface TestServers {
  /** Of the maintenance database; each test file gets a database of its own. */
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  /** Migrated database that test databases are copies of. */
  readonly template: string;
}

const VARIABLE = 'SURETY_TEST_SERVERS';
const prismaDir = fileURLToPath(new URL('../../prisma', import.meta.url));
/** Written by `npm run test:servers`. */
export const keptServersFile = fileURLToPath(new URL('../../.surety-test/servers.json', import.meta.url));

/** Environment for a process that runs tests on these servers. */
export function serversEnvironment(servers: TestServers): Record<string, string> {
  return { [VARIABLE]: JSON.stringify(servers) };
}

/** The servers of this run. */
export function testServers(): TestServers {
  const text = process.env[VARIABLE];
  if (text === undefined) throw new Error('The test servers are not running; start tests with `npm test -- <path>`.');
  return JSON.parse(text) as TestServers;
}

/** Starts both servers in a directory of their own, which is removed afterwards. */
export async function startTestServers(notice: (sentence: string) => void): Promise<{ servers: TestServers; stop(): Promise<void> }> {
  const directory = mkdtempSync(path.join(tmpdir(), 'surety-test-'));
  const stack = await startStack({
    env: { DATA_DIR: directory, TEMPORAL_NAMESPACE: 'default', TEMPORAL_CLI: process.env['TEMPORAL_CLI'],
      CACHE_DIR: process.env['CACHE_DIR'] },
    notice,
    // What a test writes need not outlive the machine; waiting for the disk would be half of the suite's time.
    postgresOverrides: { fsync: 'off', full_page_writes: 'off', max_connections: '400' },
  });
  const stop = async (): Promise<void> => {
    await stack.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  const databaseUrl = withDatabase(stack.databaseUrl, 'postgres');
  try {
    return { servers: { databaseUrl, temporalAddress: stack.temporalAddress, template: await makeTemplate(databaseUrl) }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Makes the migrated template unless there is one for exactly today's migrations and functions. */
export async function makeTemplate(databaseUrl: string): Promise<string> {
  const template = `template_${migrationsHash()}`;
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock(55001)');
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [template]);
    if (rowCount === 0) {
      // Renamed when complete, so that nobody copies half of it.
      await client.query(`DROP DATABASE IF EXISTS ${template}_making WITH (FORCE)`);
      await client.query(`CREATE DATABASE ${template}_making`);
      await migrate(withDatabase(databaseUrl, `${template}_making`));
      await client.query(`ALTER DATABASE ${template}_making RENAME TO ${template}`);
    }
    return template;
  } finally {
    await client.end();
  }
}

/** The same server, another database. */
export function withDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.toString();
}

function migrationsHash(): string {
  const hash = createHash('sha256');
  for (const folder of ['migrations', 'functions']) {
    const names = readdirSync(path.join(prismaDir, folder), { recursive: true, encoding: 'utf8' });
    for (const name of names.filter((one) => one.endsWith('.sql')).sort()) {
      hash.update(name).update(readFileSync(path.join(prismaDir, folder, name)));
    }
  }
  return hash.digest('hex').slice(0, 12);
}
