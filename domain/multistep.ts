/**
 * Multistep escrow: a plan of steps whose money is held at once; each seller is paid when the buyer confirms its step, and the rest comes
 * back when the buyer asks for it, or at the deadline. The tables below are the rules; nothing repeats them. The diagram in
 * docs/multistep.md is made from them. Facts of the first system: contract alancoin-payments 2.7 and 3.3; the deadline is ours.
 */
import { SuretyError } from './errors.ts';
import { isAddress, normaliseAddress } from './ids.ts';
import { formatMicros, parseAmount, type Micros } from './money.ts';
import type { Choice, Context, Payment, Refusal, Rules } from './payment.ts';
import { fieldsOf, wrongField } from './step-input.ts';

export const multistepStatuses = ['open', 'completed', 'aborted'] as const;
export type MultistepStatus = (typeof multistepStatuses)[number];

/** What the buyer can do; also the names of its updates and signals, after `surety-`. A step of the plan is a part of the payment. */
export const multistepSteps = ['confirm-step', 'refund'] as const;
export type MultistepStep = (typeof multistepSteps)[number];

/** Why the rest went back to the buyer. */
export const multistepResolutions = ['buyer_refund', 'expired'] as const;

export const multistepBounds = {
  stepsMax: 100, expiresInMsDefault: 86_400_000, expiresInMsMin: 1_000, expiresInMsMax: 365 * 86_400_000,
} as const;

/** What a buyer wants done, by whom, for how much. Never changes after the escrow was made. */
export interface PlannedStep {
  readonly seller: string;
  readonly amountMicros: Micros;
}

export interface MultistepPlan {
  readonly totalMicros: Micros;
  readonly steps: readonly PlannedStep[];
}

/** What was agreed on beside the plan, which is in the parts of the payment. */
export interface MultistepTerms {
  /** From the creation to the moment when the rest goes back by itself. */
  readonly expiresInMs: number;
}

export interface MultistepDetails {
  /** That moment, in milliseconds since 1970; still known after the end. */
  readonly expiresAtMs: number;
}

export type MultistepPayment = Payment<MultistepTerms, MultistepDetails>;

/** A step's input once it has been read. What is null is taken from the plan. */
export interface MultistepInput {
  /** Which step of the plan, from 0. */
  readonly stepIndex?: number;
  readonly seller?: string | null;
  readonly amountMicros?: Micros | null;
}

type MultistepContext = Context<MultistepTerms, MultistepDetails, MultistepInput>;

const onlyBuyer = { by: ['buyer'], only: 'Only the buyer of this escrow may do that.', operator: 'buyer' } as const;

export const multistepRules: Rules<MultistepTerms, MultistepDetails, MultistepInput, MultistepStatus, MultistepStep> = {
  kind: 'multistep', noun: 'multistep escrow', bucket: 'escrowed',
  opens: { to: 'open', details: (deadlineMs) => ({ expiresAtMs: deadlineMs ?? 0 }) },
  steps: {
    // Why not: docs/decisions/multistep-deadline.md.
    'confirm-step': { ...onlyBuyer, verb: 'confirm a step', afterDeadline: 'refused' },
    refund: { ...onlyBuyer, verb: 'take the rest back', afterDeadline: 'allowed' },
  },
  states: {
    open: {
      funds: 'locked_in_escrow', time: 'plan', until: ({ terms }, nowMs) => nowMs + terms.expiresInMs,
      clock: { to: 'aborted', moves: 'giveBack', resolution: 'expired' },
      on: {
        'confirm-step': { to: ['open', 'completed'], choose: confirm },
        refund: { to: 'aborted', moves: 'giveBack', resolution: 'buyer_refund' },
      },
    },
    completed: { funds: 'released_to_seller', end: true },
    aborted: { funds: 'returned', end: true },
  },
  read: readMultistepInput,
  // Both steps are the buyer's: sellers and strangers are refused in the same words.
  roleOf: () => 'seller',
};

/** Pays one step to its seller, in any order; the last one completes the escrow. */
function confirm({ payment: { parts }, input }: MultistepContext): Choice<MultistepStatus> | Refusal {
  const { stepIndex = -1, seller = null, amountMicros = null } = input;
  const step = parts[stepIndex];
  if (step === undefined) return { code: 'step_out_of_range', message: `The plan has the steps 0 to ${parts.length - 1}.` };
  if (step.paidAtMs !== null) return { code: 'duplicate_step', message: `Step ${stepIndex} was confirmed and paid before.` };
  if ((seller ?? step.payee) !== step.payee || (amountMicros ?? step.amountMicros) !== step.amountMicros)
    return { code: 'step_mismatch', message: `Step ${stepIndex} is planned with another seller or amount.` };
  const isLast = parts.every(({ index, paidAtMs }) => index === stepIndex || paidAtMs !== null);
  return {
    moves: [{ move: 'pay', to: step.payee, amountMicros: step.amountMicros, part: stepIndex }],
    note: `step ${stepIndex + 1} of ${parts.length} (index ${stepIndex})`,
    ...(isLast ? { to: 'completed', resolution: 'all_confirmed' } : { to: 'open', resolution: null }),
  };
}

/**
 * Reads what was sent with a step.
 * @throws SuretyError validation_error, invalid_address, invalid_amount.
 */
export function readMultistepInput(step: MultistepStep, raw: unknown): MultistepInput {
  if (step === 'refund') return {};
  const { stepIndex, sellerAddr, amount } = fieldsOf(raw);
  if (typeof stepIndex !== 'number' || !Number.isSafeInteger(stepIndex))
    throw wrongField('stepIndex', 'must be a whole number, as in {"stepIndex": 0}');
  if (sellerAddr !== undefined && !(typeof sellerAddr === 'string' && isAddress(sellerAddr)))
    throw new SuretyError('invalid_address', 'sellerAddr: must be 0x followed by 40 hexadecimal digits');
  return {
    stepIndex, seller: sellerAddr === undefined ? null : normaliseAddress(sellerAddr),
    amountMicros: amount === undefined ? null : parseAmount(typeof amount === 'string' ? amount : ''),
  };
}

/**
 * Holds a plan to the rules that do not depend on the books. Amounts are compared as numbers, so `0.1` is `0.10`.
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
