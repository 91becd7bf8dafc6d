/** Multistep escrow in plain types: a plan of steps that is held at once and paid step by step, and the rules of such a plan. */
import { SuretyError } from './errors.ts';
import type { IdempotencyClaim } from './gateway.ts';
import { formatMicros, type Micros } from './money.ts';

export type MultistepStatus = 'open' | 'completed' | 'aborted';
/** Why the rest went back to the buyer. */
export type MultistepResolution = 'buyer_refund' | 'expired';

/** Bounds and defaults (contract alancoin-payments 2.7; the deadline is ours, the first system had none). */
export const multistepBounds = {
  stepsMax: 100,
  expiresInMsDefault: 86_400_000,
  expiresInMsMin: 1_000,
  expiresInMsMax: 365 * 86_400_000,
} as const;

/** What a buyer wants done, by whom, for how much. Never changes after the escrow was made. */
export interface PlannedStep {
  readonly seller: string;
  readonly amountMicros: Micros;
}

export interface MultistepPlan {
  readonly totalMicros: Micros;
  readonly steps: readonly PlannedStep[];
  /** From the creation to the moment when the rest goes back by itself. */
  readonly expiresInMs: number;
}

export interface MultistepStep extends PlannedStep {
  /** When the buyer confirmed it and the seller was paid. */
  readonly confirmedAt: Date | null;
}

export interface MultistepEscrow {
  readonly id: string;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly totalMicros: Micros;
  readonly spentMicros: Micros;
  readonly refundedMicros: Micros;
  readonly confirmedSteps: number;
  /** In the order of the plan; the index in this list is the step's number. */
  readonly steps: readonly MultistepStep[];
  readonly status: MultistepStatus;
  readonly resolution: MultistepResolution | null;
  readonly deadline: Date;
  /** Grows by one with every change. */
  readonly version: number;
  readonly workflowId: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly endedAt: Date | null;
}

/** One step, as the buyer confirms it. What is null is taken from the plan. */
export interface StepClaim {
  readonly stepIndex: number;
  readonly seller: string | null;
  readonly amountMicros: Micros | null;
}

/** An escrow after a step, and whether the answer repeats that of an earlier request with the same idempotency key. */
export interface MultistepAnswer {
  readonly escrow: MultistepEscrow;
  readonly replayed: boolean;
}

/** What the HTTP edge may ask of multistep escrows. Every answer is final when it comes: the money has moved with it. */
export interface MultistepPort {
  /**
   * Holds the total and starts the workflow. Errors: amount_exceeds_total, self_trade, agent_not_found, insufficient_balance,
   * idempotency_*.
   */
  create(buyer: { readonly address: string; readonly tenantId: string | null }, plan: MultistepPlan,
    idempotency: IdempotencyClaim | null): Promise<MultistepAnswer>;
  /**
   * Pays a step to its seller. Errors: not_found, unauthorized, invalid_state, step_out_of_range, duplicate_step, step_mismatch,
   * idempotency_*.
   */
  confirmStep(caller: string, id: string, step: StepClaim, idempotency: IdempotencyClaim | null): Promise<MultistepAnswer>;
  /** Gives the rest back to the buyer. Errors: not_found, unauthorized, invalid_state, idempotency_*. */
  refund(caller: string, id: string, idempotency: IdempotencyClaim | null): Promise<MultistepAnswer>;
}

/**
 * Holds a plan to the rules that need no look at the books. Amounts are compared as numbers, so `0.1` is `0.10`.
 * @throws SuretyError `amount_exceeds_total` when the steps do not add up to the total, `self_trade` when the buyer is a seller.
 */
export function checkPlan(buyer: string, { totalMicros, steps }: MultistepPlan): void {
  const sum = steps.reduce((micros, step) => micros + step.amountMicros, 0n);
  if (sum !== totalMicros) {
    throw new SuretyError('amount_exceeds_total',
      `The steps add up to ${formatMicros(sum)} USDC, but totalAmount is ${formatMicros(totalMicros)}.`);
  }
  const own = steps.findIndex((step) => step.seller === buyer);
  if (own !== -1) throw new SuretyError('self_trade', `The seller of step ${own} is the buyer.`);
}

/** Set aside and neither paid nor given back. */
export function remainingOf({ totalMicros, spentMicros, refundedMicros }: MultistepEscrow): Micros {
  return (totalMicros - spentMicros - refundedMicros) as Micros;
}
