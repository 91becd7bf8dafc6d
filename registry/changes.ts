/**
 * Notifies this process when another one has changed who exists. Postgres notifies on the channel `registry_changed` with the name of
 * the table (triggers in the first migration); one connection a process listens, and everybody who caches registry rows subscribes.
 *
 * A pgbouncer in transaction mode swallows LISTEN: give `databaseUrl` of Postgres itself then. Until the listener lives, `isLive`
 * says no, and caches must not trust themselves for longer than they can afford.
 */
import pg from 'pg';
import type { Logger } from '../platform/log.ts';

/** The table that changed, or `everything` when notifications may have been missed. */
export type RegistryChange = 'agent' | 'service' | 'agent_stats' | 'api_key' | 'everything';
export type RegistryListener = (change: RegistryChange) => void;

export interface RegistryChanges {
  /** Connects. Never rejects: without a connection it keeps trying, and `isLive` is false meanwhile. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** @returns a function that ends the subscription. */
  subscribe(listener: RegistryListener): () => void;
  /** True while notifications arrive; false means that changes of other processes may go unnoticed. */
  isLive(): boolean;
  /** Notifies the subscribers of this process at once, without waiting for Postgres to come round. */
  announce(change: RegistryChange): void;
}

const channel = 'registry_changed';
const backoffMsMin = 100;
const backoffMsMax = 5_000;
/** A dead connection that says nothing (a pulled cable) is noticed after at most this long. */
const heartbeatMs = 5_000;
const tables = ['agent', 'service', 'agent_stats', 'api_key'] as const satisfies readonly RegistryChange[];

/** A table that nobody here knows is one of a newer version: whatever it means, what is remembered may be old. */
const changeOf = (table: string | undefined): RegistryChange => tables.find((known) => known === table) ?? 'everything';

function listenerClient(databaseUrl: string): pg.Client {
  return new pg.Client({ connectionString: databaseUrl, keepAlive: true, connectionTimeoutMillis: 5_000, query_timeout: heartbeatMs,
    application_name: 'surety-registry-listener' });
}

/** Creates the one listener of this process. `databaseUrl` must lead to Postgres itself, not to a transaction pooler. */
export function createRegistryChanges({ databaseUrl, log }: { databaseUrl: string; log: Logger }): RegistryChanges {
  const listeners = new Set<RegistryListener>();
  let client: pg.Client | null = null;
  let retry: NodeJS.Timeout | null = null;
  let heartbeat: NodeJS.Timeout | null = null;
  let stopped = true;
  let failures = 0;

  const announce = (change: RegistryChange): void => {
    for (const listener of listeners) listener(change);
  };

  function lost(dead: pg.Client, error: unknown): void {
    if (client !== dead) return;
    client = null;
    if (heartbeat !== null) clearInterval(heartbeat);
    dead.end().catch(() => undefined);
    if (stopped) return;
    log.warn({ err: error }, 'The registry listener lost its connection; caches are checked against the database until it is back.');
    announce('everything');
    scheduleRetry();
  }

  function scheduleRetry(): void {
    const delayMs = Math.min(backoffMsMax, backoffMsMin * 2 ** failures);
    failures += 1;
    retry = setTimeout(() => void connect(), delayMs);
    retry.unref();
  }

  async function connect(): Promise<void> {
    const next = listenerClient(databaseUrl);
    next.on('notification', ({ payload }) => announce(changeOf(payload)));
    next.on('error', (error) => lost(next, error));
    next.on('end', () => lost(next, new Error('The connection ended.')));
    try {
      await next.connect();
      await next.query(`LISTEN ${channel}`);
    } catch (error) {
      next.end().catch(() => undefined);
      if (stopped) return;
      if (failures === 0) log.warn({ err: error }, 'The registry listener cannot connect; it keeps trying.');
      scheduleRetry();
      return;
    }
    if (stopped) return void next.end().catch(() => undefined);
    client = next;
    failures = 0;
    heartbeat = setInterval(() => void next.query('SELECT 1').catch((error: unknown) => lost(next, error)), heartbeatMs);
    heartbeat.unref();
    // Whatever changed while nobody listened was not announced to us.
    announce('everything');
  }

  return {
    async start() {
      if (!stopped) return;
      stopped = false;
      await connect();
    },
    async stop() {
      stopped = true;
      if (retry !== null) clearTimeout(retry);
      if (heartbeat !== null) clearInterval(heartbeat);
      const open = client;
      client = null;
      await open?.end().catch(() => undefined);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    isLive: () => client !== null,
    announce,
  };
}
