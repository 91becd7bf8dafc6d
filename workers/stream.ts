/** Streams in this process: the port of the HTTP edge, the activities, and the job behind the workflows. */
import { createStreamActivities, streamView } from '../activities/stream/activities.ts';
import { createStreamStore, type StreamStore } from '../activities/stream/store.ts';
import { formatMicros, toUnits } from '../domain/money.ts';
import type { Stream, StreamPort } from '../domain/stream.ts';
import type { Crash } from '../platform/crash.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import { activityKey } from './activity-key.ts';
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
  const lookAtOverdue = createBroom(context, store, keep);
  return {
    queue: 'stream', activities: { ...createStreamActivities({ store, activityKey }) }, port: { ...createPort(store, keep, crash), closeStale: () => closeStale(lookAtOverdue) },
    // The last line: streams whose time has come and whose workflow did nothing, whatever happened to Temporal.
    jobs: [keep.job, { name: 'streams', everyMs: SWEEP_EVERY_MS, run: async () => void (await lookAtOverdue(STALE_GRACE_MS)) }],
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

async function closeStale(lookAtOverdue: Broom): Promise<number> {
  let closed = 0;
  for (let round = 0; round < CLOSE_STALE_ROUNDS_MAX; round += 1) {
    const looked = await lookAtOverdue(0);
    closed += looked.filter(({ status }) => status !== 'open').length;
    if (looked.length < AT_ONCE) break;
  }
  return closed;
}

/** Looks at streams whose time came at least so many milliseconds ago, a limited number at once; answers how they stand now. */
type Broom = (graceMs: number) => Promise<Stream[]>;

function createBroom({ log, metrics }: Pick<ShapeContext, 'log' | 'metrics'>, store: StreamStore, keep: KindKeeper): Broom {
  return async (graceMs) => {
    const looked: Stream[] = [];
    for (const id of await store.overdue(graceMs, AT_ONCE)) {
      try {
        const stream = await store.look(id);
        if (stream === null) continue;
        looked.push(stream);
        // A workflow that let its time pass may be lost: hearing of the stream brings it back.
        keep.moved(keptRow(stream));
      } catch (error) {
        // The oldest come first: one that cannot be ended must not keep all others waiting behind it.
        log.error({ err: error, streamId: id }, 'A stream whose time has come could not be looked at.');
        metrics.backgroundError('stream-look');
      }
    }
    return looked;
  };
}

function keptRow(stream: Stream): KeptRow {
  const { id, buyer, seller, tenantId, depositMicros, pricePerTickMicros } = stream;
  return {
    id, view: streamView(stream), buyer, seller, tenantId, amountUsd: toUnits(depositMicros).toNumber(),
    summary: `Stream of up to ${formatMicros(depositMicros)} USDC from ${buyer} to ${seller}, ${formatMicros(pricePerTickMicros)} a tick`,
  };
}
