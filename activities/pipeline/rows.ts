/** The rows of a pipeline, and what they mean to those who drive it, show it, or keep its workflow. */
import type pg from 'pg';
import { formatMicros, micros } from '../../domain/money.ts';
import type { PipelineReport, StepReport } from '../../domain/pipeline-messages.ts';
import { hasEnded } from '../../domain/pipeline-rules.ts';
import type { Compensation, Pipeline, PipelineState, PipelineStep, StepState, UndoState } from '../../domain/pipeline.ts';
import type { Candidate, OpenCall } from '../gateway/call.ts';

export interface PipelineRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; tenant_id: string | null; steps: number; all_or_nothing: boolean;
  state: PipelineState; version: number;
  held: string; total_paid: string; failed_step: number | null; error_code: string | null; error_message: string | null;
  workflow_id: string; workflow_started: boolean; created_at: Date; ended_at: Date | null;
}

/** Those of {@link PipelineRow}. */
export const pipelineColumns: readonly string[] = [
  'id', 'session_id', 'buyer', 'tenant_id', 'steps', 'all_or_nothing', 'state', 'version', 'held', 'total_paid', 'failed_step',
  'error_code', 'error_message',
  'workflow_id', 'workflow_started', 'created_at', 'ended_at',
];

export interface StepRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; pipeline_id: string; step_index: number; service_type: string; params: string;
  candidates: Candidate[]; attempt: number; state: StepState;
  reserved: string; price: string; seller: string | null; service_id: string | null; service_name: string | null;
  http_status: number | null;
  response: string | null; latency_ms: number | null;
  error_code: string | null; error_message: string | null; refundable: boolean; compensation: string | null; undo_state: UndoState | null;
  undo_attempts: number; undo_error: string | null;
}

/** Those of {@link StepRow}. */
export const stepColumns: readonly string[] = [
  'id', 'session_id', 'buyer', 'pipeline_id', 'step_index', 'service_type', 'params', 'candidates', 'attempt', 'state', 'reserved', 'price',
  'seller', 'service_id', 'service_name',
  'http_status', 'response', 'latency_ms', 'error_code', 'error_message', 'refundable', 'compensation', 'undo_state', 'undo_attempts',
  'undo_error',
];

export interface BudgetRow extends pg.QueryResultRow { spent: string; remaining: string }

/** Where a pipeline stands, for its workflow and whoever looks at that. */
export function reportOf(row: PipelineRow, steps: readonly StepRow[]): PipelineReport {
  const { id, version, state, failed_step: failedStep, error_message: reason } = row;
  const [held, paid] = [BigInt(row.held), BigInt(row.total_paid)];
  const money = { paid: formatMicros(paid), returned: formatMicros(paid > held ? 0n : held - paid) };
  return {
    id, version, state, ended: hasEnded(state), steps: steps.map(stepReportOf),
    ...(state === 'running' || state === 'cancelling' ? {} : { money }),
    ...(failedStep === null ? {} : { failedStep }), ...(reason === null ? {} : { reason }),
  };
}

function stepReportOf(row: StepRow): StepReport {
  const { undo_state: state, undo_attempts: attempts, undo_error: undoError, compensation, error_message: error } = row;
  return {
    step: row.step_index, serviceType: row.service_type, service: row.service_name ?? '', seller: row.seller ?? '',
    price: formatMicros(row.state === 'settled' ? row.price : row.reserved), refundable: row.refundable, state: row.state,
    ...(error === null ? {} : { error }),
    ...(state === null || compensation === null ? {} : {
      undo: { endpoint: readCompensation(compensation).endpoint, state, attempts, ...(undoError === null ? {} : { error: undoError }) },
    }),
  };
}

/** A step as a call to drive. The parameters are those of the row unless it has just been given others. */
export function openCallOf(row: StepRow, paramsJson = row.params): OpenCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, serviceType: row.service_type, paramsJson, candidates: row.candidates,
    refundable: row.refundable, attempt: row.attempt, takenOver: false, asked: false,
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
