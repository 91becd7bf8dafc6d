/** The servers a platform stands on: those named in the settings, and for what is not named, embedded ones under DATA_DIR. */
import type { Deadline } from '../platform/deadline.ts';
import type { Env } from '../platform/env.ts';
import { openDataDir, type Connections, type DataDir } from '../platform/data-dir.ts';
import { startEmbeddedPostgres, type PostgresOptions } from '../platform/embedded-postgres.ts';
import type { TemporalTarget } from './connection.ts';
import { readTemporalSecurity, type SecuritySettings } from './security.ts';
import { startEmbeddedTemporal, type EmbeddedTemporalOptions } from './server.ts';

type StackEnv = Pick<Env, 'DATA_DIR' | 'DATABASE_URL' | 'TEMPORAL_ADDRESS' | 'TEMPORAL_NAMESPACE' | 'TEMPORAL_CLI' | 'TEMPORAL_UI_URL'
  | 'CACHE_DIR'> & SecuritySettings;

export interface Stack extends Connections {
  /** Pids of the embedded servers that run now. */
  pids(): number[];
  /** Stops the embedded servers, by force once the time is up, and gives DATA_DIR free. Servers named in the settings are left alone. */
  stop(deadline?: Deadline): Promise<void>;
}

export interface StackOptions {
  readonly env: StackEnv;
  /** Gets sentences on anything that takes longer than a moment, and about servers that had to be started again. */
  readonly notice: (sentence: string) => void;
  /** Gives up work that takes minutes, such as building Temporal. */
  readonly signal?: AbortSignal;
  /** Called once the servers' processes run and only their answers are waited for: time for other work. */
  readonly onSpawned?: () => void;
  /** Postgres settings that replace ours; only tests have a use for it. */
  readonly postgresOverrides?: Readonly<Record<string, string>>;
}

/**
 * Starts what the settings do not name, both servers at the same time, and waits until all answer.
 * @throws when DATA_DIR is in use by a living process, or a server does not start; nothing is left running then.
 */
export async function startStack({ env, notice, signal, postgresOverrides, onSpawned = () => undefined }: StackOptions): Promise<Stack> {
  const needsDataDir = env.DATABASE_URL === undefined || env.TEMPORAL_ADDRESS === undefined;
  let starting = 2;
  const spawned = (): void => {
    starting -= 1;
    if (starting === 0) onSpawned();
  };
  const dataDir = needsDataDir ? await openDataDir(env.DATA_DIR) : undefined;
  const started = await Promise.allSettled([
    startDatabase(env, dataDir, { notice, spawned, overrides: postgresOverrides }),
    startTemporal(env, dataDir, { notice, spawned, signal }),
  ]);
  const parts = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (deadline?: Deadline): Promise<void> => {
    // Temporal first: as long as it runs, it may hand out work that needs the database, which gets half of the time for itself.
    for (const [index, part] of [...parts.entries()].toReversed()) {
      await part.stop?.(deadline === undefined ? undefined : deadline.leftMs() / (index + 1));
    }
    await dataDir?.release();
  };
  const [database, temporal] = started;
  if (database.status === 'rejected' || temporal.status === 'rejected') {
    await stop();
    throw database.status === 'rejected' ? database.reason : (temporal as PromiseRejectedResult).reason;
  }
  const connections: Connections = {
    databaseUrl: database.value.url, temporalAddress: temporal.value.address, temporalUiUrl: env.TEMPORAL_UI_URL ?? temporal.value.uiUrl,
  };
  await dataDir?.publish(connections);
  return { ...connections, pids: () => parts.flatMap((part) => part.pid?.() ?? []), stop };
}

interface Part {
  pid?(): number;
  stop?(patienceMs?: number): Promise<void>;
}

async function startDatabase(env: StackEnv, dataDir: DataDir | undefined, options: Omit<PostgresOptions, 'dataDir'>):
    Promise<Part & { url: string }> {
  if (env.DATABASE_URL !== undefined || dataDir === undefined) {
    options.spawned?.();
    return { url: env.DATABASE_URL ?? '' };
  }
  return startEmbeddedPostgres({ dataDir, ...options });
}

async function startTemporal(env: StackEnv, dataDir: DataDir | undefined,
    { notice, spawned, signal }: Pick<EmbeddedTemporalOptions, 'notice' | 'spawned' | 'signal'>):
    Promise<Part & { address: string; uiUrl?: string }> {
  const namespace = env.TEMPORAL_NAMESPACE;
  if (env.TEMPORAL_ADDRESS !== undefined || dataDir === undefined) {
    spawned?.();
    const address = env.TEMPORAL_ADDRESS ?? '';
    const security = await readTemporalSecurity(env);
    const lacking = await lackingSearchAttributes({ address, namespace, security }).catch((error: unknown) => {
      throw new Error(`Temporal at TEMPORAL_ADDRESS ${address} does not answer: ${(error as Error).message}`, { cause: error });
    });
    if (lacking !== null) notice(`${lacking} An operator can add them (docs/operations.md).`);
    return { address };
  }
  return startEmbeddedTemporal({ dataDir, namespace, cli: env.TEMPORAL_CLI, cacheDir: env.CACHE_DIR, notice, spawned, signal });
}

/** Registers what is missing where that is allowed, and says what is left. @throws when the server does not answer. */
async function lackingSearchAttributes(target: TemporalTarget): Promise<string | null> {
  // Imported as late as this: servers are spawned before the SDK has been read.
  const [{ connectClient }, { createSearchAttributes }] = await Promise.all([import('./connection.ts'), import('./search-attributes.ts')]);
  const { client, close } = await connectClient(target);
  const attributes = createSearchAttributes({ connection: client.connection, namespace: target.namespace });
  try {
    await client.workflowService.getSystemInfo({});
    await attributes.refresh();
    return attributes.detail();
  } finally {
    attributes.stop();
    await close();
  }
}
