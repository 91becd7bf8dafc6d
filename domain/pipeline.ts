/** Pipelines in plain types: one to ten paid steps of a gateway session, bought in order (contract alancoin-payments 2.4). */
import type { IdempotencyClaim } from './gateway.ts';
import type { Micros } from './money.ts';
import type { PipelineAction } from './pipeline-rules.ts';

export const STEPS_MAX = 10;

/** A step as people count, beside the index that answers and `$prev` examples use. */
export function stepName(index: number, steps: number): string {
  return `Step ${index + 1} of ${steps} (index ${index})`;
}

/**
 * running: steps are being bought · cancelling: the step under way is the last · undoing: the money is where it stays, compensations are
 * being called · completed, failed, cancelled: ended. What leads where: pipeline-rules.ts.
 */
export const pipelineStates = ['running', 'cancelling', 'undoing', 'completed', 'failed', 'cancelled'] as const;
export type PipelineState = (typeof pipelineStates)[number];
/**
 * planned: waits · accepted: its seller is at work · delivered: answered, its price is kept until the end · settled: paid · released: given
 * back.
 */
export type StepState = 'planned' | 'accepted' | 'delivered' | 'settled' | 'released';
export type UndoState = 'registered' | 'pending' | 'done' | 'failed' | 'not_needed';

/** How a step is undone: a `POST` to this address. */
export interface Compensation {
  readonly endpoint: string;
  /** JSON object text. */
  readonly paramsJson: string;
}

/** A buyer's wish for one step. */
export interface StepWish {
  readonly serviceType: string;
  /** JSON object text, with `$prev` not yet filled in. */
  readonly paramsJson: string;
  readonly maxPriceMicros: Micros | null;
  readonly preferAgent: string | null;
  /** Kept until the pipeline ends instead of paid at once; given back when it does not complete. */
  readonly refundable: boolean;
  readonly compensation: Compensation | null;
}

export interface PipelineRequest {
  readonly steps: readonly StepWish[];
  readonly allOrNothing: boolean;
  readonly idempotency: IdempotencyClaim | null;
}

/** What became of the compensation of a step. */
export interface Undo {
  readonly state: UndoState;
  readonly attempts: number;
  readonly error: string | null;
}

export interface PipelineStep {
  readonly step: number;
  readonly callId: string;
  readonly serviceType: string;
  readonly state: StepState;
  /** JSON object text of the seller's answer. Null until it is paid for, and for good where it is not. */
  readonly responseJson: string | null;
  readonly seller: string | null;
  readonly serviceId: string | null;
  readonly serviceName: string | null;
  readonly paidMicros: Micros;
  readonly latencyMs: number | null;
  readonly refundable: boolean;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  /** It answered, whether or not it was paid in the end. */
  readonly delivered: boolean;
  /** Null where no compensation was declared. */
  readonly undo: Undo | null;
}

export interface Pipeline {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly workflowId: string;
  readonly state: PipelineState;
  readonly allOrNothing: boolean;
  readonly version: number;
  /** Reserved when it was accepted. */
  readonly heldMicros: Micros;
  readonly paidMicros: Micros;
  readonly failedStep: number | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly steps: readonly PipelineStep[];
  /** Of its session. */
  readonly spentMicros: Micros;
  readonly remainingMicros: Micros;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

/** What the HTTP edge may ask about pipelines. */
export interface PipelinePort {
  /**
   * Buys the steps and answers when the pipeline has ended, or as it stands when the time of a request is up. Errors: not_found,
   * forbidden, session_*, validation_error, rate_limited, no_service, budget_exceeded, invalid_endpoint, idempotency_*, unavailable.
   */
  run(agent: string, tenantId: string | null, sessionId: string,
    request: PipelineRequest): Promise<{ pipeline: Pipeline; replayed: boolean }>;
  /**
   * Stops it after the step under way, or has the compensations called again that were given up. `by`: who asks; null for the platform.
   * Errors: not_found, unauthorized (403), invalid_state; unavailable, and then nothing was written.
   */
  act(action: PipelineAction, by: string | null, id: string): Promise<Pipeline>;
}
