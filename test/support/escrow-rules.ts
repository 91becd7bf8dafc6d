/** Escrows as plain values, for tests of their rules: no database, no Temporal, and a clock that stands still. */
import { escrowRules, type EscrowDetails, type EscrowPayment, type EscrowStep, type EscrowTerms } from '../../domain/escrow.ts';
import type { EscrowInput } from '../../domain/escrow-input.ts';
import { micros } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import { arbiter, buyer, judging, rulesNowMs as escrowNowMs, seller } from './rules.ts';

/** Inputs with which each step is complete, as the rules read them. */
export const inputs: Readonly<Record<EscrowStep, EscrowInput>> = {
  deliver: {}, confirm: {}, cancel: {}, decline: {}, dispute: { reason: 'Half of it is missing.' },
  evidence: { content: 'See for yourself.' }, arbitrate: { arbiter: null },
  resolve: { ruling: 'release' },
};

export const escrowTerms: EscrowTerms = { serviceId: null, deliveryMs: 300_000, reviewMs: 600_000, rulingMs: 900_000,
  buyerMayCancel: true };

type Wish = Partial<Omit<EscrowPayment,
'terms' | 'details'>> & { readonly terms?: Partial<EscrowTerms>; readonly details?: Partial<EscrowDetails> };

/** An escrow of 1 USDC with an arbiter; ended where its state is an end. */
export function anEscrow({ terms = {}, details = {}, state = 'pending', ...wish }: Wish = {}): EscrowPayment {
  const ended = state === 'released' || state === 'refunded';
  const heldMicros = wish.heldMicros ?? micros(1_000_000n);
  const same: Payment = {
    id: 'esc_1', kind: 'escrow', state, version: 1, deadlineMs: ended ? null : escrowNowMs + 300_000, buyer, seller, arbiter,
    tenantId: null, asset: 'USDC', heldMicros,
    paidMicros: micros(state === 'released' ? heldMicros : 0n), returnedMicros: micros(state === 'refunded' ? heldMicros : 0n),
    resolution: ended ? 'over' : null, terms: {}, details: {},
    meter: null, parts: [], workflowId: 'escrow-esc_1', workflowStarted: false, createdAtMs: escrowNowMs, updatedAtMs: escrowNowMs,
    endedAtMs: ended ? escrowNowMs : null,
  };
  return { ...same, ...wish, terms: { ...escrowTerms, ...terms }, details: { deliverByMs: escrowNowMs + 300_000, ...details } };
}

export const { outcome, decisionOf, refusalOf } = judging(escrowRules, inputs);
