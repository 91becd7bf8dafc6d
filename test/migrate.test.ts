/** How a database is brought to today's schema: migrations once and in order, SQL functions whenever their text has changed. */
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrate, type MigrateOptions } from '../prisma/migrate.ts';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
import { testServers, withDatabase } from './support/servers.ts';

const prismaDir = fileURLToPath(new URL('../prisma', import.meta.url));

/** A `prisma` folder and a database of its own; `put` writes a file below the folder. */
interface Bench {
  readonly directory: string;
  readonly url: string;
  readonly pool: pg.Pool;
  put(file: string, sql: string): void;
  remove(file: string): void;
  run(options?: MigrateOptions): Promise<string[]>;
  ask(sql: string): Promise<unknown>;
}

const benches: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of benches) await close();
});

async function aBench(): Promise<Bench> {
  const directory = mkdtempSync(path.join(tmpdir(), 'surety-migrate-'));
  for (const folder of ['migrations', 'functions']) mkdirSync(path.join(directory, folder));
  const name = `migrate_${randomBytes(6).toString('hex')}`;
  const { databaseUrl } = testServers();
  const admin = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  await admin.query(`CREATE DATABASE ${name}`);
  const url = withDatabase(databaseUrl, name);
  const pool = new pg.Pool({ connectionString: url, max: 3 });
  pool.on('error', () => undefined);
  benches.push(async () => {
    await pool.end();
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.end();
    rmSync(directory, { recursive: true });
  });
  return {
    directory, url, pool,
    put(file, sql) {
      mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      writeFileSync(path.join(directory, file), sql);
    },
    remove: (file) => rmSync(path.join(directory, file), { recursive: true }),
    run: (options) => migrate(url, { directory, ...options }),
    ask: async (sql) => Object.values((await pool.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0],
  };
}

const migration = (name: string): string => `migrations/${name}/migration.sql`;
const doubles = (body: string, { returns = 'integer', settings = '' } = {}): string =>
  `CREATE OR REPLACE FUNCTION doubled(p integer) RETURNS ${returns} LANGUAGE sql ${settings} AS $$ SELECT ${body}; $$;\n`;

describe('SQL functions', () => {
  test('are applied after the migrations, and again only when their text has changed', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer, size integer);');
    bench.put('functions/a.sql', '-- Calls what comes later.\n'
      + 'CREATE OR REPLACE FUNCTION largest() RETURNS integer LANGUAGE sql AS $$ SELECT doubled(max(size)) FROM thing; $$;\n');
    bench.put('functions/b.sql', doubles('p * 2'));
    expect(await bench.run()).toEqual(['1_thing', 'functions/a.sql', 'functions/b.sql']);
    expect(await bench.run()).toEqual([]);
    await bench.pool.query('INSERT INTO thing VALUES (1, 21)');
    expect(await bench.ask('SELECT largest()')).toBe(42);

    bench.put('functions/b.sql', doubles('p * 20'));
    expect(await bench.run()).toEqual(['functions/b.sql']);
    expect(await bench.ask('SELECT largest()')).toBe(420);
  });

  test('keep their planner settings when they are applied again', async () => {
    const bench = await aBench();
    const settings = 'SET plan_cache_mode = force_generic_plan SET enable_seqscan = off';
    bench.put('functions/a.sql', doubles('p * 2', { settings }));
    await bench.run();
    bench.put('functions/a.sql', doubles('p + p', { settings }));
    await bench.run();
    const kept = await bench.ask(`SELECT proconfig FROM pg_proc WHERE proname = 'doubled'`);
    expect(kept).toEqual(['plan_cache_mode=force_generic_plan', 'enable_seqscan=off']);
  });

  test('that have left the files leave the database, with their file as well', async () => {
    const bench = await aBench();
    const tripled = 'CREATE OR REPLACE FUNCTION tripled(p integer) RETURNS integer LANGUAGE sql AS $$ SELECT p * 3; $$;\n';
    bench.put('functions/a.sql', `${doubles('p * 2')}${tripled}`);
    bench.put('functions/b.sql', 'CREATE OR REPLACE PROCEDURE tidy_up() LANGUAGE plpgsql AS $$ BEGIN END $$;\n');
    await bench.run();
    bench.put('functions/a.sql', doubles('p * 2'));
    bench.remove('functions/b.sql');
    await bench.run();
    const { rows } = await bench.pool.query<{ proname: string }>(`SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace`);
    expect(rows).toEqual([{ proname: 'doubled' }]);
    expect(await bench.run()).toEqual([]);
  });

  test('may move to another file', async () => {
    const bench = await aBench();
    bench.put('functions/b.sql', doubles('p * 2'));
    await bench.run();
    bench.remove('functions/b.sql');
    bench.put('functions/a.sql', doubles('p * 2'));
    expect(await bench.run()).toEqual(['functions/a.sql']);
    expect(await bench.ask('SELECT doubled(4)')).toBe(8);
  });

  test('may change what they return and what they take, also under a connection that has called them', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer, size integer); INSERT INTO thing VALUES (1, 5);');
    const find = (columns: string, fields: string, parameters = 'p integer'): string =>
      `CREATE OR REPLACE FUNCTION find(${parameters}) RETURNS TABLE (${columns}) LANGUAGE plpgsql AS $$\n`
      + `BEGIN\n  RETURN QUERY SELECT ${fields} FROM thing t WHERE t.id = p;\nEND $$;\n`;
    bench.put('functions/a.sql', find('found thing, nth integer', 't, 1'));
    await bench.run();
    const client = await bench.pool.connect();
    const found = async (): Promise<unknown> => (await client.query({ name: 'find', text: 'SELECT (f.found).size FROM find(1) f' })).rows;
    try {
      expect(await found()).toEqual([{ size: 5 }]);
      bench.put('functions/a.sql', find('found thing, note text', `t, 'new'::text`));
      await bench.run();
      expect(await found()).toEqual([{ size: 5 }]);
      expect((await client.query('SELECT note FROM find(1)')).rows).toEqual([{ note: 'new' }]);
      bench.put('functions/a.sql', find('nth integer, found thing', '1, t', 'p bigint, p_unused text DEFAULT NULL'));
      await bench.run();
      expect(await found()).toEqual([{ size: 5 }]);
      // A column that arrives later is in the row type at once.
      bench.put(migration('2_more'), `ALTER TABLE thing ADD COLUMN colour text DEFAULT 'red';`);
      await bench.run();
      expect(await found()).toEqual([{ size: 5 }]);
      expect((await client.query('SELECT (f.found).colour FROM find(1) f')).rows).toEqual([{ colour: 'red' }]);
    } finally {
      client.release();
    }
  });

  test('of triggers change and the triggers stay; when one goes, its triggers go', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer);');
    const guard = (sentence: string): string => 'CREATE OR REPLACE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$\n'
      + `BEGIN\n  RAISE EXCEPTION '${sentence}';\nEND $$;\n`
      + 'CREATE OR REPLACE TRIGGER guarded BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION guard();\n';
    bench.put('functions/triggers.sql', guard('No.'));
    await bench.run();
    await expect(bench.pool.query('INSERT INTO thing VALUES (1)')).rejects.toThrow('No.');
    bench.put('functions/triggers.sql', guard('Never.'));
    await bench.run();
    await expect(bench.pool.query('INSERT INTO thing VALUES (1)')).rejects.toThrow('Never.');
    bench.put('functions/triggers.sql', '-- Nothing is guarded any more.\n');
    await bench.run();
    await bench.pool.query('INSERT INTO thing VALUES (1)');
  });

  test('that went with a dropped table come back although their file has not changed', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer);');
    bench.put('functions/a.sql', 'CREATE OR REPLACE FUNCTION id_of(t thing) RETURNS integer LANGUAGE sql AS $$ SELECT t.id; $$;\n');
    await bench.run();
    bench.put(migration('2_anew'), 'DROP TABLE thing CASCADE;\n'
      + 'CREATE TABLE thing (id integer, size integer); INSERT INTO thing VALUES (7, 1);');
    expect(await bench.run()).toEqual(['2_anew', 'functions/a.sql']);
    expect(await bench.ask('SELECT id_of(t) FROM thing t')).toBe(7);
  });

  test('of an earlier release are not put back by its process when the database has moved on', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer);');
    bench.put(migration('2_more'), 'ALTER TABLE thing ADD COLUMN size integer;');
    bench.put('functions/a.sql', doubles('p * 2'));
    await bench.run();
    bench.remove('migrations/2_more');
    bench.put('functions/a.sql', doubles('p * 1'));
    expect(await bench.run()).toEqual([]);
    expect(await bench.ask('SELECT doubled(4)')).toBe(8);
  });

  test('change all together or not at all', async () => {
    const bench = await aBench();
    bench.put('functions/a.sql', doubles('p * 2'));
    await bench.run();
    bench.put('functions/a.sql', doubles('p * 3'));
    bench.put('functions/b.sql', 'CREATE OR REPLACE FUNCTION broken( RETURNS integer LANGUAGE sql AS $$ SELECT 1; $$;\n');
    await expect(bench.run()).rejects.toThrow(/The SQL functions failed: b\.sql: syntax error/);
    expect(await bench.ask('SELECT doubled(4)')).toBe(8);
  });

  test.each([
    ['CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS $$ SELECT 1; $$;', /begins a line with CREATE OR REPLACE FUNCTION/],
    [`CREATE OR REPLACE FUNCTION f() RETURNS integer LANGUAGE sql RETURN 1;`, /has its body between AS \$\$ and \$\$/],
    [`${doubles('1')}`, /doubled is in another file as well/],
  ])('are refused in a form that would not be understood: %s', async (sql, sentence) => {
    const bench = await aBench();
    bench.put('functions/a.sql', doubles('p * 2'));
    bench.put('functions/b.sql', sql);
    await expect(bench.run()).rejects.toThrow(sentence);
  });
});

describe('migrations', () => {
  test('of several processes at once are applied once, one that is not transactional among them', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer); INSERT INTO thing VALUES (1);');
    bench.put(migration('2_index'), '-- non-transactional\nDROP INDEX CONCURRENTLY IF EXISTS thing_by_id;\n'
      + 'CREATE INDEX CONCURRENTLY thing_by_id ON thing (id);\n-- The end.\n');
    bench.put('functions/a.sql', doubles('p * 2'));
    const runs = await Promise.all(Array.from({ length: 5 }, () => bench.run()));
    expect(runs.filter((applied) => applied.length > 0)).toEqual([['1_thing', '2_index', 'functions/a.sql']]);
    expect(await bench.ask(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'thing_by_id'::regclass`)).toBe(true);
  });

  test('that are not transactional and failed half-way run again from their start', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer); INSERT INTO thing VALUES (1), (1);');
    bench.put(migration('2_index'), '-- non-transactional\nDROP INDEX CONCURRENTLY IF EXISTS thing_once;\n'
      + 'CREATE UNIQUE INDEX CONCURRENTLY thing_once ON thing (id);\n');
    await expect(bench.run()).rejects.toThrow(/Migration 2_index failed: could not create unique index/);
    await bench.pool.query('TRUNCATE thing');
    expect(await bench.run()).toEqual(['2_index']);
    expect(await bench.ask(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'thing_once'::regclass`)).toBe(true);
  });

  test('wait for a busy table only a moment, begin again, and then say what is in the way', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer);');
    await bench.run();
    bench.put(migration('2_more'), 'ALTER TABLE thing ADD COLUMN size integer;');
    const busy = await bench.pool.connect();
    await busy.query('BEGIN');
    await busy.query('SELECT 1 FROM thing');
    await expect(bench.run({ lockTimeoutMs: 50, attemptsMax: 2 })).rejects.toThrow(
      /Migration 2_more waited 2 times 50 ms for a table that another transaction uses, and changed nothing\./,
    );
    const patient = bench.run({ lockTimeoutMs: 50 });
    await busy.query('COMMIT');
    busy.release();
    expect(await patient).toEqual(['2_more']);
  });

  test('that are not those of the database say what to do', async () => {
    const bench = await aBench();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id integer);');
    await bench.run();
    bench.put(migration('1_thing'), 'CREATE TABLE thing (id bigint);');
    await expect(bench.run()).rejects.toThrow(
      /Migration 1_thing is not the one .* Start with an empty database \(an empty DATA_DIR, or a new database in DATABASE_URL\)/,
    );
  });
});

describe('the functions of this product', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());
  const functionFiles = readdirSync(path.join(prismaDir, 'functions')).sort();
  const text = (file: string): string => readFileSync(path.join(prismaDir, file), 'utf8');
  const settings = async (): Promise<unknown> =>
    (await database.pool.query(`SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1`)).rows;

  test('are all in prisma/functions, in files of less than 300 lines, and none is in a migration', () => {
    expect(functionFiles.filter((name) => text(`functions/${name}`).split('\n').length > 300)).toEqual([]);
    const migrations = readdirSync(path.join(prismaDir, 'migrations')).map(migration);
    expect(migrations.filter((file) => /\b(FUNCTION|PROCEDURE)\b/.test(text(file)))).toEqual([]);
  });

  test('that have one planner setting have all four, and lose none when every file is applied again', async () => {
    const before = await settings();
    const { rows } = await database.pool.query<{ proconfig: string[] }>(
      `SELECT DISTINCT proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proconfig IS NOT NULL`,
    );
    const four = ['plan_cache_mode=force_generic_plan', 'enable_seqscan=off', 'enable_hashjoin=off', 'enable_mergejoin=off'];
    expect(rows.map(({ proconfig }) => proconfig).sort((a, b) => a.length - b.length)).toEqual([four, [...four, 'lock_timeout=2s']]);
    const directory = mkdtempSync(path.join(tmpdir(), 'surety-migrate-'));
    try {
      cpSync(path.join(prismaDir, 'migrations'), path.join(directory, 'migrations'), { recursive: true });
      cpSync(path.join(prismaDir, 'functions'), path.join(directory, 'functions'), { recursive: true });
      for (const name of functionFiles) writeFileSync(path.join(directory, 'functions', name), `-- Touched.\n${text(`functions/${name}`)}`);
      expect(await migrate(database.url, { directory })).toEqual(functionFiles.map((name) => `functions/${name}`));
    } finally {
      rmSync(directory, { recursive: true });
    }
    expect(await settings()).toEqual(before);
  });
});
