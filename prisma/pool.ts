import pg from 'pg';
import type { Logger } from '../platform/log.ts';

/**
 * How long things may take that somebody else may have to wait for; in milliseconds. Set on every connection, because only an embedded
 * server could be told once for all: a wait without end on a server of the operator's own would hold its locks without end.
 */
export interface ConnectionTimeouts {
  readonly statementMs: number;
  /** Of one wait for a lock; shorter than a statement, so that the error says which of the two it was. */
  readonly lockMs: number;
  /** Of a transaction in which nothing happens; then Postgres ends the connection. */
  readonly idleInTransactionMs: number;
}

const CONNECT_MS = 10_000;

/** What a pool needs to know. */
export interface PoolOptions {
  readonly databaseUrl: string;
  readonly connectionsMax: number;
  /** How long to wait for a connection that is free, or that must be made; in milliseconds. */
  readonly connectMs?: number;
  readonly timeouts: ConnectionTimeouts;
  /** Shown by Postgres in pg_stat_activity. */
  readonly name: string;
  readonly log: Logger;
}

/** The timeouts as `pg` takes them. */
function timeoutSettings({ statementMs, lockMs, idleInTransactionMs }: ConnectionTimeouts): pg.ClientConfig {
  return { statement_timeout: statementMs, lock_timeout: lockMs, idle_in_transaction_session_timeout: idleInTransactionMs };
}

/**
 * A pool of connections. A process has one through which money moves, one for reads and one for changes of the registry, so that no crowd
 * of one sort takes the connections of another.
 */
export function createPool({ databaseUrl, connectionsMax, connectMs = CONNECT_MS, timeouts, name, log }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    ...timeoutSettings(timeouts), connectionString: databaseUrl, max: connectionsMax, application_name: name, keepAlive: true,
    connectionTimeoutMillis: connectMs,
  });
  // A connection that breaks while nobody uses it is replaced at the next query; without a listener it would end the process.
  pool.on('error', (error) => log.warn({ err: error }, 'An idle database connection broke.'));
  // The same for one that breaks while somebody uses it: the statement under way fails, which is all that its user needs to know.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
