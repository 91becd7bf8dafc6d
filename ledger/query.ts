/**
 * The one way in which a single statement about money reaches Postgres. `pool.query` closes the connection of every statement that
 * failed, refusals included: sixty escrows without money behind them cost as many new database sessions, each far dearer than the
 * refusal. Here a connection is closed only when it is of no more use.
 */
import pg from 'pg';
import { spoilsConnection } from '../platform/connection-loss.ts';
import { translateSqlError } from './sql-errors.ts';

/** A statement; with a name it is planned once for each connection. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/** A pool, or the connection of a transaction, whose end is then up to whoever began it. */
export type Database = pg.Pool | pg.ClientBase;

/**
 * Runs one statement, in a transaction of its own when `db` is a pool.
 * @throws SuretyError with the code that SQL raised, `unavailable` when the database cannot be reached or somebody else was in the way for
 *   too long; anything else as it was.
 */
export async function query<Row extends pg.QueryResultRow>(db: Database, { name, text, values }: Statement): Promise<Row[]> {
  const config = { name, text, values: values as unknown[] | undefined };
  try {
    if (!(db instanceof pg.Pool)) return (await db.query<Row>(config)).rows;
    return await onOwnConnection(db, async (client) => (await client.query<Row>(config)).rows);
  } catch (error) {
    throw translateSqlError(error);
  }
}

async function onOwnConnection<T>(pool: pg.Pool, run: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks says so by an event as well; without a listener that would end the process. The statement fails by itself.
  const heard = (): void => undefined;
  client.on('error', heard);
  let spoilt = false;
  try {
    return await run(client);
  } catch (error) {
    spoilt = spoilsConnection(error);
    throw error;
  } finally {
    client.off('error', heard);
    client.release(spoilt);
  }
}

/**
 * The list of columns for a statement with a name. Never `*`: once a migration has added a column, each connection that had prepared the
 * statement would fail with "cached plan must not change result type".
 * @param of where they are, such as `c` or `(r.escrow)`.
 */
export function columnList(names: readonly string[], of = ''): string {
  return names.map((name) => (of === '' ? name : `${of}.${name}`)).join(', ');
}
