/** Connections to Temporal, embedded or not, and what has to be true of a server before workflows are started on it. */
import { Client, Connection } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, type LogLevel } from '@temporalio/worker';
import type { Logger } from '../platform/log.ts';
import { createSearchAttributes, type SearchAttributes } from './search-attributes.ts';
import type { SearchHash } from './search-hash.ts';
import type { RenewableSecurity } from './security.ts';

export interface TemporalTarget {
  /** host:port of the gRPC front end. */
  readonly address: string;
  readonly namespace: string;
  /** Nothing for a plain connection. */
  readonly security?: RenewableSecurity;
  /** Of clients and workers; nothing where payloads are not encrypted. */
  readonly dataConverter?: DataConverter;
}

/** One connection for worker and client, which is what eager start needs: the server hands the first task back on it. */
export interface WorkerTemporal extends TemporalTarget {
  readonly nativeConnection: NativeConnection;
  readonly client: Client;
  /** Those of this server, asked for anew each minute. */
  readonly searchAttributes: SearchAttributes;
  close(): Promise<void>;
}

/**
 * Sets up the SDK for this process; must be called before its first connection. Its own reaction to signals is switched off: workers
 * are drained in our order, after the HTTP requests that wait for them.
 * @param metricsAddress host:port where it serves its figures; without one it has none.
 * @throws when that cannot be listened on, or this was called before.
 */
export function installTemporalRuntime(log: Logger, metricsAddress?: string): void {
  const write = ({ level, message, meta }: { level: LogLevel; message: string; meta?: object }): void => {
    // Said of every worker that is there for activities only, such as that of a process's own calls.
    if (!message.startsWith('No workflows registered')) log[pinoLevel[level]]({ ...meta }, message);
  };
  // The SDK tells of each poller at `info`; that is our `debug`.
  const logger = new DefaultLogger(log.isLevelEnabled('debug') ? 'DEBUG' : 'WARN', write);
  // The native half of the SDK would print to the terminal, in a format of its own.
  const telemetryOptions = {
    logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
    ...(metricsAddress === undefined ? {} : { metrics: { prometheus: { bindAddress: metricsAddress } } }),
  } as const;
  Runtime.install({ logger, telemetryOptions, shutdownSignals: [] });
}

const pinoLevel = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;

/** How often a file with an API key is read anew: a key that leaves is valid for minutes at least after the next one has come. */
const RENEW_EVERY_MS = 30_000;

export interface ConnectOptions {
  readonly log?: Logger;
  /** How Buyer, Seller and Tenant are written in searches; as they are when left out. */
  readonly hash?: SearchHash;
  readonly renewEveryMs?: number;
}

/** Opens the connection that a process with a worker uses for everything, and registers search attributes that the server lacks. */
export async function connectWorker(target: TemporalTarget, { log, hash, renewEveryMs = RENEW_EVERY_MS }: ConnectOptions = {}):
    Promise<WorkerTemporal> {
  const { namespace, dataConverter } = target;
  const nativeConnection = await NativeConnection.connect(addressOf(target));
  const searchAttributes = createSearchAttributes({ connection: nativeConnection, namespace, log, hash });
  await searchAttributes.refresh();
  const renewing = setInterval(() => void renewApiKey(target, nativeConnection, log), renewEveryMs);
  renewing.unref();
  return {
    ...target,
    nativeConnection,
    client: new Client({ connection: nativeConnection, namespace, dataConverter }),
    searchAttributes,
    async close() {
      clearInterval(renewing);
      searchAttributes.stop();
      await nativeConnection.close();
    },
  };
}

/** Where the server is and how it is reached, as both kinds of connection take it; with the API key of the moment. */
function addressOf({ address, security }: TemporalTarget): { address: string } & Pick<RenewableSecurity, 'tls' | 'apiKey'> {
  const { tls, apiKey } = security ?? {};
  return { address, ...(tls === undefined ? {} : { tls }), ...(apiKey === undefined ? {} : { apiKey }) };
}

/** Requests and polls carry the new key from now on. A file that cannot be read leaves the old one in use. */
async function renewApiKey({ security }: TemporalTarget, connection: NativeConnection, log: Logger | undefined): Promise<void> {
  try {
    const apiKey = await security?.renewApiKey?.();
    if (apiKey === undefined || apiKey === null) return;
    await connection.setApiKey(apiKey);
    log?.info('The API key for Temporal was renewed from its file.');
  } catch (error) {
    log?.warn({ err: error }, 'The API key for Temporal could not be renewed; the old one stays in use.');
  }
}

/** Opens a connection for a process that only asks, such as a script or a test. */
export async function connectClient(target: TemporalTarget): Promise<{ client: Client; close(): Promise<void> }> {
  const connection = await Connection.connect({ ...addressOf(target), connectTimeout: 5_000 });
  const { namespace, dataConverter } = target;
  return { client: new Client({ connection, namespace, dataConverter }), close: () => connection.close() };
}

/**
 * Asks the server a question that only a working one answers: it reaches the namespace and the visibility store.
 * @throws while the server does not answer.
 */
export async function ask(target: TemporalTarget): Promise<void> {
  const connection = await Connection.connect({ ...addressOf(target), connectTimeout: 2_000 });
  try {
    await connection.workflowService.describeNamespace({ namespace: target.namespace });
    await connection.workflowService.countWorkflowExecutions({ namespace: target.namespace, query: "Tenant = 'x'" })
        .catch((error: unknown) => {
      // An external server may not know our search attributes yet; that it says so is an answer too.
      if (!(error instanceof Error) || !/invalid|not defined|INVALID_ARGUMENT/i.test(error.message)) throw error;
    });
  } finally {
    await connection.close();
  }
}
