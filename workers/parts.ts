/** What every process of the platform is built from, whether it answers HTTP, serves task queues, or both. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { PayloadCodec } from '@temporalio/common';
import type pg from 'pg';
import { createCardSecrets, type CardSecrets } from '../platform/card-secrets.ts';
import { inTime } from '../platform/deadline.ts';
import type { Env } from '../platform/env.ts';
import { readKeyFile } from '../platform/key-file.ts';
import { createLog, type Logger } from '../platform/log.ts';
import { createMetrics, type Metrics } from '../platform/metrics.ts';
import { createOutbound, type Outbound } from '../platform/outbound.ts';
import { createSellerSigner, generateSellerKey, type SellerSigner } from '../platform/seller-signature.ts';
import { createPrisma, type Db } from '../prisma/client.ts';
import { createPool, type PoolOptions } from '../prisma/pool.ts';
import { createRegistry, type Registry } from '../registry/registry.ts';
import { createPayloadCodec, dataConverterOf, readCodecKeys } from '../temporal/codec.ts';
import { connectWorker, type WorkerTemporal } from '../temporal/connection.ts';
import { installWithMetrics } from '../temporal/sdk-metrics.ts';
import { readSearchHash } from '../temporal/search-hash.ts';
import { readTemporalSecurity } from '../temporal/security.ts';

export interface Parts {
  readonly env: Env;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly databaseUrl: string;
  /** Through which money moves. */
  readonly pool: pg.Pool;
  /** For reads that may be long, or that many may ask for at once; a statement in it ends after a short time. */
  readonly reads: pg.Pool;
  /** Over `reads`. */
  readonly prisma: Db;
  readonly registry: Registry;
  readonly outbound: Outbound;
  readonly signer: SellerSigner;
  readonly cards: CardSecrets;
  readonly temporal: WorkerTemporal;
  /** Encrypts what Temporal keeps; null where no keys are set. */
  readonly codec: PayloadCodec | null;
  /** Ends all connections, within a few seconds whatever is under way. */
  stop(): Promise<void>;
}

export interface PartsOptions {
  readonly env: Env;
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  /** Name of the process in logs and in Postgres. */
  readonly name: string;
}

/** Ending connections takes a moment, unless a statement on one of them hangs. */
const CLOSE_MS = 3_000;

/** Registrations and changes of services: few, and none of them may wait for a crowd of readers. */
const CONTROL_CONNECTIONS = 3;

/** The pools of a process; docs/operations.md adds their connections up. */
function createPools(env: Env, options: Pick<PoolOptions, 'databaseUrl' | 'name' | 'log'>): Record<'pool' | 'reads' | 'control', pg.Pool> {
  const timeouts = {
    statementMs: env.POSTGRES_STATEMENT_TIMEOUT, lockMs: env.POSTGRES_LOCK_TIMEOUT,
    idleInTransactionMs: env.POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT,
  };
  const readMs = env.POSTGRES_READ_TIMEOUT;
  return {
    pool: createPool({ ...options, timeouts, connectionsMax: env.POSTGRES_MAX_OPEN_CONNS }),
    reads: createPool({ ...options, name: `${options.name}-reads`, timeouts: { ...timeouts, statementMs: readMs },
      connectionsMax: env.POSTGRES_READ_CONNS, connectMs: readMs }),
    control: createPool({ ...options, name: `${options.name}-control`, timeouts, connectionsMax: CONTROL_CONNECTIONS }),
  };
}

/** Connects to Postgres and Temporal and reads the catalogue. Rejects when one of them does not answer; nothing stays open then. */
export async function createParts({ env, databaseUrl, temporalAddress, name }: PartsOptions): Promise<Parts> {
  const log = createLog(env.LOG_LEVEL, name);
  const sdkMetrics = await installWithMetrics(log);
  const keyFile = (named: string | undefined, name: string): string => named ?? path.join(env.DATA_DIR, name);
  const signer = createSellerSigner(await readKeyFile(keyFile(env.SELLER_KEY_FILE, 'seller-key.pem'), generateSellerKey));
  const cards = createCardSecrets(await readKeyFile(keyFile(env.CARD_KEY_FILE, 'card.key'), () => randomBytes(32).toString('hex')));
  const security = await readTemporalSecurity(env);
  const keys = await readCodecKeys(env);
  const codec = keys.length === 0 ? null : createPayloadCodec(keys);
  const target = { address: temporalAddress, namespace: env.TEMPORAL_NAMESPACE, security, dataConverter: dataConverterOf(codec) };
  const temporal = await connectWorker(target, { log, hash: await readSearchHash(env) });
  const metrics = createMetrics();
  metrics.addText(sdkMetrics);
  const { pool, reads, control } = createPools(env, { databaseUrl, name, log });
  metrics.watchPools({ money: pool, reads, control });
  const prisma = createPrisma(reads);
  const controlDb = createPrisma(control);
  const outbound = createOutbound({ allowLocal: env.ALLOW_LOCAL_ENDPOINTS, log, metrics });
  const registry = createRegistry({
    db: controlDb, reads: prisma, pool, databaseUrl, log, checkEndpoint: (url) => outbound.checkUrl(url), demoMode: env.DEMO_MODE,
    platformAddress: env.PLATFORM_ADDRESS,
  });
  const close = async (): Promise<void> => {
    await registry.stop();
    await outbound.close();
    await temporal.close();
    await Promise.all([prisma.$disconnect(), controlDb.$disconnect()]);
    await Promise.all([pool, reads, control].map((each) => each.end()));
  };
  const stop = async (): Promise<void> => {
    if (!(await inTime(close(), CLOSE_MS))) log.warn('Stopped while a statement was under way; the database ends it with its connection.');
  };
  try {
    await registry.start();
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
  return { env, log, metrics, databaseUrl, pool, reads, prisma, registry, outbound, signer, cards, temporal, codec, stop };
}
