/** The rows and money steps of streams in Postgres. Ticks are group-committed; each function is one transaction. */
import type pg from 'pg';
import { SuretyError } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import { AMOUNT_MICROS_MAX, micros, type Micros } from '../../domain/money.ts';
import type { RecordedBatch, RecordedTick, Stream, StreamStatus, StreamStep, StreamTerms, TickBatchWish,
  TickWish } from '../../domain/stream.ts';
import { createGroupCommit } from '../../ledger/group-commit.ts';
import { columnList, query as run } from '../../ledger/query.ts';
import { isItemError } from '../../ledger/sql-errors.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { batchRefusal, tickRefusal, toTick, type BatchOutcome, type TickOutcome } from './refusals.ts';

const GROUP_MAX = 256;

export type StreamStore = ReturnType<typeof createStreamStore>;

export interface NewStream extends StreamTerms {
  readonly id: string;
  readonly tenantId: string | null;
  readonly workflowId: string;
  readonly idempotency: IdempotencyClaim | null;
}

/** Whether the stream got low or paused by these ticks, which its workflow must hear. */
interface Moved {
  readonly moved: boolean;
}

export function createStreamStore({ pool, metrics }: { readonly pool: pg.Pool; readonly metrics: Metrics }) {
  const query: Query = (name, text, values) => run(pool, { name, text, values });
  return { ...tickSteps(query, metrics), ...moneySteps(query, metrics), ...reads(query) };
}

type Query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>;

function tickSteps(query: Query, metrics: Metrics) {
  async function runTicks(items: readonly TickWish[]): Promise<Outcome[]> {
    const startedAt = performance.now();
    const rows = await query<TickRow>('stream-tick-many', tickManySql, [
      items.map(({ streamId }) => streamId), items.map(({ agent }) => agent), items.map(({ seq }) => seq),
      items.map(({ amountMicros }) => amountMicros?.toString() ?? null),
      items.map(({ metadata }) => metadata), items.map(({ idempotency }) => idempotency?.key ?? null),
      items.map(({ idempotency }) => idempotency?.requestHash ?? null),
    ]);
    metrics.batchCommitted('tick', items.length, (performance.now() - startedAt) / 1_000);
    const outcomes: Outcome[] = items.map(() => ({ row: undefined, earlier: null }));
    for (const row of rows) {
      const outcome = outcomes[row.pos];
      if (outcome === undefined) continue;
      if (row.outcome === 'earlier') outcome.earlier = row;
      else outcome.row = row;
    }
    return outcomes;
  }
  const grouped = createGroupCommit<TickWish, Outcome>({ itemsMax: GROUP_MAX, lanes: 1, run: runTicks, isItemError });

  return {
    /** Errors: those of `StreamPort.tick`. */
    async tick(wish: TickWish): Promise<RecordedTick & Moved> {
      const { row, earlier } = await grouped(wish);
      const stream = row === undefined || row.id === null ? null : toStream(row);
      if (row === undefined || stream === null) throw tickRefusal('not_found', wish, null, null);
      if (row.outcome === 'recorded') {
        metrics.ticksCounted(1);
        return { tick: toTick(row, stream.id), stream, replayed: false, moved: row.moved };
      }
      if (row.outcome === 'replay' && earlier !== null) return { tick: toTick(earlier, stream.id), stream, replayed: true, moved: false };
      throw tickRefusal(row.outcome, wish, stream, earlier === null ? null : toTick(earlier, stream.id));
    },

    /** Errors: those of `StreamPort.tickBatch`. */
    async tickBatch(wish: TickBatchWish): Promise<RecordedBatch & Moved> {
      const { streamId, agent, fromSeq, count, ticks, idempotency } = wish;
      const startedAt = performance.now();
      const [row] = await query<BatchRow>('stream-tick-batch', tickBatchSql, [
        streamId, agent, fromSeq, count, ticks?.map(({ amountMicros }) => amountMicros?.toString() ?? null) ?? null,
        ticks?.map(({ metadata }) => metadata) ?? null,
        idempotency?.key ?? null, idempotency?.requestHash ?? null,
      ]);
      metrics.batchCommitted('tick-batch', count, (performance.now() - startedAt) / 1_000);
      const stream = row === undefined || row.id === null ? null : toStream(row);
      if (row === undefined || stream === null) throw batchRefusal('not_found', wish, null, 0);
      if (row.outcome !== 'recorded' && row.outcome !== 'replay') throw batchRefusal(row.outcome, wish, stream, row.affordable);
      if (row.outcome === 'recorded') metrics.ticksCounted(count);
      return { firstSeq: row.first_seq, lastSeq: row.last_seq, stream, replayed: row.outcome === 'replay', moved: row.moved };
    },
  };
}

function moneySteps(query: Query, metrics: Metrics) {
  const countEnd = ({ status }: Stream): void => {
    if (status !== 'open') metrics.paymentEnded('stream', status);
  };

  async function step(name: string, text: string, values: unknown[]): Promise<StreamStep> {
    const [row] = await query<StepRow>(name, text, values).catch((error: unknown): never => {
      throw asRoleError(error);
    });
    if (row === undefined) throw new SuretyError('not_found', 'There is no such stream.');
    return { stream: toStream(row), replayed: row.replayed };
  }
  const claimed = (claim: IdempotencyClaim | null): [string | null, string | null] => [claim?.key ?? null, claim?.requestHash ?? null];

  return {
    async open(stream: NewStream): Promise<StreamStep> {
      const opened = await step('stream-open', openSql, [
        stream.id, stream.buyer, stream.seller, stream.serviceId, stream.tenantId, stream.depositMicros.toString(),
        stream.pricePerTickMicros.toString(), stream.staleTimeoutMs,
        stream.workflowId, ...claimed(stream.idempotency),
      ]);
      if (!opened.replayed) metrics.paymentBegun('stream');
      return opened;
    },

    /** @param agent an address, or the word `buyer` or `seller` when an operator acts for one of them. */
    async close(id: string, agent: string, reason: string | null, claim: IdempotencyClaim | null): Promise<StreamStep> {
      const closed = await step('stream-close', closeSql, [id, agent, reason, ...claimed(claim)]);
      if (!closed.replayed) countEnd(closed.stream);
      return closed;
    },

    topUp: (id: string, agent: string, amountMicros: Micros, claim: IdempotencyClaim | null) =>
      step('stream-top-up', `SELECT t.replayed, ${ofStream} FROM stream_top_up($1, $2, $3, $4, $5, $6) t`, [
        id, agent, amountMicros.toString(), AMOUNT_MICROS_MAX.toString(), ...claimed(claim),
      ]),

    /** Ends the stream if it is stale by the database's clock. Null: no such stream. */
    async look(id: string): Promise<Stream | null> {
      const [row] = await query<StreamRow & { ended: boolean }>('stream-look', `SELECT t.ended, ${ofStream} FROM stream_look($1) t`, [id]);
      if (row === undefined) return null;
      const stream = toStream(row);
      if (row.ended) countEnd(stream);
      return stream;
    },
  };
}

function reads(query: Query) {
  return {
    async streams(ids: readonly string[]): Promise<Stream[]> {
      return (await query<StreamRow>('streams', `SELECT ${columnList(columns)} FROM stream WHERE id = ANY ($1)`, [ids])).map(toStream);
    },

    /** Streams that somebody should have looked at `graceMs` ago. */
    async overdue(graceMs: number, limit: number): Promise<string[]> {
      const rows = await query<{ id: string }>('streams-overdue',
        `SELECT id FROM stream WHERE status = 'open' AND look_at <= clock_timestamp() - $1 * interval '1 millisecond' ORDER BY look_at LIMIT $2`, [graceMs, limit]);
      return rows.map(({ id }) => id);
    },
  };
}

interface Outcome { row: TickRow | undefined; earlier: TickRow | null }
interface StreamRow extends pg.QueryResultRow {
  id: string; buyer: string; seller: string; service_id: string | null; session_key_id: string | null; tenant_id: string | null;
  deposit: string; spent: string;
  price_per_tick: string; tick_count: number; status: StreamStatus; stale_timeout_ms: string; paused: boolean;
  last_tick_at: Date | null; closed_at: Date | null;
  close_reason: string | null; version: number; workflow_id: string; created_at: Date; updated_at: Date;
}
interface StepRow extends StreamRow { replayed: boolean }
interface TickRow extends StreamRow {
  pos: number; outcome: TickOutcome; tick_seq: number; tick_amount: string; tick_cumulative: string; tick_metadata: string | null;
  tick_by: 'buyer' | 'seller'; tick_at: Date; moved: boolean;
}
interface BatchRow extends StreamRow { outcome: BatchOutcome; first_seq: number; last_seq: number; affordable: number; moved: boolean }

const columns = [
  'id', 'buyer', 'seller', 'service_id', 'session_key_id', 'tenant_id', 'deposit', 'spent', 'price_per_tick', 'tick_count', 'status',
  'stale_timeout_ms',
  'paused', 'last_tick_at', 'closed_at', 'close_reason', 'version', 'workflow_id', 'created_at', 'updated_at',
];
/** The columns of the stream in what the functions return. */
const ofStream = columnList(columns, '(t.s)');
const openSql = `SELECT t.replayed, ${ofStream} FROM stream_open($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) t`;
const closeSql = `SELECT t.replayed, ${ofStream} FROM stream_close($1, $2, $3, $4, $5) t`;
const tickManySql = `
SELECT t.pos, t.outcome, t.tick_seq, t.tick_amount, t.tick_cumulative, t.tick_metadata, t.tick_by, t.tick_at, t.moved, ${ofStream}
  FROM stream_tick_many($1, $2, $3, $4, $5, $6, $7) t`;
const tickBatchSql = `
SELECT t.outcome, t.first_seq, t.last_seq, t.affordable, t.moved, ${ofStream} FROM stream_tick_batch($1, $2, $3, $4, $5, $6, $7, $8) t`;

function toStream(row: StreamRow): Stream {
  return {
    id: row.id, buyer: row.buyer, seller: row.seller, serviceId: row.service_id, sessionKeyId: row.session_key_id, tenantId: row.tenant_id,
    depositMicros: micros(row.deposit), spentMicros: micros(row.spent), pricePerTickMicros: micros(row.price_per_tick),
    tickCount: row.tick_count, status: row.status,
    staleTimeoutMs: Number(row.stale_timeout_ms), paused: row.paused, lastTickAt: row.last_tick_at, closedAt: row.closed_at,
    closeReason: row.close_reason,
    version: row.version, workflowId: row.workflow_id, createdAt: row.created_at, updatedAt: row.updated_at,
  };
}

/** SQL knows one code for "not yours"; the clients of this shape expect it with 403. */
function asRoleError(error: unknown): unknown {
  if (!(error instanceof SuretyError) || error.code !== 'unauthorized') return error;
  return new SuretyError('unauthorized', error.message,
    { ...error.extras, status: 403, recovery: 'Use a key of the agent that plays this part in the stream.', cause: error });
}
