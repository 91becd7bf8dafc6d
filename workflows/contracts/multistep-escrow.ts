/** What may be said to the workflow of a multistep escrow: every step is an update that answers, and the signal of the same name. */
import { defineSignal, defineUpdate } from '@temporalio/workflow';
import type { PaymentView } from './kept-payment.ts';

/** Which step is done. Seller and amount are those of the plan when they are left out. */
export interface ConfirmStepInput {
  /** From 0. */
  readonly stepIndex: number;
  readonly sellerAddr?: string;
  /** Decimal text, as over HTTP. */
  readonly amount?: string;
}

/** Pays a step to its seller, in the name of the buyer. */
export const confirmStepMessages = {
  update: defineUpdate<PaymentView, [ConfirmStepInput]>('surety-confirm-step'),
  signal: defineSignal<[ConfirmStepInput]>('surety-confirm-step'),
};

/** Gives what is not confirmed back to the buyer. The input says nothing and may be left out. */
export const refundMessages = {
  update: defineUpdate<PaymentView, [Record<string, never>]>('surety-refund'),
  signal: defineSignal<[Record<string, never>]>('surety-refund'),
};
