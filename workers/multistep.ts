/** Multistep escrow in this process: steps in Postgres first, then the workflow is told; and the jobs behind the workflows. */
import { createMultistepActivities, viewOf } from '../activities/multistep/activities.ts';
import { createMultistepStore, type MultistepStore } from '../activities/multistep/store.ts';
import { formatMicros, toUnits } from '../domain/money.ts';
import { checkPlan, type MultistepAnswer, type MultistepEscrow, type MultistepPort } from '../domain/multistep.ts';
import type { Crash } from '../platform/crash.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import { createClaims, eachClaimed, noteFailure } from './claims.ts';
import type { Job } from './jobs.ts';
import type { KeptRow, KindKeeper } from './keeper.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface MultistepShape extends Shape {
  readonly port: MultistepPort;
}

const SWEEP_EVERY_MS = 2_000;
/** The workflow's timer comes first. */
const DEADLINE_GRACE_MS = 10_000;
const AT_ONCE = 200;

export function createMultistepShape(context: ShapeContext): MultistepShape {
  const { pool, metrics, crash, keeper } = context;
  const store = createMultistepStore({ pool, metrics });
  const kept = keeper.of({ queue: 'multistep', workflow: 'multistepEscrow', read: async (ids) => (await store.read(ids)).map(keptRow) });
  const activities = createMultistepActivities({ store, crash });
  const jobs = [kept.job, deadlineJob(context, store, kept)];
  return { queue: 'multistep', activities: { ...activities }, port: createPort(store, kept, crash), jobs };
}

function createPort(store: MultistepStore, kept: KindKeeper, crash: Crash): MultistepPort {
  /** The row has moved; its workflow hears of it without anybody waiting. */
  const told = (answer: MultistepAnswer): MultistepAnswer => {
    if (!answer.replayed) kept.moved(keptRow(answer.escrow));
    return answer;
  };

  return {
    async create({ address, tenantId }, plan, idempotency) {
      checkPlan(address, plan);
      const id = newId('multistepEscrow');
      const answer = await store.create({ id, buyer: address, tenantId, plan, workflowId: workflowIdFor('multistepEscrow', id),
        idempotency });
      crash.at('multistep-held');
      if (!answer.replayed) await kept.begin(keptRow(answer.escrow));
      crash.at('multistep-begun');
      return answer;
    },
    async confirmStep(caller, id, step, idempotency) {
      crash.at('multistep-before-step');
      const answer = await store.confirmStep({ id, caller, idempotency }, step);
      crash.at('multistep-step-paid');
      return told(answer);
    },
    async refund(caller, id, idempotency) {
      crash.at('multistep-before-refund');
      const answer = await store.refund({ id, caller, idempotency });
      crash.at('multistep-refunded');
      return told(answer);
    },
  };
}

/** Ends escrows past their deadline whose workflow did not, whatever happened to Temporal. */
function deadlineJob(context: ShapeContext, store: MultistepStore, kept: KindKeeper): Job {
  const name = 'multistep-deadlines';
  const claims = createClaims({ pool: context.pool, job: name });
  return {
    name, everyMs: SWEEP_EVERY_MS,
    async run() {
      const ids = await claims.take(AT_ONCE, (limit) => store.overdue(DEADLINE_GRACE_MS, limit));
      await eachClaimed(ids, async (id) => kept.moved(keptRow(await store.look(id))), noteFailure(context, `sweeper-${name}`));
    },
  };
}

function keptRow(escrow: MultistepEscrow): KeptRow {
  const { id, buyer, tenantId, totalMicros, steps } = escrow;
  const sellers = new Set(steps.map(({ seller }) => seller));
  const [only] = sellers;
  return {
    id, buyer, tenantId, amountUsd: toUnits(totalMicros).toNumber(), view: viewOf(escrow), seller: sellers.size === 1
      && only !== undefined ? only : null,
    summary: `${formatMicros(totalMicros)} USDC in ${steps.length} ${steps.length === 1 ? 'step' : 'steps'} from ${buyer}`,
  };
}
