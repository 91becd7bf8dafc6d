/** What the outside may say to the workflow of a payment, and what it may ask. */
import type { SignalDefinition, UpdateDefinition } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { PaymentFact, PaymentView, StepRequest } from '../../domain/payment-messages.ts';

/**
 * An update with its answer, and its twin for those who cannot wait: the signal of the same name. The input has the fields of the HTTP
 * route.
 */
export interface StepMessages {
  readonly update: UpdateDefinition<PaymentView, [input: unknown, request: StepRequest | undefined]>;
  readonly signal: SignalDefinition<[input: unknown]>;
}

/** `surety-confirm` and so on. */
export function stepMessages(step: string): StepMessages {
  return { update: defineUpdate(`surety-${step}`), signal: defineSignal(`surety-${step}`) };
}

/** Answers once the payment is open, or fails with the code of the refusal. */
export const openedUpdate = defineUpdate<PaymentView>('surety-opened');

/** Says that the payment has moved on without its workflow, up to this version. The workflow reads what happened itself. */
export const movedSignal = defineSignal<[{ readonly version: number }]>('surety-moved');

/** Where the payment stands, what has happened lately, and why the latest signal was refused, since a signal cannot answer. */
export const paymentViewQuery = defineQuery<PaymentView & { readonly facts: readonly PaymentFact[]; readonly lastRefusal: string | null }>(
  'surety-view',
);
