/** The gateway in this process: the store, the driver of calls, the promises, the activities, and the jobs behind them. */
import { heartbeat, sleep } from '@temporalio/activity';
import { createGatewayActivities } from '../activities/gateway/activities.ts';
import { createBreaker } from '../activities/gateway/breaker.ts';
import { createDriver, type Driver } from '../activities/gateway/drive.ts';
import type { ForwardDeps } from '../activities/gateway/forward.ts';
import { createGatewayStore, type GatewayStore } from '../activities/gateway/store.ts';
import { SuretyError } from '../domain/errors.ts';
import type { GatewayPort } from '../domain/gateway.ts';
import { newId, processId } from '../platform/random.ts';
import { createReputationJob } from '../trust/reputation-job.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import type { gatewayCalls } from '../workflows/gateway-calls.ts';
import { createGateway } from '../payments/gateway/gateway.ts';
import { sessionKind } from '../payments/kinds.ts';
import type { Payments } from '../payments/payments.ts';
import type { Job } from './jobs.ts';
import { createCallPromises, type CallPromises } from '../payments/gateway/promise.ts';
import type { Activities, Shape, ShapeContext } from './shape.ts';

export interface GatewayShape extends Shape {
  readonly port: GatewayPort;
  /** For shapes that buy calls themselves. */
  readonly store: GatewayStore;
  readonly driver: Driver;
  /** Serves the queue of this very process: slow calls that it drives. */
  readonly own: { readonly queue: string; readonly activities: Activities };
  /** How sellers are asked, with what is known of those that fail. */
  readonly asking: ForwardDeps;
  /** Has a session finished that is closing and has nothing under way any more. Never rejects. */
  readonly finishSession: (sessionId: string) => Promise<void>;
}

const CALLS_EVERY_MS = 2_000;
const CHORES_EVERY_MS = 10_000;
const AT_ONCE = 200;

export function createGatewayShape(context: ShapeContext, payments: Payments): GatewayShape {
  const { env, log, metrics, pool, registry, outbound, signer, crash } = context;
  const taskQueue = context.taskQueue('gateway');
  const finish = (sessionId: string): Promise<void> => finishSession(context, payments, sessionId);
  const store = createGatewayStore({ pool, driver: processId, leaseMs: env.CALL_LEASE, feeOwner: env.PLATFORM_ADDRESS, metrics,
    onDrained: (sessionId) => void finish(sessionId) });
  const breaker = createBreaker({ threshold: env.CB_THRESHOLD, openMs: env.CB_DURATION });
  const driver = createDriver({ store, outbound, signer, breaker, crash, log, metrics, sellerTimeoutMs: env.SELLER_TIMEOUT,
    leaseMs: env.CALL_LEASE });
  const activities = createGatewayActivities({ driver, store, heartbeat, sleep });
  const own = { queue: `${taskQueue}-${processId}`, activities: { finishCalls: activities.finishCalls } };
  const promises = createPromises(context, driver, { taskQueue, driverQueue: own.queue });
  const port = createGateway({
    store, driver, promises, metrics, crash, payments, feeBps: env.PLATFORM_FEE_BPS,
    offers: (type) => registry.catalogue.offers(type), answerTimeoutMs: Math.max(1_000, env.REQUEST_TIMEOUT - 500),
  });
  const reputation = createReputationJob({ pool, log });
  return {
    queue: 'gateway', activities: { ...activities }, own, port, store, driver, asking: { outbound, signer, breaker, crash },
    finishSession: finish, jobs: jobs(context, store, driver),
    begin: () => reputation.start(),
    async drain(until) {
      await Promise.all([reputation.stop(), promises.flush(2_000)]);
      if (!(await driver.drained(until.leftMs()))) log.warn({ calls: driver.size() },
        'Stopped while sellers were at work; others will take these calls over.');
    },
    stop: () => driver.stop(),
  };
}

/** The last call of a session that is closing has ended here. Where this does not succeed, the session's own time does it. */
async function finishSession({ log }: ShapeContext, payments: Payments, id: string): Promise<void> {
  const order = { id, step: 'finish', actor: { address: null, as: 'platform' }, input: {}, claim: null } as const;
  await payments.step(sessionKind, order).catch((error: unknown) => {
    // Somebody else has finished it.
    if (error instanceof SuretyError && error.code === 'invalid_state') return;
    log.warn({ err: error, sessionId: id }, 'A session that is closing could not be finished here; it ends when its time is up.');
  });
}

function createPromises({ log, temporal, crash }: ShapeContext, driver: Driver,
    { taskQueue, driverQueue }: { readonly taskQueue: string; readonly driverQueue: string }): CallPromises {
  return createCallPromises({
    log, newWorkflowId: () => workflowIdFor('gatewayCalls', newId('event')),
    stillOpen: (ids) => ids.filter((id) => driver.underWay(id) !== undefined),
    start: async (workflowId, callIds, run) => {
      const searchAttributes = [...temporal.searchAttributes.usable()].filter((name) => name === 'PaymentOutcome');
      await temporal.client.withDeadline(Date.now() + 10_000, () => temporal.client.workflow.start<typeof gatewayCalls>('gatewayCalls', {
        workflowId, taskQueue, args: [{ callIds, driverQueue, searchAttributes }], requestEagerStart: true,
        workflowIdConflictPolicy: run === 'first' ? 'USE_EXISTING' : 'FAIL',
        staticSummary: callIds.length === 1 ? `Call ${callIds[0]}` : `${callIds.length} calls from ${callIds[0]}`,
      }));
      crash.at('call-promised');
    },
  });
}

/** The last line: ends what is overdue, whatever happened to Temporal, and does the ledger's small chores. */
function jobs(context: ShapeContext, store: GatewayStore, driver: Driver): Job[] {
  const { env, pool } = context;
  return [
    // A call has a lease of its own, which `adopt` takes: nobody else works on it until that has run out.
    { name: 'calls', everyMs: CALLS_EVERY_MS, run: async () => driver.adopt(await store.abandonedCalls(env.CALL_OVERDUE, AT_ONCE)) },
    { name: 'fees', everyMs: CHORES_EVERY_MS, run: async () => void (await pool.query('SELECT ledger_fold_fees(10000)')) },
  ];
}
