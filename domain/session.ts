/**
 * A gateway session: a budget is held, calls draw on it, and what they leave comes back when it is closed or its time is up. Calls under
 * way keep what was reserved for them: until they have ended the session is closing. The diagram in docs/sessions.md is made from the
 * table. Facts of the first system: contract alancoin-payments 2.4 and 3.1.
 */
import type { Session, SessionTerms } from './gateway.ts';
import { micros } from './money.ts';
import type { Choice, Context, Move, Payment, Refusal, Rules } from './payment.ts';

export const sessionStates = ['active', 'closing', 'closed', 'expired'] as const;
export type SessionState = (typeof sessionStates)[number];

/** `close` is the buyer's; `finish` is what the platform does once the last call has ended. */
export const sessionSteps = ['close', 'finish'] as const;
export type SessionStep = (typeof sessionSteps)[number];

/** What was agreed on beside the budget, as the row keeps it: amounts in digits of micros. */
export interface StoredSessionTerms extends Omit<SessionTerms, 'maxTotalMicros' | 'maxPerRequestMicros'> {
  readonly maxPerRequestMicros: string;
}

export interface SessionDetails {
  readonly expiresAtMs: number;
  /** As what it ends, once it is closing. */
  readonly endsAs?: 'closed' | 'expired';
  /** How often it was to end while calls were under way. */
  readonly rounds?: number;
}

export type SessionPayment = Payment<StoredSessionTerms, SessionDetails>;
type SessionContext = Context<StoredSessionTerms, SessionDetails, unknown>;

/**
 * Whoever drives the last call finishes the session; after so long without that, the clock does. Twice as long each time that it finds
 * calls under way: a long one may be so for a day.
 */
const CLOSING_MS = 30_000;
const CLOSING_MS_MAX = 15 * 60_000;

export const sessionRules: Rules<StoredSessionTerms, SessionDetails, unknown, SessionState, SessionStep> = {
  kind: 'session', noun: 'session', bucket: 'pending',
  opens: { to: 'active', details: (deadlineMs) => ({ expiresAtMs: deadlineMs ?? 0 }) },
  meter: ({ maxPerRequestMicros, maxRequestsPerMinute }) => ({
    priceMicrosMax: micros(maxPerRequestMicros), usesPerMinute: maxRequestsPerMinute, idleMs: null, closesAtDeadline: true,
  }),
  steps: {
    close: { by: ['buyer', 'platform'], only: 'The session belongs to somebody else.', operator: 'platform', verb: 'close it' },
    finish: { by: ['platform'], only: 'The platform finishes a session by itself.', operator: 'platform', verb: 'finish it' },
  },
  states: {
    active: {
      funds: 'held_pending', time: 'session', until: ({ terms }, nowMs) => nowMs + terms.lifeMs,
      clock: { to: ['expired', 'closing'], choose: (context) => end(context, 'expired') },
      on: { close: { to: ['closed', 'closing'], choose: (context) => end(context, 'closed') } },
    },
    closing: {
      funds: 'held_pending', time: 'calls under way',
      until: ({ details: { rounds = 0 } }, nowMs) => nowMs + Math.min(CLOSING_MS * 2 ** rounds, CLOSING_MS_MAX),
      clock: { to: ['closed', 'expired', 'closing'], choose: (context) => end(context, endsAs(context)) },
      on: { finish: { to: ['closed', 'expired'], unless: callsUnderWay, choose: (context) => end(context, endsAs(context)) } },
    },
    closed: { funds: 'returned', end: true },
    expired: { funds: 'returned', end: true },
  },
  read: () => ({}),
};

/** What no call needs goes back; with the last call under way, the rest. */
function end({ payment }: SessionContext, as: 'closed' | 'expired'): Choice<SessionState> {
  const rest: Move = { move: 'giveBack', amountMicros: 'rest' };
  if (isDrained(payment)) {
    return { to: as, moves: [{ move: 'count', amountMicros: 'used' }, rest], resolution: as, assumesDrained: true };
  }
  return { to: 'closing', moves: [rest], resolution: null, details: { endsAs: as, rounds: (payment.details.rounds ?? 0) + 1 } };
}

function endsAs({ payment }: SessionContext): 'closed' | 'expired' {
  return payment.details.endsAs ?? 'closed';
}

function callsUnderWay({ payment }: SessionContext): Refusal | null {
  return isDrained(payment) ? null : { code: 'invalid_state', message: 'Calls of the session are under way; it ends with them.' };
}

function isDrained({ meter }: Pick<Payment, 'meter'>): boolean {
  return meter === null || meter.reservedMicros === 0n;
}

/** What of a wish for a session its row keeps. */
export function storedTerms({ maxTotalMicros: _held, maxPerRequestMicros, ...terms }: SessionTerms): StoredSessionTerms {
  return { ...terms, maxPerRequestMicros: maxPerRequestMicros.toString() };
}

/** A session as clients know it, where one that is closing is closed or expired: nothing can be bought with it any more. */
export function sessionOf(payment: Payment): Session {
  const { terms, details, meter, ...row } = payment as SessionPayment;
  const zero = micros(0n);
  return {
    ...terms, id: row.id, agentAddress: row.buyer, tenantId: row.tenantId, maxTotalMicros: row.heldMicros,
    maxPerRequestMicros: micros(terms.maxPerRequestMicros), spentMicros: meter?.usedMicros ?? zero,
    reservedMicros: meter?.reservedMicros ?? zero, requestCount: meter?.uses ?? 0, workflowId: row.workflowId,
    status: row.state === 'closing' ? (details.endsAs ?? 'closed') : (row.state as Session['status']),
    expiresAt: new Date(details.expiresAtMs), createdAt: new Date(row.createdAtMs),
    updatedAt: new Date(Math.max(row.updatedAtMs, meter?.lastUsedAtMs ?? 0)),
  };
}
