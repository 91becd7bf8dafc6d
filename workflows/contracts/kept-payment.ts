/**
 * What a payment that is kept in a row tells its workflow. The row is the truth: steps are taken in Postgres, each in the transaction
 * that moves its money, and the workflow is told where the payment stands now, so that it keeps the right time and shows the right state.
 */
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { SearchableInput } from './search-attributes.ts';

/** Where a payment stands, as much of it as its workflow needs. JSON. */
export interface PaymentView {
  /** Grows by one with every change of the row; what is older than the known is ignored. */
  readonly version: number;
  readonly state: string;
  /** Nothing will change any more. */
  readonly ended: boolean;
  /** When the row must be looked at even if nobody does anything; milliseconds since 1970. Null where only a person can go on. */
  readonly deadlineMs: number | null;
}

/** What the workflow of a kept payment is started with, the first time and whenever it was lost. */
export interface KeptPaymentInput extends SearchableInput {
  readonly id: string;
  readonly view: PaymentView;
  /** Random, made by whoever starts the first run and kept by those that follow: with it, signals of this life have keys of their own. */
  readonly startId?: string;
  /** Signals of each name that earlier runs of this life have taken. */
  readonly signalsTaken?: Readonly<Record<string, number>>;
}

/** Tells the workflow that the row has moved on. Sent by the platform, never needed by hand. */
export const movedSignal = defineSignal<[PaymentView]>('surety-moved');

/** What the query answers: the view, and why the latest signal from a person was refused, since a signal cannot answer. */
export interface KeptPaymentReport extends PaymentView {
  readonly lastRefusal: string | null;
}

/** Where the payment stands, for screens and the CLI; the row says more. */
export const paymentViewQuery = defineQuery<KeptPaymentReport>('surety-view');
