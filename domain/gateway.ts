/** What the gateway sells, in plain types: shared by the HTTP edge, the activities and the workflows' contracts. */
import type { Micros } from './money.ts';

export const strategies = ['cheapest', 'reputation', 'best_value', 'budget', 'tracerank'] as const;
export type Strategy = (typeof strategies)[number];

export type SessionStatus = 'active' | 'closed' | 'expired';
/** planned and delivered: steps of a pipeline, before they begin and while their price is kept until its end. */
export type CallState = 'planned' | 'accepted' | 'delivered' | 'settled' | 'released' | 'refused';

/** Bounds and defaults of a session (contract alancoin-payments 2.4 and 3.1). */
export const sessionBounds = {
  expirySecsDefault: 3_600,
  expirySecsMin: 60,
  expirySecsMax: 86_400,
  requestsPerMinuteDefault: 100,
  requestsPerMinuteMax: 1_000,
  /** A session opened for one POST /v1/gateway/call. */
  singleCallExpirySecs: 300,
} as const;

/** What a buyer agrees to when a session opens. Never changes afterwards. */
export interface SessionTerms {
  readonly maxTotalMicros: Micros;
  readonly maxPerRequestMicros: Micros;
  readonly strategy: Strategy;
  /** Empty: every type. */
  readonly allowedTypes: readonly string[];
  /** 0: no warning. */
  readonly warnAtPercent: number;
  readonly maxRequestsPerMinute: number;
  /** Milliseconds from its opening. */
  readonly lifeMs: number;
}

export interface Session extends SessionTerms {
  readonly id: string;
  readonly agentAddress: string;
  readonly tenantId: string | null;
  readonly spentMicros: Micros;
  /** Promised to calls that are under way. */
  readonly reservedMicros: Micros;
  readonly requestCount: number;
  readonly status: SessionStatus;
  readonly workflowId: string;
  readonly expiresAt: Date;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** One offer of a seller, as the catalogue knows it. */
export interface Offer {
  readonly serviceId: string;
  readonly serviceName: string;
  readonly serviceType: string;
  readonly seller: string;
  readonly endpoint: string;
  readonly priceMicros: Micros;
  /** The seller works on one Idempotency-Key once, so a call may be sent again after a crash. */
  readonly idempotent: boolean;
  /** The seller lets its work be given back unpaid when the pipeline that bought it does not complete. */
  readonly refundable: boolean;
  /** The longest time the seller declares for its work; null: what every seller has. */
  readonly maxDurationSecs: number | null;
  /** 0–100. */
  readonly score: number;
  readonly tier: ReputationTier;
}

export const reputationTiers = ['new', 'emerging', 'established', 'trusted', 'elite'] as const;
export type ReputationTier = (typeof reputationTiers)[number];

/** A buyer's wish for one call. */
export interface CallRequest {
  readonly serviceType: string;
  /** JSON object text, forwarded to the seller as it is. */
  readonly paramsJson: string;
  readonly maxPriceMicros: Micros | null;
  readonly preferAgent: string | null;
  readonly idempotency: IdempotencyClaim | null;
}

/** A settled call, as the buyer sees it. */
export interface CallAnswer {
  readonly callId: string;
  readonly sessionId: string;
  readonly workflowId: string | null;
  /** JSON object text of the seller's answer, or null when it was empty. */
  readonly responseJson: string | null;
  readonly serviceUsed: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly amountMicros: Micros;
  readonly latencyMs: number;
  /** Sellers that failed before this one. */
  readonly retries: number;
  readonly totalSpentMicros: Micros;
  readonly remainingMicros: Micros;
  readonly requestCount: number;
  readonly budgetLow: boolean;
  /** True when the answer is that of an earlier request with the same idempotency key. */
  readonly replayed: boolean;
}

export interface DryRun {
  readonly allowed: boolean;
  readonly budgetOk: boolean;
  readonly remainingMicros: Micros | null;
  readonly serviceFound: boolean;
  readonly bestPriceMicros: Micros | null;
  readonly bestService: string | null;
  readonly denyReason: string | null;
  readonly estimatedCallsRemaining: number | null;
}

/** What the HTTP edge may ask of the gateway. Implemented where activities and workers meet; injected into `createApp`. */
export interface GatewayPort {
  /** Holds the budget. Errors: insufficient_balance, idempotency_mismatch, busy, unavailable. */
  openSession(agent: string, tenantId: string | null, terms: SessionTerms,
    idempotency: IdempotencyClaim | null): Promise<{ session: Session; replayed: boolean }>;
  /** Ends the session; a second time changes nothing. Errors: not_found, forbidden, busy, unavailable. */
  closeSession(agent: string, sessionId: string): Promise<Session>;
  /** Errors: not_found, forbidden. */
  session(agent: string, sessionId: string): Promise<Session>;
  /** An agent's sessions, newest first, after this one. `more`: there are others behind them. */
  sessionsOf(agent: string, page: { readonly after: string | null;
    readonly limit: number }): Promise<{ readonly sessions: readonly Session[]; readonly more: boolean }>;
  /**
   * One paid call in a session. Errors: not_found, forbidden, session_*, rate_limited, no_service, budget_exceeded, proxy_failed,
   * execution_unknown, call_pending, idempotency_*.
   */
  call(agent: string, sessionId: string, request: CallRequest): Promise<CallAnswer>;
  /** One paid call with a hold of its own. Errors: those of `call`, and insufficient_balance. */
  callOnce(agent: string, request: CallRequest & { readonly maxPriceMicros: Micros }): Promise<CallAnswer>;
  /** Ends any session, for the operator. Errors: not_found. */
  endSession(sessionId: string): Promise<Session>;
  /** Drives those of the calls that nobody drives. */
  adoptCalls(callIds: readonly string[]): Promise<void>;
  dryRun(agent: string, sessionId: string, request: CallRequest): Promise<DryRun>;
}

/** An idempotency key with the hash of the request it came with. */
export interface IdempotencyClaim {
  readonly key: string;
  readonly requestHash: string;
}
