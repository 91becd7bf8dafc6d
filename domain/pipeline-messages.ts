/**
 * What requests, the workflow and the activities of a pipeline send one another. JSON: amounts are decimal strings, times milliseconds
 * since 1970.
 */
import type { PipelineState, StepState, UndoState } from './pipeline.ts';
import type { Refusal } from './payment.ts';

/** A step: what it is, and what has become of it. */
export interface StepReport {
  /** From 0. */
  readonly step: number;
  readonly serviceType: string;
  /** Who is asked, or has delivered; the first choice until then. */
  readonly service: string;
  readonly seller: string;
  /** What that costs. */
  readonly price: string;
  readonly refundable: boolean;
  readonly state: StepState;
  /** Why it did not deliver. */
  readonly error?: string;
  /** How it is undone; absent where no compensation was declared. */
  readonly undo?: { readonly endpoint: string; readonly state: UndoState; readonly attempts: number; readonly error?: string };
}

/** Where a pipeline stands. */
export interface PipelineReport {
  readonly id: string;
  /** Grows by one with everything that happens to the pipeline as a whole. */
  readonly version: number;
  readonly state: PipelineState;
  readonly ended: boolean;
  readonly steps: readonly StepReport[];
  /** What was paid, and what went back to the budget of the session, once that is known. */
  readonly money?: { readonly paid: string; readonly returned: string };
  /** The step that failed, from 0, and why. */
  readonly failedStep?: number;
  readonly reason?: string;
}

/** What an activity has done to a pipeline, or why not. */
export interface PipelineTaken {
  readonly report: PipelineReport;
  readonly refusal?: Refusal;
}

/** slow: its seller is still at work · given_up: no seller has delivered · stopped: it never began. */
export type StepOutcome = 'delivered' | 'given_up' | 'stopped' | 'slow';

/** How the purchase of a step went. */
export interface StepBought {
  readonly outcome: StepOutcome;
  /** Who has delivered, at what price, and whether it is paid by now or when the pipeline completes. */
  readonly service?: string;
  readonly seller?: string;
  readonly price?: string;
  readonly paid?: boolean;
}

/** later: it did not work, and will be tried again. over: it worked, or was given up. */
export interface UndoTried extends PipelineTaken {
  readonly outcome: 'over' | 'later';
}

/** What the workflow of a pipeline is started with, the first time and whenever it was lost. */
export interface PipelineInput {
  readonly id: string;
  readonly buyer: string;
  /** Reserved for all steps when it was accepted. */
  readonly amount: string;
  readonly asset: string;
  /** Where it stood when the start was sent. */
  readonly report: PipelineReport;
  /** Search attributes that the server knows; others are not set. */
  readonly searchAttributes?: readonly string[];
}

/** How a pipeline ended. */
export interface PipelineResult {
  readonly id: string;
  readonly version: number;
  readonly state: PipelineState;
  readonly failedStep?: number;
  readonly reason?: string;
  readonly paid: readonly { readonly step: number; readonly service: string; readonly to: string; readonly amount: string }[];
  /** What went back to the budget of the session. */
  readonly returned: string;
  readonly undone: readonly { readonly step: number; readonly state: UndoState; readonly attempts: number; readonly error?: string }[];
}
