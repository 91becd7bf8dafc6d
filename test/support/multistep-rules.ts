/** Multistep escrows as plain values, for tests of their rules: no database, no Temporal, and a clock that stands still. */
import {
  multistepRules, type MultistepInput, type MultistepPayment, type MultistepStatus, type MultistepStep,
} from '../../domain/multistep.ts';
import { micros } from '../../domain/money.ts';
import type { Opening, Part } from '../../domain/payment.ts';
import { newId } from '../../platform/random.ts';
import { buyer, judging, rulesNowMs, seller } from './rules.ts';

/** The seller of the second step of three. */
export const otherSeller = `0x${'e'.repeat(40)}`;
export const multistepEndMs = rulesNowMs + 300_000;

/** Inputs with which each step is complete, as the rules read them. */
export const inputs: Readonly<Record<MultistepStep, MultistepInput>> = { 'confirm-step': { stepIndex: 0 }, refund: {} };

const plan = [[seller, 100_000n], [otherSeller, 200_000n], [seller, 300_000n]] as const;

/** An escrow of three steps, 0.6 USDC together; `paid` are those that were confirmed, all of them where it is completed. */
export function aMultistep({ state = 'open', paid = [], ...wish }: Partial<MultistepPayment>
    & { readonly state?: MultistepStatus; readonly paid?: readonly number[] } = {}): MultistepPayment {
  const ended = state !== 'open';
  const parts: Part[] = plan.map(([payee, amount], index) => ({ index, payee, amountMicros: micros(amount),
    paidAtMs: state === 'completed' || paid.includes(index) ? rulesNowMs - 1 : null }));
  const heldMicros = micros(600_000n);
  const paidMicros = micros(parts.reduce((sum, part) => sum + (part.paidAtMs === null ? 0n : part.amountMicros), 0n));
  return {
    id: 'mse_1', kind: 'multistep', state, version: 1 + paid.length, deadlineMs: ended ? null : multistepEndMs, buyer, seller: null,
    arbiter: null, tenantId: null, asset: 'USDC', heldMicros, paidMicros,
    returnedMicros: micros(state === 'aborted' ? heldMicros - paidMicros : 0n), resolution: ended ? 'over' : null,
    terms: { expiresInMs: 300_000 }, details: { expiresAtMs: multistepEndMs }, meter: null, parts, workflowId: 'multistep-escrow-mse_1',
    workflowStarted: false, createdAtMs: rulesNowMs, updatedAtMs: rulesNowMs, endedAtMs: ended ? rulesNowMs : null, ...wish,
  };
}

/** An opening of an escrow with these steps, with everything that a request would say. */
export function aMultistepOpening(by: string, steps: readonly { readonly payee: string; readonly amountMicros: string }[],
    { id = newId('multistepEscrow'), expiresInMs = 60_000 }: { readonly id?: string; readonly expiresInMs?: number } = {}): Opening {
  return {
    id, buyer: by, seller: null, arbiter: null, tenantId: null, asset: 'USDC', lookup: null, workflowId: `multistep-escrow-${id}`,
    amountMicros: micros(steps.reduce((sum, { amountMicros }) => sum + BigInt(amountMicros), 0n)), terms: { expiresInMs }, parts: steps,
  };
}

export const { outcome, decisionOf, refusalOf } = judging(multistepRules, inputs);
