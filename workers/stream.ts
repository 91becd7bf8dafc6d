/** Streams in this process: the port of the HTTP edge, the activities, and the job behind the workflows. */
import { createStreamActivities, streamView } from '../activities/stream/activities.ts';
import { createStreamStore, type StreamStore } from '../activities/stream/store.ts';
import { formatMicros, toUnits } from '../domain/money.ts';
import type { Stream, StreamPort } from '../domain/stream.ts';
import type { Crash } from '../platform/crash.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import { createClaims, eachClaimed, noteFailure } from './claims.ts';
import type { KeptRow, KindKeeper } from './keeper.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface StreamShape extends Shape {
  readonly port: StreamPort;
}

/** The workflow's timer comes first. */
const STALE_GRACE_MS = 10_000;
const SWEEP_EVERY_MS = 2_000;
const AT_ONCE = 200;
/** An operator's round ends even if streams become stale as quickly as they are closed. */
const CLOSE_STALE_ROUNDS_MAX = 1_000;

export function createStreamShape(context: ShapeContext): StreamShape {
  const { pool, metrics, keeper, crash } = context;
  const store = createStreamStore({ pool, metrics });
  const keep = keeper.of({ queue: 'stream', workflow: 'stream', read: async (ids) => (await store.streams(ids)).map(keptRow) });
  const sweep = createSweep(context, store, keep);
  return {
    queue: 'stream', activities: { ...createStreamActivities({ store }) },
    port: { ...createPort(store, keep, crash), closeStale: () => closeStale(sweep.all) },
    // The last line: streams whose time has come and whose workflow did nothing, whatever happened to Temporal.
    jobs: [keep.job, { name: 'streams', everyMs: SWEEP_EVERY_MS, run: sweep.claimed }],
  };
}

function createPort(store: StreamStore, keep: KindKeeper, crash: Crash): Omit<StreamPort, 'closeStale'> {
  /** Tells the workflow, unless nothing has changed. */
  const told = <Step extends { readonly stream: Stream; readonly replayed: boolean }>(step: Step): Step => {
    if (!step.replayed) keep.moved(keptRow(step.stream));
    return step;
  };
  return {
    async open(terms, tenantId, idempotency) {
      const id = newId('stream');
      const step = await store.open({ ...terms, id, tenantId, workflowId: workflowIdFor('stream', id), idempotency });
      crash.at('stream-opened');
      if (!step.replayed) await keep.begin(keptRow(step.stream));
      return step;
    },
    async tick(wish) {
      const recorded = await store.tick(wish);
      crash.at('stream-ticked');
      if (recorded.moved) keep.moved(keptRow(recorded.stream));
      return recorded;
    },
    async tickBatch(wish) {
      const recorded = await store.tickBatch(wish);
      if (recorded.moved) keep.moved(keptRow(recorded.stream));
      return recorded;
    },
    async close(streamId, agent, reason, idempotency) {
      const step = await store.close(streamId, agent, reason, idempotency);
      crash.at('stream-closed');
      return told(step);
    },
    topUp: async (streamId, agent, amountMicros, idempotency) => told(await store.topUp(streamId, agent, amountMicros, idempotency)),
  };
}

/** An operator's round: it works on everything, whoever has claimed it. */
async function closeStale(endOverdue: Sweep['all']): Promise<number> {
  let closed = 0;
  for (let round = 0; round < CLOSE_STALE_ROUNDS_MAX; round += 1) {
    const looked = await endOverdue();
    closed += looked.filter(({ status }) => status !== 'open').length;
    if (looked.length < AT_ONCE) break;
  }
  return closed;
}

/** Does what the clock demands of streams whose time has come, a limited number at once. */
interface Sweep {
  /** Of those whose workflow did nothing, which other processes have not claimed. */
  claimed(): Promise<void>;
  /** Of all whose time has come; answers how they stand now. */
  all(): Promise<Stream[]>;
}

function createSweep(context: ShapeContext, store: StreamStore, keep: KindKeeper): Sweep {
  const claims = createClaims({ pool: context.pool, job: 'streams' });
  async function endEach(ids: readonly string[]): Promise<Stream[]> {
    const looked: Stream[] = [];
    await eachClaimed(ids, async (id) => {
      const stream = await store.look(id);
      if (stream === null) return;
      looked.push(stream);
      // A workflow that let its time pass may be lost: hearing of the stream brings it back.
      keep.moved(keptRow(stream));
    }, noteFailure(context, 'stream-look'));
    return looked;
  }
  return {
    claimed: async () => void (await endEach(await claims.take(AT_ONCE, (limit) => store.overdue(STALE_GRACE_MS, limit)))),
    all: async () => endEach(await store.overdue(0, AT_ONCE)),
  };
}

function keptRow(stream: Stream): KeptRow {
  const { id, buyer, seller, tenantId, depositMicros, pricePerTickMicros } = stream;
  return {
    id, view: streamView(stream), buyer, seller, tenantId, amountUsd: toUnits(depositMicros).toNumber(),
    summary: `Stream of up to ${formatMicros(depositMicros)} USDC from ${buyer} to ${seller}, ${formatMicros(pricePerTickMicros)} a tick`,
  };
}
