import { defineSignal, defineUpdate } from '@temporalio/workflow';
import type { StepMessages } from '../keep.ts';
import type { KeptPaymentInput, PaymentView } from './kept-payment.ts';

/** What a stream's workflow is started with. */
export interface StreamInput extends KeptPaymentInput {
  /** Events after which it goes on in a new run; the workflow's own limit when left out. */
  readonly eventsMax?: number;
}

/** How somebody at Temporal's UI or CLI closes a stream. Everything may be left out. */
export interface CloseStreamWish {
  readonly reason?: string;
  /** For which party; the buyer when left out. */
  readonly by?: 'buyer' | 'seller';
}

/** Ends the stream: what was ticked is paid, the rest goes back. */
export const closeStreamMessages: StepMessages<CloseStreamWish> = {
  update: defineUpdate<PaymentView, [CloseStreamWish]>('surety-close'),
  signal: defineSignal<[CloseStreamWish]>('surety-close'),
};
