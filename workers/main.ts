/** `npm run worker`: serves task queues beside a platform, on its Postgres and Temporal. */
import { readConnections } from '../platform/data-dir.ts';
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv, type Env } from '../platform/env.ts';
import { runService, type Service } from '../platform/service.ts';
import { createParts } from './parts.ts';
import { createRuntime } from './runtime.ts';

async function start(service: Service): Promise<void> {
  loadDotEnv();
  const env = readEnv(process.env);
  const parts = await createParts({ env, ...(await connections(env)), name: 'surety-worker' });
  service.onStop(() => parts.stop());
  const runtime = await createRuntime({ ...parts, queues: env.WORKER_QUEUES });
  service.onStop(() => runtime.drain());
  await runtime.start();
  service.say(`Surety worker is ready  queues: ${env.WORKER_QUEUES.length === 0 ? 'all' : env.WORKER_QUEUES.join(', ')}`);
}

/** The servers the settings name, or those of the platform that runs on DATA_DIR now. */
async function connections(env: Env): Promise<{ databaseUrl: string; temporalAddress: string }> {
  const embedded = env.DATABASE_URL === undefined || env.TEMPORAL_ADDRESS === undefined ? await readConnections(env.DATA_DIR) : undefined;
  const databaseUrl = env.DATABASE_URL ?? embedded?.databaseUrl;
  const temporalAddress = env.TEMPORAL_ADDRESS ?? embedded?.temporalAddress;
  if (databaseUrl === undefined || temporalAddress === undefined) {
    throw new Error(`A worker needs DATABASE_URL and TEMPORAL_ADDRESS, or a platform that runs on DATA_DIR ${env.DATA_DIR}; none does.`);
  }
  return { databaseUrl, temporalAddress };
}

await runService((sentence) => console.log(sentence), start);
