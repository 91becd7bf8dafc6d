/** Ticks of streams in Postgres. Single ones are group-committed; each statement is one transaction. */
import type pg from 'pg';
import { micros } from '../domain/money.ts';
import { asStream, type StreamPayment } from '../domain/stream.ts';
import { batchRefusal, tickRefusal, type BatchOutcome, type Tick, type TickOutcome, type TickPort, type TickWish } from '../domain/tick.ts';
import type { Crash } from '../platform/crash.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createGroupCommit } from './group-commit.ts';
import { toPayment, wholeList, type PaymentRow } from './payment-rows.ts';
import { columnList, query as run } from './query.ts';
import { isItemError } from './sql-errors.ts';

const GROUP_MAX = 256;

const tickColumns = ['seq', 'amount', 'cumulative', 'metadata', 'ticked_by', 'created_at'] as const;
const tickManySql = `
SELECT t.pos, t.outcome, t.tick_seq, t.tick_amount, t.tick_cumulative, t.tick_metadata, t.tick_by, t.tick_at, ${wholeList('(t.p)', '(t.m)')}
  FROM stream_tick_many($1, $2, $3, $4, $5, $6, $7) t`;
const tickBatchSql = `
SELECT t.outcome, t.first_seq, t.last_seq, t.affordable, ${wholeList('(t.p)', '(t.m)')}
  FROM stream_tick_batch($1, $2, $3, $4, $5, $6, $7, $8) t`;
const ticksSql = `SELECT ${columnList(tickColumns)} FROM stream_tick WHERE stream_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`;
const spanSql = `
SELECT (extract(epoch FROM min(x.created_at)) * 1000000)::bigint AS first, (extract(epoch FROM max(x.created_at)) * 1000000)::bigint AS last
  FROM stream_tick x WHERE x.stream_id = $1 AND x.seq IN (1, $2)`;

interface TickColumns {
  tick_seq: number; tick_amount: string; tick_cumulative: string; tick_metadata: string | null; tick_by: Tick['tickedBy']; tick_at: Date;
}
type TickRow = PaymentRow & TickColumns & { pos: number; outcome: TickOutcome };
type BatchRow = PaymentRow & { outcome: BatchOutcome; first_seq: number; last_seq: number; affordable: number };
interface Outcome { row: TickRow | undefined; earlier: TickRow | null }

/** When a stream was ticked first and last, in microseconds since 1970. */
export interface TickSpan {
  readonly firstAtMicros: bigint;
  readonly lastAtMicros: bigint;
}

/** The first and the latest of so many ticks; null where they are not there. Errors: unavailable. */
export async function readTickSpan(pool: pg.Pool, streamId: string, ticks: number): Promise<TickSpan | null> {
  const [row] = await run<{ first: string | null; last: string | null }>(pool,
    { name: 'tick-span', text: spanSql, values: [streamId, ticks] });
  if (row === undefined || row.first === null || row.last === null) return null;
  return { firstAtMicros: BigInt(row.first), lastAtMicros: BigInt(row.last) };
}

/** @param crash for crash tests: a process may die when a tick was counted and nobody knows yet. */
export function createTickStore({ pool, metrics, crash }: { readonly pool: pg.Pool; readonly metrics: Metrics;
    readonly crash: Crash }): TickPort {
  const query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> =>
    run<Row>(pool, { name, text, values });
  const grouped = createGroupCommit<TickWish, Outcome>({ itemsMax: GROUP_MAX, lanes: 1, isItemError, isOrdered: true, run: runTicks });

  async function runTicks(items: readonly TickWish[]): Promise<Outcome[]> {
    const startedAt = performance.now();
    const rows = await query<TickRow>('stream-tick-many', tickManySql, [
      items.map(({ streamId }) => streamId), items.map(({ agent }) => agent), items.map(({ seq }) => seq),
      items.map(({ amountMicros }) => amountMicros?.toString() ?? null), items.map(({ metadata }) => metadata),
      items.map(({ idempotency }) => idempotency?.key ?? null), items.map(({ idempotency }) => idempotency?.requestHash ?? null),
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

  return {
    async tick(wish) {
      const { row, earlier } = await grouped(wish);
      const stream = streamIn(row);
      if (row === undefined || stream === null) throw tickRefusal('not_found', wish, null, null);
      if (row.outcome === 'recorded') {
        metrics.ticksCounted(1);
        crash.at('stream-ticked');
        return { tick: toTick(row, stream.id), stream, replayed: false };
      }
      if (row.outcome === 'replay' && earlier !== null) return { tick: toTick(earlier, stream.id), stream, replayed: true };
      throw tickRefusal(row.outcome, wish, stream, earlier === null ? null : toTick(earlier, stream.id));
    },

    async tickBatch(wish) {
      const { streamId, agent, fromSeq, count, ticks, idempotency } = wish;
      const startedAt = performance.now();
      const [row] = await query<BatchRow>('stream-tick-batch', tickBatchSql, [
        streamId, agent, fromSeq, count, ticks?.map(({ amountMicros }) => amountMicros?.toString() ?? null) ?? null,
        ticks?.map(({ metadata }) => metadata) ?? null, idempotency?.key ?? null, idempotency?.requestHash ?? null,
      ]);
      metrics.batchCommitted('tick-batch', count, (performance.now() - startedAt) / 1_000);
      const stream = streamIn(row);
      if (row === undefined || stream === null) throw batchRefusal('not_found', wish, null, 0);
      if (row.outcome !== 'recorded' && row.outcome !== 'replay') throw batchRefusal(row.outcome, wish, stream, row.affordable);
      if (row.outcome === 'recorded') metrics.ticksCounted(count);
      return { firstSeq: row.first_seq, lastSeq: row.last_seq, stream, replayed: row.outcome === 'replay' };
    },

    async ticksOf(streamId, { afterSeq, limit }) {
      const rows = await query<StoredTick>('stream-ticks', ticksSql, [streamId, afterSeq, limit]);
      return rows.map(({ seq, amount, cumulative, metadata, ticked_by: tickedBy, created_at: createdAt }) =>
        ({ streamId, seq, amountMicros: micros(amount), cumulativeMicros: micros(cumulative), metadata, tickedBy, createdAt }));
    },
  };
}

interface StoredTick extends pg.QueryResultRow {
  seq: number; amount: string; cumulative: string; metadata: string | null; ticked_by: Tick['tickedBy']; created_at: Date;
}

/** Without a stream every column of it is null. */
function streamIn(row: PaymentRow | undefined): StreamPayment | null {
  return row === undefined || (row.id as string | null) === null ? null : asStream(toPayment(row));
}

function toTick(row: TickColumns, streamId: string): Tick {
  return {
    streamId, seq: row.tick_seq, amountMicros: micros(row.tick_amount), cumulativeMicros: micros(row.tick_cumulative),
    metadata: row.tick_metadata, tickedBy: row.tick_by, createdAt: row.tick_at,
  };
}
