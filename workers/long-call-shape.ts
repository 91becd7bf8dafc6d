/** Long calls in this process: the store, the activities, the port, and the job behind their workflows. */
import { heartbeat, sleep } from '@temporalio/activity';
import { expireLongCall } from '../activities/long-call/act.ts';
import { createLongCallActivities } from '../activities/long-call/activities.ts';
import { askSellers, type AskDeps } from '../activities/long-call/ask.ts';
import { createLongCallStore } from '../activities/long-call/store.ts';
import type { LongCallPort } from '../domain/long-call.ts';
import { createLongCallWorkflows, type LongCallWorkflows } from '../payments/gateway/long-call-workflow.ts';
import { createLongCalls } from '../payments/gateway/long-calls.ts';
import { createCallLinks } from '../platform/call-link.ts';
import type { GatewayShape } from './gateway-shape.ts';
import type { Job } from './jobs.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface LongCallShape extends Shape {
  readonly port: LongCallPort;
}

const SWEEP_EVERY_MS = 2_000;
const AT_ONCE = 50;
/** The workflow's timer comes first. */
const DEADLINE_GRACE_MS = 10_000;
const TICK_MS = 1_000;

/** @param gateway whose sessions pay, and whose knowledge of failing sellers is shared. */
export function createLongCallShape(context: ShapeContext, gateway: GatewayShape): LongCallShape {
  const { env, pool, registry, signer, crash } = context;
  const store = createLongCallStore({ pool, feeOwner: env.PLATFORM_ADDRESS, patienceMs: env.SELLER_TIMEOUT,
    onDrained: (sessionId) => void gateway.finishSession(sessionId) });
  const links = createCallLinks(signer);
  const asking: AskDeps = { ...gateway.asking, store, links, sellerTimeoutMs: env.SELLER_TIMEOUT };
  const workflows = createLongCallWorkflows(store, context.spine);
  const port = createLongCalls({
    store, gatewayStore: gateway.store, session: gateway.port.session, workflows, links, crash, feeBps: env.PLATFORM_FEE_BPS,
    offers: (type) => registry.catalogue.offers(type),
  });
  return {
    queue: 'gateway', port, jobs: [staleJob(context, asking, workflows)],
    activities: { ...createLongCallActivities({ ...asking, heartbeat, sleep, searchHash: context.spine.searchHash }) },
  };
}

/** The last line: gives back what is overdue, and asks where nobody does, whatever happened to Temporal. */
function staleJob({ env, log }: ShapeContext, asking: AskDeps, workflows: LongCallWorkflows): Job {
  async function goOn({ id, due }: { readonly id: string; readonly due: boolean }): Promise<void> {
    if (due) await expireLongCall(asking.store, id, false);
    else await askSellers(asking, id, { heard: false, tick: () => new Promise((resolve) => setTimeout(resolve, TICK_MS)) });
    workflows.soon(id);
  }

  return {
    name: 'long-calls', everyMs: SWEEP_EVERY_MS,
    async run() {
      const claimMs = env.SELLER_TIMEOUT + env.CALL_LEASE;
      const mine = await asking.store.claimStale({ graceMs: DEADLINE_GRACE_MS, quietMs: env.CALL_OVERDUE, claimMs, limit: AT_ONCE });
      // Not waited for: a seller may take its time.
      for (const call of mine) {
        void goOn(call).catch((error: unknown) => {
          log.warn({ err: error, callId: call.id }, 'A long call could not be brought further; it is tried again.');
        });
      }
    },
  };
}
