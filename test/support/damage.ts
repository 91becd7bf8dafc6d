/** Damage to the books, for tests of the audit: rows are broken by hand, the audit looks, and nothing has happened. */
import type pg from 'pg';
import { auditBooks, type Finding } from '../../ledger/audit.ts';
import type { TestDatabase } from './database.ts';

export interface Breakable {
  readonly db: () => TestDatabase;
  /** Rows by the names that the damage calls them by: `:open` stands for the id of `open`. */
  readonly ids: Readonly<Record<string, string>>;
  /** Tables whose own rules would refuse some of the damage. */
  readonly unchecked: readonly string[];
}

/**
 * Makes the question of an audit test: what is found after this damage? Statements are separated by semicolons and run in a transaction
 * that never ends well, without triggers, foreign keys, and the checks of the tables named.
 */
export function createDamage({ db, ids, unchecked }: Breakable): (damage: string, overdueMs?: number) => Promise<Finding[]> {
  const filled = (sql: string): string => sql.replace(/(?<!:):([a-z]\w*)/g, (_all, name: string) => {
    const id = ids[name];
    if (id === undefined || id === '') throw new Error(`No row is called ${name}.`);
    return `'${id}'`;
  });
  return async (damage, overdueMs) => {
    const client = await db().pool.connect();
    try {
      await client.query('BEGIN');
      await client.query('SET LOCAL session_replication_role = replica');
      for (const table of unchecked) await dropChecks(client, table);
      for (const statement of damage.split(';')) await client.query(filled(statement));
      return [...(await auditBooks(insideOf(client), overdueMs === undefined ? {} : { overdueMs })).findings];
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  };
}

async function dropChecks(client: pg.PoolClient, table: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT conname AS name FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'`, [table]);
  for (const { name } of rows) await client.query(`ALTER TABLE ${table} DROP CONSTRAINT ${name}`);
}

/** The audit brings its own transaction; here it must look into ours. */
function insideOf(client: pg.PoolClient): pg.Pool {
  const query = (text: string, values?: string[]) =>
    (/^(BEGIN|COMMIT|ROLLBACK|SET)/.test(text) ? Promise.resolve({ rows: [] }) : client.query(text, values));
  return { connect: () => Promise.resolve({ query, release: () => undefined }) } as never;
}
