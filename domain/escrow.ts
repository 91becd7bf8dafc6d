/**
 * Escrow: who may do what, for how long, and where the money goes. The tables below are the rules; nothing repeats them. The diagram in
 * docs/escrow.md is made from them. Facts of the first system: contract alancoin-payments 2.6 and 3.2.
 */
import { escrowBounds, readEscrowInput, type EscrowInput } from './escrow-input.ts';
import { formatMicros, micros } from './money.ts';
import { refusal, type Choice, type Context, type Payment, type Refusal, type Rules, type Transition } from './payment.ts';

export const escrowStatuses = ['pending', 'delivered', 'disputed', 'arbitrating', 'released', 'refunded'] as const;
export type EscrowStatus = (typeof escrowStatuses)[number];

/** What parties can do with an escrow; also the names of its updates and signals, after `surety-`. */
export const escrowSteps = ['deliver', 'confirm', 'cancel', 'decline', 'dispute', 'evidence', 'arbitrate', 'resolve'] as const;
export type EscrowStep = (typeof escrowSteps)[number];

/** What buyer and seller agree on beside the amount; nothing of it changes. */
export interface EscrowTerms {
  readonly serviceId: string | null;
  readonly deliveryMs: number;
  readonly reviewMs: number;
  readonly rulingMs: number;
  readonly buyerMayCancel: boolean;
}

/** What an escrow remembers of its life; absent is not yet. Times in milliseconds since 1970. */
export interface EscrowDetails {
  readonly deliverByMs: number;
  readonly deliveredAtMs?: number;
  readonly reviewUntilMs?: number;
  readonly rulingUntilMs?: number;
  readonly disputeReason?: string;
  /** Pieces of evidence so far, the reason of the dispute included. */
  readonly evidence?: { readonly buyer: number; readonly seller: number };
}

export type EscrowPayment = Payment<EscrowTerms, EscrowDetails>;
type EscrowContext = Context<EscrowTerms, EscrowDetails, EscrowInput>;
type EscrowTransition = Transition<EscrowTerms, EscrowDetails, EscrowInput, EscrowStatus>;

const noEvidence = { buyer: 0, seller: 0 };
const counted = ({ payment, role }: EscrowContext) => {
  const evidence = payment.details.evidence ?? noEvidence;
  return role === 'seller' ? { ...evidence, seller: evidence.seller + 1 } : { ...evidence, buyer: evidence.buyer + 1 };
};

const paysSeller = (resolution: string): EscrowTransition => ({ to: 'released', moves: 'paySeller', resolution });
const paysBack = (resolution: string): EscrowTransition => ({ to: 'refunded', moves: 'giveBack', resolution });
const dispute: EscrowTransition = {
  to: 'disputed',
  details: (context, deadlineMs) => ({
    disputeReason: context.input.reason ?? '',
    rulingUntilMs: deadlineMs ?? 0,
    evidence: counted(context),
  }),
};
const ruling: EscrowTransition = { to: ['released', 'refunded'], choose: rule };
/** On record; it changes neither state nor time. */
const evidenceIn = (state: EscrowStatus): EscrowTransition => ({
  to: state,
  details: (context) => ({ evidence: counted(context) }),
  unless: ({ payment, role }) =>
    (payment.details.evidence ?? noEvidence)[role === 'seller' ? 'seller' : 'buyer'] < escrowBounds.evidenceEachMax
      ? null
      : refusal(
          'evidence_limit',
          `Each party may submit ${escrowBounds.evidenceEachMax} pieces of evidence, the reason of the dispute included.`,
        ),
});

const onlyBuyer = { by: ['buyer'], only: 'Only the buyer may do that.', operator: 'buyer' } as const;
const onlySeller = { by: ['seller'], only: 'Only the seller may do that.', operator: 'seller' } as const;
const onlyParties = { by: ['buyer', 'seller'], only: 'Only buyer and seller may do that.' } as const;

export const escrowRules: Rules<EscrowTerms, EscrowDetails, EscrowInput, EscrowStatus, EscrowStep> = {
  kind: 'escrow',
  noun: 'escrow',
  bucket: 'escrowed',
  opens: { to: 'pending', details: (deadlineMs) => ({ deliverByMs: deadlineMs ?? 0 }) },
  steps: {
    deliver: onlySeller,
    confirm: onlyBuyer,
    cancel: {
      ...onlyBuyer,
      unless: ({ payment }) =>
        payment.terms.buyerMayCancel
          ? null
          : refusal('forbidden', 'The terms of this escrow do not let the buyer cancel (buyerMayCancel). The seller may decline it.'),
    },
    decline: onlySeller,
    dispute: { ...onlyBuyer, note: ({ reason }) => reason ?? null },
    evidence: { ...onlyParties, operator: null, verb: 'submit evidence', note: ({ content }) => content ?? null },
    arbitrate: { ...onlyParties, operator: 'buyer', verb: 'call in the arbiter', unless: namesAnother },
    resolve: {
      // Without a named arbiter the platform is the arbiter.
      by: ({ arbiter }) => (arbiter === null ? ['arbiter', 'platform'] : ['arbiter']),
      operator: 'arbiter',
      note: ({ reason }) => reason ?? null,
      only: ({ arbiter }) =>
        arbiter === null
          ? 'Only the platform may rule on this escrow: no arbiter was named when it was made.'
          : 'Only the arbiter who was named when the escrow was made may rule.',
    },
  },
  states: {
    pending: {
      funds: 'locked_in_escrow',
      time: 'delivery',
      until: ({ terms }, nowMs) => nowMs + terms.deliveryMs,
      clock: backByClock('delivery_expired'),
      on: {
        deliver: { to: 'delivered', details: ({ nowMs }, deadlineMs) => ({ deliveredAtMs: nowMs, reviewUntilMs: deadlineMs ?? 0 }) },
        confirm: paysSeller('buyer_confirmed'),
        cancel: paysBack('cancelled'),
        decline: paysBack('declined'),
        dispute,
      },
    },
    delivered: {
      // Delivering early must not shorten the buyer's time below what the delivery deadline promised.
      funds: 'locked_in_escrow',
      time: 'review',
      until: ({ terms, details }, nowMs) => Math.max(nowMs + terms.reviewMs, details.deliverByMs),
      clock: { to: 'released', moves: 'paySeller', resolution: 'auto_released' },
      on: { confirm: paysSeller('buyer_confirmed'), decline: paysBack('given_back'), dispute },
    },
    disputed: {
      funds: 'locked_in_escrow',
      time: 'ruling',
      until: ({ terms }, nowMs) => nowMs + terms.rulingMs,
      clock: backByClock('ruling_expired'),
      on: {
        confirm: paysSeller('buyer_confirmed'),
        decline: paysBack('given_back'),
        resolve: ruling,
        evidence: evidenceIn('disputed'),
        arbitrate: { to: 'arbitrating', details: (_context, deadlineMs) => ({ rulingUntilMs: deadlineMs ?? 0 }) },
      },
    },
    arbitrating: {
      funds: 'locked_in_escrow',
      time: 'ruling',
      until: ({ terms }, nowMs) => nowMs + terms.rulingMs,
      clock: backByClock('ruling_expired'),
      on: { decline: paysBack('given_back'), resolve: ruling, evidence: evidenceIn('arbitrating') },
    },
    released: { funds: 'released_to_seller', end: true },
    refunded: { funds: 'returned', end: true },
  },
  read: readEscrowInput,
};

function backByClock(resolution: string): Transition<EscrowTerms, EscrowDetails, undefined, EscrowStatus> {
  return { to: 'refunded', moves: 'giveBack', resolution };
}

/** The ruling of the arbiter: all to the seller, all to the buyer, or a part to each. */
function rule({ payment, input }: EscrowContext): Choice<EscrowStatus> | Refusal {
  const { ruling: made = 'refund', amountMicros = null, reason } = input;
  const resolution = `arbitration_${made}${reason === undefined ? '' : `: ${reason}`}`;
  if (made === 'refund') return { to: 'refunded', moves: [{ move: 'giveBack', amountMicros: 'rest' }], resolution };
  const seller = payment.seller ?? '';
  if (made === 'release') return { to: 'released', moves: [{ move: 'pay', to: seller, amountMicros: 'rest' }], resolution };
  if (amountMicros === null || amountMicros <= 0n || amountMicros >= payment.heldMicros) {
    return refusal(
      'invalid_amount',
      `A partial ruling gives the seller more than nothing and less than the whole amount, ${formatMicros(payment.heldMicros)}.`,
    );
  }
  return {
    to: 'released',
    moves: [
      { move: 'pay', to: seller, amountMicros: micros(amountMicros) },
      { move: 'giveBack', amountMicros: 'rest' },
    ],
    resolution,
  };
}

/** Whoever names an arbiter when calling one in must name the one who was agreed on. */
function namesAnother({ payment, input }: EscrowContext): Refusal | null {
  const { arbiter: named = null } = input;
  if (named === null || named === payment.arbiter) return null;
  return refusal(
    'unauthorized',
    named === payment.buyer || named === payment.seller
      ? 'A party of the escrow cannot be its arbiter.'
      : 'An arbiter is named when the escrow is made (arbitratorAddr) and cannot be chosen afterwards. Leave the field out to call in the '
        + 'arbiter.',
  );
}
