/** Payments that are kept in a row of their own (streams, pipelines), as a timeline needs them. */
import type pg from 'pg';
import { callColumns, toCall, type CallRow, type TimelineCall } from './timeline-gateway.ts';
import { query } from './query.ts';

/** The row of a payment, whatever its kind. Amounts in micros, by the name of their column. */
export interface KeptPaymentRow {
  readonly id: string;
  readonly state: string;
  readonly buyer: string;
  readonly sellers: readonly string[];
  readonly arbiter: string | null;
  readonly amounts: Readonly<Record<string, bigint>>;
  /** How many parts it has: steps of a pipeline, top-ups of a deposit. */
  readonly parts: number;
  readonly workflowId: string;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

/** The ticks of a stream, as one. */
export interface TickSummary {
  readonly count: number;
  readonly spentMicros: bigint;
  readonly firstAtMicros: bigint;
  readonly lastAtMicros: bigint;
}

interface Row {
  id: string; state: string; buyer: string; sellers: string[]; arbiter: string | null; amounts: Record<string, string>;
  parts: number; workflow_id: string;
  created_at: Date; ended_at: Date | null;
}

// Amounts are text on their way: JSON numbers lose digits.
const rowSql = {
  stream: `
SELECT id, status AS state, buyer, ARRAY[seller] AS sellers, NULL AS arbiter, top_ups AS parts, workflow_id,
       created_at, closed_at AS ended_at,
       json_build_object('deposit', deposit::text, 'spent', spent::text,
                         'remaining', (CASE status WHEN 'open' THEN deposit - spent ELSE 0 END)::text,
                         'refunded', (CASE status WHEN 'open' THEN 0 ELSE deposit - spent END)::text) AS amounts FROM stream WHERE id = $1`,
  // Only the buyer takes part in the whole; a seller takes part in its call.
  pipeline: `
SELECT id, state, buyer, ARRAY[]::text[] AS sellers, NULL AS arbiter, steps AS parts, workflow_id, created_at, ended_at,
       json_build_object('held', held::text, 'paid', total_paid::text) AS amounts FROM pipeline WHERE id = $1`,
} as const;
export type KeptShape = keyof typeof rowSql;

/** The payment with this id, or null. Errors: unavailable. */
export async function readKeptPayment(pool: pg.Pool, shape: KeptShape, id: string): Promise<KeptPaymentRow | null> {
  const [row] = await query<Row>(pool, { name: `timeline-${shape}`, text: rowSql[shape], values: [id] });
  if (row === undefined) return null;
  const { created_at: createdAt, ended_at: endedAt, workflow_id: workflowId, amounts, ...same } = row;
  return { ...same, workflowId, createdAt, endedAt,
    amounts: Object.fromEntries(Object.entries(amounts).map(([name, digits]) => [name, BigInt(digits)])) };
}

const ticksSql = {
  name: 'timeline-ticks',
  text: `
SELECT s.tick_count AS count, s.spent, (extract(epoch FROM f.created_at) * 1000000)::bigint AS first,
       (extract(epoch FROM l.created_at) * 1000000)::bigint AS last
  FROM stream s JOIN stream_tick f ON f.stream_id = s.id AND f.seq = 1
  JOIN stream_tick l ON l.stream_id = s.id AND l.seq = s.tick_count WHERE s.id = $1`,
};

/** What was ticked so far; null before the first tick. Errors: unavailable. */
export async function readTickSummary(pool: pg.Pool, streamId: string): Promise<TickSummary | null> {
  const [row] = await query<{ count: number; spent: string; first: string; last: string }>(pool, { ...ticksSql, values: [streamId] });
  return row === undefined ? null
    : { count: row.count, spentMicros: BigInt(row.spent), firstAtMicros: BigInt(row.first), lastAtMicros: BigInt(row.last) };
}

const stepsSql = {
  name: 'timeline-pipeline-steps',
  text: `SELECT ${callColumns}, false AS single_call, c.step_index FROM gateway_call c WHERE c.pipeline_id = $1 ORDER BY c.step_index`,
};

/** The calls of a pipeline in the order of its steps, those that wait included. Errors: unavailable. */
export async function readPipelineSteps(pool: pg.Pool, pipelineId: string): Promise<(TimelineCall & { readonly stepIndex: number })[]> {
  const rows = await query<CallRow & { step_index: number }>(pool, { ...stepsSql, values: [pipelineId] });
  return rows.map((row) => ({ ...toCall(row), stepIndex: row.step_index }));
}
