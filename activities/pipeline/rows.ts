/** The rows of a pipeline, and what they mean to those who drive it, show it, or keep its workflow. */
import type pg from 'pg';
import { micros } from '../../domain/money.ts';
import { hasEnded, type Compensation, type Pipeline, type PipelineState, type PipelineStep, type StepState,
  type UndoState } from '../../domain/pipeline.ts';
import type { Candidate, OpenCall } from '../gateway/call.ts';

export interface PipelineRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; tenant_id: string | null; steps: number; all_or_nothing: boolean;
  state: PipelineState; version: number;
  held: string; total_paid: string; failed_step: number | null; error_code: string | null; error_message: string | null;
  workflow_id: string; created_at: Date; ended_at: Date | null;
}

/** Those of {@link PipelineRow}. */
export const pipelineColumns: readonly string[] = [
  'id', 'session_id', 'buyer', 'tenant_id', 'steps', 'all_or_nothing', 'state', 'version', 'held', 'total_paid', 'failed_step',
  'error_code', 'error_message',
  'workflow_id', 'created_at', 'ended_at',
];

export interface StepRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; pipeline_id: string; step_index: number; service_type: string; params: string;
  candidates: Candidate[]; attempt: number; state: StepState;
  price: string; seller: string | null; service_id: string | null; service_name: string | null; http_status: number | null;
  response: string | null; latency_ms: number | null;
  error_code: string | null; error_message: string | null; refundable: boolean; compensation: string | null; undo_state: UndoState | null;
  undo_attempts: number; undo_error: string | null;
}

/** Those of {@link StepRow}. */
export const stepColumns: readonly string[] = [
  'id', 'session_id', 'buyer', 'pipeline_id', 'step_index', 'service_type', 'params', 'candidates', 'attempt', 'state', 'price',
  'seller', 'service_id', 'service_name',
  'http_status', 'response', 'latency_ms', 'error_code', 'error_message', 'refundable', 'compensation', 'undo_state', 'undo_attempts',
  'undo_error',
];

export interface BudgetRow extends pg.QueryResultRow { spent: string; remaining: string }

/** Where a pipeline stands, for its workflow. */
export interface PipelineView {
  readonly version: number;
  readonly state: PipelineState;
  readonly ended: boolean;
  readonly deadlineMs: null;
}

/** What `PaymentView` promises of a pipeline: it has no deadline of its own, its steps have. */
export function viewOf({ version, state }: Pick<PipelineRow, 'version' | 'state'>): PipelineView {
  return { version, state, ended: hasEnded(state), deadlineMs: null };
}

/** A step as a call to drive. The parameters are those of the row unless it has just been given others. */
export function openCallOf(row: StepRow, paramsJson = row.params): OpenCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, serviceType: row.service_type, paramsJson, candidates: row.candidates,
    refundable: row.refundable, attempt: row.attempt, takenOver: false,
  };
}

/** The stored text of a compensation. */
export function writeCompensation({ endpoint, paramsJson }: Compensation): string {
  return `{"endpoint":${JSON.stringify(endpoint)},"params":${paramsJson}}`;
}

/** The other way round. */
export function readCompensation(text: string): { readonly endpoint: string; readonly params: unknown } {
  return JSON.parse(text) as { endpoint: string; params: unknown };
}

/** Rows as the domain's pipeline. */
export function pipelineOf(row: PipelineRow, steps: readonly StepRow[], budget: BudgetRow | undefined): Pipeline {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, workflowId: row.workflow_id, state: row.state,
    allOrNothing: row.all_or_nothing, version: row.version,
    heldMicros: micros(row.held), paidMicros: micros(row.total_paid), failedStep: row.failed_step, errorCode: row.error_code,
    errorMessage: row.error_message,
    steps: steps.map(stepOf), spentMicros: micros(budget?.spent ?? 0), remainingMicros: micros(budget?.remaining ?? 0),
    createdAt: row.created_at, endedAt: row.ended_at,
  };
}

function stepOf(row: StepRow): PipelineStep {
  const ok = row.http_status !== null && row.http_status >= 200 && row.http_status <= 299;
  return {
    step: row.step_index, callId: row.id, serviceType: row.service_type, state: row.state,
    responseJson: row.state === 'settled' ? row.response : null,
    seller: row.seller, serviceId: row.service_id, serviceName: row.service_name, paidMicros: micros(row.price), latencyMs: row.latency_ms,
    refundable: row.refundable,
    errorCode: row.error_code, errorMessage: row.error_message, delivered: ok,
    undo: row.undo_state === null ? null : { state: row.undo_state, attempts: row.undo_attempts, error: row.undo_error },
  };
}
