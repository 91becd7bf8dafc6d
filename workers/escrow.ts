/** Escrows in this process: what the HTTP edge asks is done in Postgres first, then the escrow's workflow is told. */
import { createEscrowActivities, viewOf } from '../activities/escrow/activities.ts';
import { createEscrowStore, lateRefusal, type EscrowStore } from '../activities/escrow/store.ts';
import type { Escrow, EscrowPort } from '../domain/escrow.ts';
import { formatMicros, toUnits } from '../domain/money.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import { activityKey } from './activity-key.ts';
import type { KeptKind, KeptRow, KindKeeper } from './keeper.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface EscrowShape extends Shape {
  readonly port: EscrowPort;
}

/** The workflow's timer comes first. */
const DEADLINE_GRACE_MS = 10_000;
const SWEEP_EVERY_MS = 2_000;
const AT_ONCE = 200;

export function createEscrowShape({ pool, metrics, crash, keeper: keepers, log }: ShapeContext): EscrowShape {
  const store = createEscrowStore({ pool, metrics });
  const kind: KeptKind = { queue: 'escrow', workflow: 'escrow', read: async (ids) => (await store.byIds(ids)).map(keptRow) };
  const keeper = keepers.of(kind);
  const activities = createEscrowActivities({ store, crash, activityKey });
  const sweep = createSweep(store, keeper, (error, id) => log.warn({ err: error, escrowId: id }, 'An escrow whose time is up could not be ended; it is tried again.'));

  const port: EscrowPort = {
    async create(buyer, tenantId, terms, idempotency) {
      const id = newId('escrow');
      const { outcome, escrow } = await store.create({ id, buyer, tenantId, terms, idempotency, workflowId: workflowIdFor('escrow', id) });
      crash.at('escrow-created');
      if (outcome === 'replay') return { escrow, replayed: true };
      await keeper.begin(keptRow(escrow));
      return { escrow, replayed: false };
    },

    async act(id, actor, act, idempotency) {
      const { outcome, escrow } = await store.step(id, actor, act, idempotency);
      crash.at('escrow-moved');
      if (outcome === 'replay') return { escrow, replayed: true };
      // Evidence changes nothing that the workflow knows.
      if (act.step !== 'evidence' || outcome === 'late') keeper.moved(keptRow(escrow));
      if (outcome === 'late') throw lateRefusal(escrow);
      return { escrow, replayed: false };
    },

    closeExpired: () => sweep(0),
  };
  const overdue = { name: 'escrows', everyMs: SWEEP_EVERY_MS, run: async () => void (await sweep(DEADLINE_GRACE_MS)) };
  return { queue: 'escrow', activities: { ...activities }, port, jobs: [keeper.job, overdue] };
}

/** Ends what is overdue, whatever happened to Temporal, and says how much that was. One that cannot be ended holds up no other. */
function createSweep(store: EscrowStore, keeper: KindKeeper, failed: (error: unknown, id: string) => void) {
  async function endOne(id: string): Promise<number> {
    try {
      const escrow = await store.look(id);
      if (escrow === null || escrow.deadline !== null) return 0;
      keeper.moved(keptRow(escrow));
      return 1;
    } catch (error) {
      failed(error, id);
      return 0;
    }
  }

  return async (graceMs: number): Promise<number> => {
    for (let total = 0; ;) {
      const ids = await store.overdue(graceMs, AT_ONCE);
      let ended = 0;
      for (const id of ids) ended += await endOne(id);
      total += ended;
      // A full round that ended nothing would be followed by the same one.
      if (ids.length < AT_ONCE || ended === 0) return total;
    }
  };
}

function keptRow(escrow: Escrow): KeptRow {
  const { id, buyer, seller, tenantId, amountMicros } = escrow;
  const summary = `Escrow of ${formatMicros(amountMicros)} USDC from ${buyer} to ${seller}`;
  return { id, view: viewOf(escrow), summary, buyer, seller, tenantId, amountUsd: toUnits(amountMicros).toNumber() };
}
