/** Payments on the engine straight on Postgres, by the function that activities and requests share. No Temporal, no HTTP. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { createTaker, type Attempt, type Taken, type Taker } from '../../activities/payment/take.ts';
import type { EscrowTerms } from '../../domain/escrow.ts';
import { parseAmount } from '../../domain/money.ts';
import type { Actor, AnyRules, Opening } from '../../domain/payment.ts';
import { writePaymentStates } from '../../ledger/payment-states.ts';
import { createPaymentStore, type PaymentStore } from '../../ledger/payment-store.ts';
import { createMetrics, type Metrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { escrowKind, paymentKinds } from '../../payments/kinds.ts';

export interface DirectPayments {
  readonly store: PaymentStore;
  readonly taker: Taker;
  /** Opens an escrow of 1 USDC, delivered, reviewed and ruled within a minute each. @returns its id. */
  escrow(parties: { readonly buyer: string; readonly seller: string; readonly id?: string },
    terms?: Partial<EscrowTerms>): Promise<Taken & { readonly id: string }>;
  /** A step by an address, or by the platform. */
  step(id: string, step: string, by: string | Actor, input?: unknown, attempt?: Partial<Attempt>): Promise<Taken>;
  /** What the clock demands now. */
  clock(id: string): Promise<Taken | null>;
}

export const noAttempt: Attempt = { attempt: null, notAfterMs: null, claim: null, messageSent: false };
const MINUTE_MS = 60_000;

/** An opening of an escrow, with everything that a request would say. */
export function anOpening(wish: Partial<Opening> & Pick<Opening, 'buyer' | 'seller'>, terms: Partial<EscrowTerms> = {}): Opening {
  const { id = newId('escrow') } = wish;
  return {
    id, arbiter: null, tenantId: null, asset: 'USDC', amountMicros: parseAmount('1'), lookup: null, workflowId: `escrow-${id}`, ...wish,
    terms: { serviceId: null, deliveryMs: MINUTE_MS, reviewMs: MINUTE_MS, rulingMs: MINUTE_MS, buyerMayCancel: true, ...terms },
  };
}

/** @param rules of the kind that is driven; escrows when left out. */
export async function directPayments(pool: pg.Pool,
    { metrics = createMetrics({ runtime: false }), rules = escrowKind.rules }: { metrics?: Metrics;
    rules?: AnyRules } = {}): Promise<DirectPayments> {
  await writePaymentStates(pool, paymentKinds.map((kind) => kind.rules));
  const store = createPaymentStore({ pool, metrics });
  const taker = createTaker({ store, onApplied: () => undefined });
  return {
    store, taker,
    async escrow(parties, terms) {
      const opening = anOpening(parties, terms);
      return { ...(await taker.open(rules,
        { ...noAttempt, opening, askedAtMs: Date.now(), attempt: randomUUID(), workflowStarted: false })), id: opening.id };
    },
    step: (id, step, by, input = {}, attempt = {}) =>
      taker.step(rules, { ...noAttempt, ...attempt, id, step, input, actor: typeof by === 'string' ? { address: by, as: null } : by }),
    clock: (id) => taker.clock(rules, id),
  };
}
