/** `prisma/schema.prisma` describes the database that the migrations make. Nobody generates one from the other, so they are compared. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { createTestDatabase, type TestDatabase } from './support/database.ts';

interface Column {
  /** As Postgres calls it, `[]` behind it for a list. */
  readonly type: string;
  readonly nullable: boolean;
}
type Tables = Record<string, Record<string, Column>>;

const sqlTypes: Readonly<Record<string, string>> = { String: 'text', Int: 'int4', BigInt: 'int8', Float: 'float8', Boolean: 'bool',
  DateTime: 'timestamptz', Json: 'jsonb', Bytes: 'bytea' };

/** Tables and columns of a Prisma schema; relations are not columns. */
function tablesOf(schema: string): Tables {
  const tables: Tables = {};
  const models = [...schema.matchAll(/^model (\w+) \{\n([\s\S]*?)^\}/gm)];
  for (const [, model = '', body = ''] of models) {
    const columns: Record<string, Column> = {};
    for (const [, field = '', type = '', list, optional, rest = ''] of body.matchAll(/^ {2}(\w+) +(\w+)(\[\])?(\?)?(.*)$/gm)) {
      const sqlType = sqlTypes[type];
      if (sqlType === undefined) continue;
      columns[/@map\("(\w+)"\)/.exec(rest)?.[1] ?? field] = { type: sqlType + (list ?? ''), nullable: optional === '?' };
    }
    tables[/@@map\("(\w+)"\)/.exec(body)?.[1] ?? model] = columns;
  }
  return tables;
}

/** Tables and columns as they are in the database. */
async function tablesIn(pool: pg.Pool): Promise<Tables> {
  const { rows } = await pool.query<{ table_name: string; column_name: string; udt_name: string; is_nullable: string }>(
    `SELECT table_name, column_name, udt_name, is_nullable FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name NOT IN ('_prisma_migrations', '_surety_functions') AND is_generated = 'NEVER'`,
  );
  const tables: Tables = {};
  for (const { table_name: table, column_name: column, udt_name: type, is_nullable: nullable } of rows) {
    (tables[table] ??= {})[column] = { type: type.startsWith('_') ? `${type.slice(1)}[]` : type, nullable: nullable === 'YES' };
  }
  return tables;
}

describe('the Prisma schema', () => {
  let database: TestDatabase;
  let actual: Tables;
  const described = tablesOf(readFileSync(fileURLToPath(new URL('../prisma/schema.prisma', import.meta.url)), 'utf8'));
  beforeAll(async () => {
    database = await createTestDatabase();
    actual = await tablesIn(database.pool);
  });
  afterAll(() => database.close());

  test('has every table of the database, and no other', () => {
    expect(Object.keys(described).length).toBeGreaterThan(10);
    expect(Object.keys(described).sort()).toEqual(Object.keys(actual).sort());
  });

  test.each(Object.keys(described))('%s has the columns the database has, of the same type, and empty where it may be', (table) => {
    expect(described[table]).toEqual(actual[table]);
  });

  test('is compared, not waved through', () => {
    const table = tablesOf(
      'model Thing {\n  id String @id\n  note String? @map("a_note") @db.Text\n  tags String[]\n  '
        + 'other Other @relation(fields: [id], references: [id])\n\n  @@map("thing")\n}\n');
    expect(table).toEqual(
      { thing: { id: { type: 'text', nullable: false }, a_note: { type: 'text', nullable: true },
      tags: { type: 'text[]', nullable: false } } });
  });
});
