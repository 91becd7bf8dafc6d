/** Puts workflows and activities to work in this process, and gives the HTTP edge its gateway. */
import { heartbeat, sleep } from '@temporalio/activity';
import { Worker } from '@temporalio/worker';
import { withTemporalErrors } from '../activities/boundary.ts';
import { createGatewayActivities } from '../activities/gateway/activities.ts';
import { createBreaker } from '../activities/gateway/breaker.ts';
import { createDriver } from '../activities/gateway/drive.ts';
import { createGatewayStore } from '../activities/gateway/store.ts';
import type { GatewayPort } from '../domain/gateway.ts';
import { createCrash } from '../platform/crash.ts';
import type { WorkerQueue } from '../platform/env.ts';
import { newId, processId } from '../platform/random.ts';
import { createReputationJob } from '../trust/reputation-job.ts';
import { taskQueues, workflowIdFor } from '../workflows/contracts/ids.ts';
import type { gatewayCalls } from '../workflows/gateway-calls.ts';
import { workflowBundle } from './bundle.ts';
import { createGateway } from './gateway.ts';
import type { Parts } from './parts.ts';
import { createCallPromises } from './promise.ts';
import { startSweeper } from './sweeper.ts';

export interface Runtime {
  readonly gateway: GatewayPort;
  /** Begins to serve the task queues. */
  start(): Promise<void>;
  /** Takes no new tasks, finishes what is under way within the drain deadline, and hands the rest to whoever is left. */
  drain(): Promise<void>;
}

export interface RuntimeOptions extends Omit<Parts, 'stop' | 'prisma' | 'databaseUrl'> {
  /** Task queues to serve; empty means all. */
  readonly queues: readonly WorkerQueue[];
  /** Added to the names of task queues, so that tests do not serve one another. */
  readonly queueSuffix?: string;
}

/** Cached sticky workflows; a session waits for hours and costs about 100 kB while it is cached. */
const CACHED_WORKFLOWS = 500;
const KEYS_KEPT = '30 days';

export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { env, log, metrics, pool, registry, outbound, signer, temporal, queues } = options;
  const taskQueue = taskQueues.gateway + (options.queueSuffix ?? '');
  const crash = createCrash(env.CRASH_AT);
  const store = createGatewayStore({ pool, driver: processId, leaseMs: env.CALL_LEASE, feeOwner: env.PLATFORM_ADDRESS, metrics });
  const breaker = createBreaker({ threshold: env.CB_THRESHOLD, openMs: env.CB_DURATION });
  const driver = createDriver({ store, outbound, signer, breaker, crash, log, metrics, sellerTimeoutMs: env.SELLER_TIMEOUT, leaseMs: env.CALL_LEASE });
  const activities = createGatewayActivities({
    driver, store, crash, heartbeat, sleep, onSessionClosed: (ending) => metrics.sessionEnded(ending),
  });
  const promises = createCallPromises({
    log, newWorkflowId: () => workflowIdFor('gatewayCalls', newId('event')), stillOpen: (ids) => ids.filter((id) => driver.underWay(id) !== undefined),
    start: async (workflowId, callIds) => {
      await temporal.client.withDeadline(Date.now() + 10_000, () => temporal.client.workflow.start<typeof gatewayCalls>('gatewayCalls', {
        workflowId, taskQueue, args: [{ callIds }], requestEagerStart: true, workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: callIds.length === 1 ? `Call ${callIds[0]}` : `${callIds.length} calls from ${callIds[0]}`,
      }));
      crash.at('call-promised');
    },
  });
  const gateway = createGateway({
    store, driver, promises, metrics, crash, log, client: temporal.client, taskQueue, closeSession: activities.closeSession, feeBps: env.PLATFORM_FEE_BPS,
    offers: (type) => registry.catalogue.offers(type), answerTimeoutMs: Math.max(1_000, env.REQUEST_TIMEOUT - 500),
  });

  const serving = queues.length === 0 || queues.includes('gateway');
  let worker: Worker | null = null;
  let running: Promise<void> = Promise.resolve();
  let stopSweeper: (() => Promise<void>) | null = null;
  const reputation = createReputationJob({ pool, log });

  return {
    gateway,
    async start() {
      if (serving) {
        worker = await Worker.create({
          connection: temporal.nativeConnection, namespace: temporal.namespace, taskQueue, activities: withTemporalErrors({ ...activities }),
          workflowBundle: await workflowBundle(env.CACHE_DIR), maxCachedWorkflows: CACHED_WORKFLOWS, maxConcurrentWorkflowTaskExecutions: 40,
          maxConcurrentLocalActivityExecutions: 200, maxConcurrentActivityTaskExecutions: 100, shutdownGraceTime: env.DRAIN_DEADLINE,
        });
        running = worker.run().catch((error: unknown) => log.error({ err: error }, 'The Temporal worker ended.'));
        stopSweeper = startSweeper({
          store, driver, log, metrics, callOverdueMs: env.CALL_OVERDUE,
          foldFees: async () => void (await pool.query('SELECT ledger_fold_fees(10000)')),
          forgetKeys: async () => void (await pool.query(`DELETE FROM idempotency WHERE created_at < now() - interval '${KEYS_KEPT}'`)),
        });
        reputation.start();
      }
    },
    async drain() {
      await stopSweeper?.();
      await reputation.stop();
      await promises.flush(2_000);
      if (!(await driver.drained(env.DRAIN_DEADLINE))) log.warn({ calls: driver.size() }, 'Stopped while sellers were at work; others will take these calls over.');
      if (worker !== null && worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      driver.stop();
    },
  };
}
