import { defineSignal, defineUpdate } from '@temporalio/workflow';
import type { KeptPaymentInput, PaymentView } from './kept-payment.ts';

/** What a pipeline's workflow is started with. */
export interface PipelineInput extends KeptPaymentInput {
  /** How many there are. */
  readonly steps: number;
}

/** Who cancels: the buyer's address, which is then checked; the platform when left out. */
export interface CancelInput {
  readonly by?: string;
}

/** Stops a pipeline after the step under way, by update or by the signal of the same name. */
export const cancelStep = {
  update: defineUpdate<PaymentView, [CancelInput]>('surety-cancel'),
  signal: defineSignal<[CancelInput]>('surety-cancel'),
};
