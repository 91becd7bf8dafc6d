/** `npm run worker`: serves task queues beside a platform, on its Postgres and Temporal. */
import { readConnections } from '../platform/data-dir.ts';
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv, workerQueues, type Env } from '../platform/env.ts';
import { serveMetrics } from '../platform/metrics-server.ts';
import { runService, type Service } from '../platform/service.ts';
import { createParts } from './parts.ts';
import { createRuntime } from './runtime.ts';

async function start(service: Service): Promise<void> {
  loadDotEnv();
  const env = readEnv(process.env);
  const { WORKER_QUEUES: queues, METRICS_PORT: port, HOST: host } = env;
  if (queues.length === 0) throw new Error('WORKER_QUEUES: none is for API processes; a worker needs at least one queue to serve.');
  const parts = await createParts({ env, ...(await connections(env)), name: 'surety-worker' });
  service.stopWithin(env.STOP_DEADLINE);
  service.onStop(() => parts.stop());
  const runtime = await createRuntime({ ...parts, queues });
  // Before the drain is registered, so that whoever watches sees it to its end.
  const metrics = port === 0 ? null : await serveMetrics({ metrics: parts.metrics, health: () => runtime.health(), host, port });
  if (metrics !== null) service.onStop(() => metrics.stop());
  service.onStop(() => runtime.drain());
  await runtime.start();
  const served = queues.length === workerQueues.length ? 'all' : queues.join(', ');
  service.say(`Surety worker is ready  queues: ${served}${metrics === null ? '' : `  metrics: ${metrics.url}/metrics`}`);
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
