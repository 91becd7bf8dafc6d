/** The gateway as the HTTP edge sees it: sessions are payments of the engine, calls have a head start in this process. */
import { LRUCache } from 'lru-cache';
import type { GatewayStore } from '../../activities/gateway/store.ts';
import { SuretyError } from '../../domain/errors.ts';
import type { CallRequest, DryRun, GatewayPort, Session } from '../../domain/gateway.ts';
import { DEFAULT_ASSET, micros, type Micros } from '../../domain/money.ts';
import type { Actor } from '../../domain/payment.ts';
import { rankOffers } from '../../domain/ranking.ts';
import { sessionOf, storedTerms } from '../../domain/session.ts';
import { newId } from '../../platform/random.ts';
import { sessionKind } from '../kinds.ts';
import type { Payments } from '../payments.ts';
import { createCalls, type CallDeps, type SessionTermsForCall } from './calls.ts';

export interface GatewayDeps extends CallDeps {
  readonly payments: Pick<Payments, 'open' | 'step' | 'read' | 'listOf'>;
  readonly store: GatewayStore;
}

const SESSIONS_REMEMBERED = 20_000;

export function createGateway(deps: GatewayDeps): GatewayPort {
  const { store, payments } = deps;
  const calls = createCalls(deps);
  const sessions = createSessions(deps);
  const used = new LRUCache<string, bigint>({ max: SESSIONS_REMEMBERED });

  return {
    async openSession(buyer, tenantId, terms, claim) {
      const wish = { buyer, seller: null, arbiter: null, tenantId, asset: DEFAULT_ASSET, amountMicros: terms.maxTotalMicros,
        terms: storedTerms(terms), lookup: null };
      const { payment, replayed } = await payments.open(sessionKind, wish, claim);
      return { session: sessionOf(payment), replayed };
    },
    closeSession: async (agent, sessionId) => sessions.close(await sessions.ownNow(agent, sessionId), { address: agent, as: null }),
    endSession: async (sessionId) => sessions.close(await sessions.read(sessionId), { address: null, as: 'platform' }),
    session: (agent, sessionId) => sessions.ownNow(agent, sessionId),
    async sessionsOf(agent, page) {
      const { payments: found, more } = await payments.listOf(sessionKind, agent, page);
      return { sessions: found.map(sessionOf), more };
    },
    adoptCalls: (callIds) => deps.driver.adopt(callIds),

    async call(agent, sessionId, request) {
      const session = await sessions.own(agent, sessionId);
      const terms: SessionTermsForCall = { ...session, usedMicros: used.get(sessionId) ?? session.spentMicros };
      const answer = await calls.run(terms, boundToSession(request, sessionId), store.accept);
      used.set(sessionId, session.maxTotalMicros - answer.remainingMicros);
      return answer;
    },

    // The workflow of the call is the promise for it and its hold.
    async callOnce(agent, request) {
      const limitMicros = request.maxPriceMicros;
      return calls.run(singleCallTerms(agent, limitMicros), request, (call) => store.callOnce(call, limitMicros, DEFAULT_ASSET));
    },

    dryRun: async (agent, sessionId, request) => dryRun(deps, await sessions.ownNow(agent, sessionId), request),
  };
}

/** The same key in another session is another request. */
export function boundToSession(request: CallRequest, sessionId: string): CallRequest {
  const { idempotency } = request;
  return idempotency === null ? request
    : { ...request, idempotency: { ...idempotency, requestHash: `${idempotency.requestHash}:${sessionId}` } };
}

/** What stands in for the session of a call on its own. */
export function singleCallTerms(agent: string, limitMicros: Micros): SessionTermsForCall {
  return { id: newId('gatewaySession'), agentAddress: agent, maxTotalMicros: limitMicros, maxPerRequestMicros: limitMicros,
    strategy: 'cheapest', allowedTypes: [], warnAtPercent: 0, usedMicros: 0n };
}

function createSessions({ store, payments }: GatewayDeps) {
  // Terms never change, so they need not be read again; whether the session is still open is decided by the statement that accepts.
  const known = new LRUCache<string, Session>({ max: SESSIONS_REMEMBERED });

  async function read(sessionId: string): Promise<Session> {
    const payment = await payments.read(sessionId);
    const session = payment?.kind === sessionKind.rules.kind ? sessionOf(payment) : await store.singleCall(sessionId);
    if (session === null) throw new SuretyError('not_found', 'There is no such session.');
    known.set(sessionId, session);
    return session;
  }

  function ifOwn(agent: string, session: Session): Session {
    if (session.agentAddress !== agent) throw new SuretyError('forbidden', 'The session belongs to somebody else.');
    return session;
  }

  return {
    read,
    /** Its terms, as of whenever they were read. Errors: not_found, forbidden. */
    own: async (agent: string, sessionId: string): Promise<Session> => ifOwn(agent, known.get(sessionId) ?? (await read(sessionId))),
    /** As it is now. Errors: not_found, forbidden. */
    ownNow: async (agent: string, sessionId: string): Promise<Session> => ifOwn(agent, await read(sessionId)),
    /** Again changes nothing. */
    async close(session: Session, actor: Actor): Promise<Session> {
      if (session.status !== 'active') return session;
      try {
        const { payment } = await payments.step(sessionKind, { id: session.id, step: 'close', actor, input: {}, claim: null });
        return sessionOf(payment);
      } catch (error) {
        // Somebody else was quicker, or the clock.
        if (error instanceof SuretyError && error.code === 'invalid_state') return read(session.id);
        throw error;
      }
    },
  };
}

/** What a call would do and cost now; the texts are those of the first system. */
function dryRun({ offers }: GatewayDeps, session: Session, request: CallRequest): DryRun {
  const denied = (denyReason: string) => ({
    allowed: false, budgetOk: false, remainingMicros: null, serviceFound: false, bestPriceMicros: null, bestService: null, denyReason,
    estimatedCallsRemaining: null,
  });
  if (session.status === 'expired' || session.expiresAt.getTime() <= Date.now()) return denied('session has expired');
  if (session.status !== 'active') return denied('session is not active');
  const remainingMicros = micros(session.maxTotalMicros - session.spentMicros - session.reservedMicros);
  const cap = request.maxPriceMicros !== null && request.maxPriceMicros < session.maxPerRequestMicros ? request.maxPriceMicros
    : session.maxPerRequestMicros;
  const typeAllowed = session.allowedTypes.length === 0 || session.allowedTypes.includes(request.serviceType);
  const wish = { buyer: session.agentAddress, strategy: session.strategy, priceMicrosMax: cap,
    preferAgent: request.preferAgent, budgetUsed: 0 };
  const best = typeAllowed ? rankOffers(offers(request.serviceType), wish)[0] : undefined;
  if (best === undefined) return { ...denied('no service available'), budgetOk: remainingMicros > 0n, remainingMicros };
  const budgetOk = best.priceMicros <= remainingMicros;
  return {
    allowed: budgetOk, budgetOk, remainingMicros, serviceFound: true, bestPriceMicros: best.priceMicros, bestService: best.serviceName,
    denyReason: budgetOk ? null : 'budget insufficient for cheapest service',
    estimatedCallsRemaining: Number(remainingMicros / best.priceMicros),
  };
}
