/** Escrow: who may do what, for how long, and what the outside may ask of it. Runs in the workflow sandbox too. */
import type { IdempotencyClaim } from './gateway.ts';
import type { Micros } from './money.ts';

export const escrowStatuses = ['pending', 'delivered', 'disputed', 'arbitrating', 'released', 'refunded'] as const;
export type EscrowStatus = (typeof escrowStatuses)[number];

/** What parties can do with an escrow; also the names of its updates and signals, after `surety-`. */
export const escrowSteps = ['deliver', 'confirm', 'cancel', 'decline', 'dispute', 'evidence', 'arbitrate', 'resolve'] as const;
export type EscrowStep = (typeof escrowSteps)[number];

export const escrowRoles = ['buyer', 'seller', 'arbiter', 'platform'] as const;
export type EscrowRole = (typeof escrowRoles)[number];

export const rulings = ['release', 'refund', 'partial'] as const;
export type Ruling = (typeof rulings)[number];

export const escrowBounds = {
  durationMsMin: 1_000, durationMsMax: 365 * 86_400_000,
  deliveryMsDefault: 300_000, reviewMsDefault: 24 * 3_600_000, rulingMsDefault: 72 * 3_600_000,
  textMax: 10_000, evidenceEachMax: 20, reasonMax: 1_000,
} as const;

/** A step with what it needs. */
export type EscrowAct =
  | { readonly step: 'deliver' | 'confirm' | 'cancel' | 'decline' }
  | { readonly step: 'dispute'; readonly reason: string }
  | { readonly step: 'evidence'; readonly content: string }
  | { readonly step: 'arbitrate'; readonly arbiter: string | null }
  | { readonly step: 'resolve'; readonly ruling: Ruling; readonly amountMicros: Micros | null; readonly reason: string | null };

/** Who takes a step. */
export interface EscrowActor {
  /** The agent behind the API key; null for an operator without one. */
  readonly address: string | null;
  /** The role in which an operator acts. Null: the one that the address has. A named arbiter is that before anything else. */
  readonly as: EscrowRole | null;
}

/** What buyer and seller agree on; nothing of it changes. */
export interface EscrowTerms {
  readonly seller: string;
  /** Null: the platform rules. */
  readonly arbiter: string | null;
  readonly amountMicros: Micros;
  readonly serviceId: string | null;
  readonly deliveryMs: number;
  readonly reviewMs: number;
  readonly rulingMs: number;
  readonly buyerMayCancel: boolean;
}

/** An escrow as its row has it. */
export interface Escrow {
  readonly id: string;
  readonly buyer: string;
  readonly seller: string;
  readonly arbiter: string | null;
  readonly amountMicros: Micros;
  readonly serviceId: string | null;
  readonly status: EscrowStatus;
  readonly releasedMicros: Micros;
  readonly refundedMicros: Micros;
  readonly resolution: string | null;
  readonly disputeReason: string | null;
  readonly buyerMayCancel: boolean;
  readonly reviewWindowMs: number;
  readonly rulingWindowMs: number;
  readonly deliveryDeadline: Date;
  readonly deliveredAt: Date | null;
  readonly reviewUntil: Date | null;
  readonly rulingUntil: Date | null;
  /** When the clock decides the state it is in; null once it has ended. */
  readonly deadline: Date | null;
  readonly resolvedAt: Date | null;
  readonly version: number;
  readonly workflowId: string;
  readonly tenantId: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What a step leaves behind. */
export interface EscrowOutcome {
  readonly escrow: Escrow;
  /** True when an earlier request with the same idempotency key did it. */
  readonly replayed: boolean;
}

/** What the HTTP edge may ask of escrows. Every answer is in the books when it comes, whether or not Temporal is up. */
export interface EscrowPort {
  /** Holds the money. Errors: insufficient_balance, idempotency_mismatch. */
  create(buyer: string, tenantId: string | null, terms: EscrowTerms, idempotency: IdempotencyClaim | null): Promise<EscrowOutcome>;
  /** Takes a step. Errors: not_found, unauthorized (403), forbidden, invalid_state, invalid_amount, evidence_limit, idempotency_mismatch. */
  act(id: string, actor: EscrowActor, act: EscrowAct, idempotency: IdempotencyClaim | null): Promise<EscrowOutcome>;
  /** Ends every escrow whose deadline has passed. @returns how many ended. */
  closeExpired(): Promise<number>;
}

/** Whose step it is when an operator takes it without saying for whom. Evidence can be that of either party. */
export const roleOfStep: Readonly<Record<EscrowStep, EscrowRole | null>> = {
  deliver: 'seller', decline: 'seller', confirm: 'buyer', dispute: 'buyer', cancel: 'buyer', arbitrate: 'buyer', resolve: 'arbiter', evidence: null,
};

/** Where the money of an escrow in this state is. */
export function fundsOf(status: EscrowStatus) {
  return status === 'released' ? 'released_to_seller' : status === 'refunded' ? 'returned' : 'locked_in_escrow';
}
