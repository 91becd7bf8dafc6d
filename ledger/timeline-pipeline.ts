/** Pipelines as a timeline needs them: the row, and the calls of its steps. */
import type pg from 'pg';
import { callColumns, toCall, type CallRow, type TimelineCall } from './timeline-gateway.ts';
import { query } from './query.ts';

/** The row of a pipeline. */
export interface TimelinePipeline {
  readonly id: string;
  readonly state: string;
  readonly buyer: string;
  readonly heldMicros: bigint;
  readonly paidMicros: bigint;
  readonly workflowId: string;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

interface Row {
  id: string; state: string; buyer: string; held: string; total_paid: string; workflow_id: string; created_at: Date; ended_at: Date | null;
}

const rowSql = {
  name: 'timeline-pipeline',
  text: 'SELECT id, state, buyer, held, total_paid, workflow_id, created_at, ended_at FROM pipeline WHERE id = $1',
};

/** The pipeline with this id, or null. Errors: unavailable. */
export async function readTimelinePipeline(pool: pg.Pool, id: string): Promise<TimelinePipeline | null> {
  const [row] = await query<Row>(pool, { ...rowSql, values: [id] });
  return row === undefined ? null : {
    id: row.id, state: row.state, buyer: row.buyer, heldMicros: BigInt(row.held), paidMicros: BigInt(row.total_paid),
    workflowId: row.workflow_id, createdAt: row.created_at, endedAt: row.ended_at,
  };
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
