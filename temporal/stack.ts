/** The servers a platform stands on: those named in the settings, and for what is not named, embedded ones under DATA_DIR. */
import type { Env } from '../platform/env.ts';
import { openDataDir, type Connections, type DataDir } from '../platform/data-dir.ts';
import { startEmbeddedPostgres } from '../platform/embedded-postgres.ts';
import { connectClient, type TemporalTarget } from './connection.ts';
import { createSearchAttributes } from './search-attributes.ts';
import { readTemporalSecurity, type SecuritySettings } from './security.ts';
import { startEmbeddedTemporal } from './server.ts';

type StackEnv = Pick<Env, 'DATA_DIR' | 'DATABASE_URL' | 'TEMPORAL_ADDRESS' | 'TEMPORAL_NAMESPACE' | 'TEMPORAL_CLI' | 'TEMPORAL_UI_URL'
  | 'CACHE_DIR'> & SecuritySettings;

export interface Stack extends Connections {
  /** Pids of the embedded servers that run now. */
  pids(): number[];
  /** Stops the embedded servers and gives DATA_DIR free. Servers named in the settings are left alone. */
  stop(): Promise<void>;
}

export interface StackOptions {
  readonly env: StackEnv;
  /** Gets sentences on anything that takes longer than a moment, and about servers that had to be started again. */
  readonly notice: (sentence: string) => void;
  /** Gives up work that takes minutes, such as building Temporal. */
  readonly signal?: AbortSignal;
  /** Postgres settings that replace ours; only tests have a use for it. */
  readonly postgresOverrides?: Readonly<Record<string, string>>;
}

/**
 * Starts what the settings do not name, both servers at the same time, and waits until all answer.
 * @throws when DATA_DIR is in use by a living process, or a server does not start; nothing is left running then.
 */
export async function startStack({ env, notice, signal, postgresOverrides }: StackOptions): Promise<Stack> {
  const needsDataDir = env.DATABASE_URL === undefined || env.TEMPORAL_ADDRESS === undefined;
  const dataDir = needsDataDir ? await openDataDir(env.DATA_DIR) : undefined;
  const started = await Promise.allSettled([
    startDatabase(env, dataDir, notice, postgresOverrides),
    startTemporal(env, dataDir, notice, signal),
  ]);
  const parts = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => {
    // Temporal first: as long as it runs, it may hand out work that needs the database.
    for (const part of parts.toReversed()) await part.stop?.();
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
  stop?(): Promise<void>;
}

async function startDatabase(env: StackEnv, dataDir: DataDir | undefined, notice: (sentence: string) => void,
    overrides?: Readonly<Record<string, string>>): Promise<Part & { url: string }> {
  if (env.DATABASE_URL !== undefined || dataDir === undefined) return { url: env.DATABASE_URL ?? '' };
  return startEmbeddedPostgres({ dataDir, notice, overrides });
}

async function startTemporal(env: StackEnv, dataDir: DataDir | undefined, notice: (sentence: string) => void,
    signal?: AbortSignal): Promise<Part & { address: string; uiUrl?: string }> {
  const namespace = env.TEMPORAL_NAMESPACE;
  if (env.TEMPORAL_ADDRESS !== undefined || dataDir === undefined) {
    const address = env.TEMPORAL_ADDRESS ?? '';
    const security = await readTemporalSecurity(env);
    const lacking = await lackingSearchAttributes({ address, namespace, security }).catch((error: unknown) => {
      throw new Error(`Temporal at TEMPORAL_ADDRESS ${address} does not answer: ${(error as Error).message}`, { cause: error });
    });
    if (lacking !== null) notice(`${lacking} An operator can add them (docs/operations.md).`);
    return { address };
  }
  return startEmbeddedTemporal({ dataDir, namespace, cli: env.TEMPORAL_CLI, cacheDir: env.CACHE_DIR, notice, signal });
}

/** Registers what is missing where that is allowed, and says what is left. @throws when the server does not answer. */
async function lackingSearchAttributes(target: TemporalTarget): Promise<string | null> {
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
