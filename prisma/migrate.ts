/**
 * Brings a database to today's schema: applies `prisma/migrations/<name>/migration.sql` in order, each once, recorded in
 * `_prisma_migrations` as `prisma migrate deploy` would; then the SQL functions that have changed (sql-functions.ts). Done here because
 * Prisma's schema engine is a download that not every machine can reach.
 *
 * A migration runs in one transaction, unless its first line is the comment `-- non-transactional`: then its statements, each of which
 * ends with `;` at the end of a line, are sent one by one (`CREATE INDEX CONCURRENTLY`). Such a migration runs again from its start when it
 * failed half-way, so it first removes what an earlier try may have left (`DROP INDEX CONCURRENTLY IF EXISTS`).
 */
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { applyFunctions } from './sql-functions.ts';

/** Any number, as long as every process that migrates uses the same: one migrates, the others wait. */
const MIGRATION_LOCK = 7_239_401;
const ADVISORY_LOCK_POLL_MS = 100;
const LOCK_RETRY_PAUSE_MS = 1_000;
const LOCK_NOT_AVAILABLE = '55P03';

const historyTable = `
CREATE TABLE IF NOT EXISTS _prisma_migrations (
  id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
  logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0
)`;

/** What tests choose otherwise. */
export interface MigrateOptions {
  /** Holds the folders `migrations` and `functions`. */
  readonly directory?: string;
  /** Longest wait for a table that somebody else uses. Short, because whoever wants that table after us waits behind us. */
  readonly lockTimeoutMs?: number;
  /** How often a wait that was too long is begun anew. */
  readonly attemptsMax?: number;
}

interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/** A session that has the advisory lock, and what it needs to know. */
interface Migrator extends Required<MigrateOptions> {
  readonly client: pg.Client;
}

/**
 * Brings the database up to date. Safe to call from several processes at once.
 * @returns the names of the migrations and of the function files that were applied now, in order.
 * @throws when a migration that was applied before has been edited since, and when one fails or finds no way past somebody's lock.
 */
export async function migrate(databaseUrl: string, options: MigrateOptions = {}): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'surety-migrate' });
  const { directory = fileURLToPath(new URL('.', import.meta.url)), lockTimeoutMs = 3_000, attemptsMax = 10 } = options;
  const migrator: Migrator = { client, directory, lockTimeoutMs, attemptsMax };
  await client.connect();
  try {
    await takeTurn(client);
    await client.query(historyTable);
    const migrations = await readMigrations(path.join(directory, 'migrations'));
    const recorded = await recordedChecksums(client);
    const applied: string[] = [];
    for (const migration of migrations.filter((one) => isDue(one, recorded))) {
      await pastLocks(migrator, `Migration ${migration.name}`, () => applyOne(migrator, migration));
      applied.push(migration.name);
    }
    // A database that knows more migrations than we do belongs to a later release, and so do its functions: we are the old process of a
    // change that is under way, or a rollback, and must not put back what the new processes call.
    const names = new Set(migrations.map(({ name }) => name));
    if ([...recorded.keys()].some((name) => !names.has(name))) return applied;
    const apply = (): Promise<string[]> => inTransaction(client, () => applyFunctions(client, path.join(directory, 'functions')));
    const functions = await pastLocks(migrator, 'The SQL functions', apply);
    return [...applied, ...functions.map((name) => `functions/${name}`)];
  } finally {
    await client.end();
  }
}

/**
 * Waits until nobody else migrates. Asked again and again instead of waiting in Postgres: `CREATE INDEX CONCURRENTLY` waits for every
 * statement that is under way, that of a second migrator waiting for the first included.
 */
async function takeTurn(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ ours: boolean }>('SELECT pg_try_advisory_lock($1) AS ours', [MIGRATION_LOCK]);
    if (rows[0]?.ours === true) return;
    await delay(ADVISORY_LOCK_POLL_MS);
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(names.sort().map(async (name) => {
    const sql = await readFile(path.join(folder, name, 'migration.sql'), 'utf8');
    return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
  }));
}

async function recordedChecksums(client: pg.Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ migration_name: string; checksum: string }>(
    'SELECT migration_name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
  );
  return new Map(rows.map((row) => [row.migration_name, row.checksum]));
}

function isDue({ name, checksum }: Migration, recorded: ReadonlyMap<string, string>): boolean {
  const known = recorded.get(name);
  if (known !== undefined && known !== checksum) {
    throw new Error(
      `Migration ${name} is not the one that this database was made with: the database is of an earlier, unreleased version, ` +
      'or the file was edited. Start with an empty database (an empty DATA_DIR, or a new database in DATABASE_URL), ' +
      'or put the file back and write a new migration.',
    );
  }
  return known === undefined;
}

async function applyOne({ client, lockTimeoutMs }: Migrator, { name, sql, checksum }: Migration): Promise<void> {
  const record = (): Promise<unknown> => client.query(
    'INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) VALUES ($1, $2, $3, now(), 1)',
    [randomUUID(), checksum, name],
  );
  if (!/^-- non-transactional\b/.test(sql)) {
    await inTransaction(client, async () => {
      await client.query(sql);
      await record();
    });
    return;
  }
  // Such statements stand in nobody's way while they wait for long transactions, so they may wait.
  await client.query('SET lock_timeout = 0');
  for (const statement of sql.split(/;[ \t]*$/m)) await client.query(statement);
  await client.query(`SET lock_timeout = ${lockTimeoutMs}`);
  await record();
}

async function inTransaction<T>(client: pg.Client, run: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await run();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

/** Runs it with a limit on waits for locks, and again when a wait was too long. Errors get the name of what failed. */
async function pastLocks<T>({ client, lockTimeoutMs, attemptsMax }: Migrator, what: string, run: () => Promise<T>): Promise<T> {
  await client.query(`SET lock_timeout = ${lockTimeoutMs}`);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      if (code !== LOCK_NOT_AVAILABLE) throw new Error(`${what} failed: ${message}`, { cause: error });
      if (attempt === attemptsMax) {
        throw new Error(
          `${what} waited ${attemptsMax} times ${lockTimeoutMs} ms for a table that another transaction uses, and changed nothing. ` +
          'pg_stat_activity and pg_locks show whose it is; end it or let it end, and start again.', { cause: error });
      }
      await delay(LOCK_RETRY_PAUSE_MS);
    }
  }
}
