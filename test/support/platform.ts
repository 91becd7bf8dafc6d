/** The whole platform in the test's process: real HTTP, the suite's Temporal, a database of its own, and nobody else on its task queue. */
import { randomBytes } from 'node:crypto';
import { probes } from '../../api/probes.ts';
import { createCardSecrets } from '../../platform/card-secrets.ts';
import { readEnv, type Env } from '../../platform/env.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createOutbound } from '../../platform/outbound.ts';
import { createSellerSigner, generateSellerKey } from '../../platform/seller-signature.ts';
import type { Registry } from '../../registry/registry.ts';
import { createPayloadCodec, dataConverterOf, readCodecKeys } from '../../temporal/codec.ts';
import { createSearchHash } from '../../temporal/search-hash.ts';
import { createRuntime, type Runtime } from '../../workers/runtime.ts';
import { scheduleIdFor } from '../../workflows/contracts/ids.ts';
import { startApp, type TestApp } from './app.ts';
import { aRegistry, silent } from './builders.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { createMarket, type Market } from './market.ts';
import { connectTestTemporal, type TestTemporal } from './temporal.ts';

/** Of `TEMPORAL_SEARCH_ATTRIBUTES: hashed`. */
export const SEARCH_KEY = 'a search key for tests';

export interface TestPlatform extends Market {
  readonly db: TestDatabase;
  readonly env: Env;
  readonly registry: Registry;
  readonly runtime: Runtime;
  readonly temporal: TestTemporal;
  /** Ending of the names of its task queues, which nobody else serves. */
  readonly queueSuffix: string;
  close(): Promise<void>;
}

/**
 * Starts everything; close it in `afterAll`.
 * @param settings over demo mode, local endpoints and generous limits.
 */
export async function startPlatform(settings: Readonly<Record<string, string>> = {}): Promise<TestPlatform> {
  const text = { DEMO_MODE: 'true', ALLOW_LOCAL_ENDPOINTS: 'true', RATE_LIMIT_RPM: '100000000', RATE_LIMIT_BURST: '1000000',
    ADMIN_SECRET: 'a-secret-for-tests', ...settings };
  const env = readEnv(text);
  const db = await createTestDatabase(env.POSTGRES_MAX_OPEN_CONNS);
  const registry = aRegistry(db, { platformAddress: env.PLATFORM_ADDRESS });
  await registry.start();
  const keys = await readCodecKeys(env);
  const codec = keys.length === 0 ? null : createPayloadCodec(keys);
  const hash = env.TEMPORAL_SEARCH_ATTRIBUTES === 'hashed' ? createSearchHash(SEARCH_KEY) : undefined;
  const temporal = await connectTestTemporal({ dataConverter: dataConverterOf(codec), hash });
  const metrics = createMetrics({ runtime: false });
  const outbound = createOutbound({ allowLocal: true, log: silent, metrics });
  const signer = createSellerSigner(generateSellerKey());
  const queueSuffix = `-${randomBytes(4).toString('hex')}`;
  const runtime = await createRuntime({ env, log: silent, metrics, pool: db.pool, reads: db.pool, registry, outbound, signer, temporal,
    queues: env.WORKER_QUEUES, queueSuffix });
  await runtime.start();
  const { keys: apiKeys, agents, services, ownership, catalogue } = registry;
  const app: TestApp = await startApp({
    env: text, deps: { pool: db.pool, reads: db.pool, prisma: db.prisma, keys: apiKeys, codec, agents, services, ownership, catalogue,
      cards: createCardSecrets('a key for tests'), ...runtime.ports, metrics, sellerKeys: [signer.publicKey],
      probes: probes({ pool: db.pool, temporal, env }, runtime) },
  });
  return {
    ...createMarket({ baseUrl: app.baseUrl, pool: db.pool }), db, env, registry, runtime, temporal, queueSuffix,
    close: async () => {
      await app.close();
      await runtime.drain();
      for (const chore of ['retention', 'audit'] as const) {
        await temporal.client.schedule.getHandle(scheduleIdFor(chore, queueSuffix)).delete().catch(() => undefined);
      }
      await outbound.close();
      await registry.stop();
      await temporal.close();
      await db.close();
    },
  };
}
