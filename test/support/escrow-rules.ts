/** Escrows as plain values, for tests of their rules: no database, no Temporal, and a clock that stands still. */
import { escrowRules, type EscrowDetails, type EscrowPayment, type EscrowStep, type EscrowTerms } from '../../domain/escrow.ts';
import type { EscrowInput } from '../../domain/escrow-input.ts';
import { micros } from '../../domain/money.ts';
import { decide } from '../../domain/decide.ts';
import type { Actor, Decision, Payment, Refusal } from '../../domain/payment.ts';

export const [buyer, seller, arbiter, stranger] = ['b', 'c', 'a', 'd'].map((digit) => `0x${digit.repeat(40)}`) as [string, string, string,
  string];
/** When everything happens. */
export const escrowNowMs = 1_800_000_000_000;

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

/** Everybody who may try a step. */
export const actors = {
  buyer: { address: buyer, as: null }, seller: { address: seller, as: null }, arbiter: { address: arbiter, as: null },
  stranger: { address: stranger, as: null },
  platform: { address: null, as: 'platform' },
} as const satisfies Record<string, Actor>;
export type Who = keyof typeof actors;

interface Asked { readonly input?: unknown; readonly nowMs?: number }

/** What becomes of it, in a word: the state it leads to, or the code of the refusal. */
export function outcome(payment: EscrowPayment, step: string, actor: Actor, { input = inputs[step as EscrowStep],
  nowMs = escrowNowMs }: Asked = {}): string {
  const verdict = decide(escrowRules, payment, { step, actor, input }, nowMs);
  return verdict.kind === 'apply' ? verdict.decision.to : verdict.refusal.code;
}

/** What is decided; a refusal is an error. */
export function decisionOf(payment: EscrowPayment, step: EscrowStep, actor: Actor, input: unknown = inputs[step],
  nowMs = escrowNowMs): Decision {
  const verdict = decide(escrowRules, payment, { step, actor, input }, nowMs);
  if (verdict.kind === 'refuse') throw new Error(verdict.refusal.message);
  return verdict.decision;
}

/** Why whoever asked is refused; null when not. */
export function refusalOf(payment: EscrowPayment, step: EscrowStep, actor: Actor, input: unknown = inputs[step]): Refusal | null {
  return decide(escrowRules, payment, { step, actor, input }, escrowNowMs).refusal;
}
