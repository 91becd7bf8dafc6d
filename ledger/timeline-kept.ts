/** Payments that are kept in a row of their own (pipelines), as a timeline needs them. */
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
  /** How many steps it has. */
  readonly parts: number;
  readonly workflowId: string;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

interface Row {
  id: string; state: string; buyer: string; sellers: string[]; arbiter: string | null; amounts: Record<string, string>;
  parts: number; workflow_id: string;
  created_at: Date; ended_at: Date | null;
}

// Amounts are text on their way: JSON numbers lose digits.
const rowSql = {
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

const stepsSql = {
  name: 'timeline-pipeline-steps',
  text: `SELECT ${callColumns}, false AS single_call, c.step_index FROM gateway_call c WHERE c.pipeline_id = $1 ORDER BY c.step_index`,
};

/** The calls of a pipeline in the order of its steps, those that wait included. Errors: unavailable. */
export async function readPipelineSteps(pool: pg.Pool, pipelineId: string): Promise<(TimelineCall & { readonly stepIndex: number })[]> {
  const rows = await query<CallRow & { step_index: number }>(pool, { ...stepsSql, values: [pipelineId] });
  return rows.map((row) => ({ ...toCall(row), stepIndex: row.step_index }));
}
