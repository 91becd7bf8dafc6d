import pg from 'pg';
import type { Logger } from '../platform/log.ts';

/** What a pool needs to know; times in milliseconds. */
export interface PoolOptions {
  readonly databaseUrl: string;
  readonly connectionsMax: number;
  readonly statementTimeoutMs: number;
  /** Shown by Postgres in pg_stat_activity. */
  readonly name: string;
  readonly log: Logger;
}

/** The connections money moves through. One pool a process. */
export function createPool({ databaseUrl, connectionsMax, statementTimeoutMs, name, log }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl, max: connectionsMax, statement_timeout: statementTimeoutMs, application_name: name, keepAlive: true, connectionTimeoutMillis: 10_000,
  });
  // A connection that breaks while nobody uses it is replaced at the next query; without a listener it would end the process.
  pool.on('error', (error) => log.warn({ err: error }, 'An idle database connection broke.'));
  return pool;
}
