/** Sessions and calls at the level of the SQL steps: valid ones, of which a test changes what it is about. */
import type pg from 'pg';
import type { Taken } from '../../activities/payment/take.ts';
import type { Candidate } from '../../activities/gateway/call.ts';
import type { Accepted, AttemptLog, Delivery, GivenUp, NewCall } from '../../activities/gateway/rows.ts';
import { createGatewayStore, type GatewayStore } from '../../activities/gateway/store.ts';
import type { Session, SessionTerms } from '../../domain/gateway.ts';
import { parseAmount } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import { sessionOf, sessionRules, storedTerms } from '../../domain/session.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, anAddress, platformAddress } from './builders.ts';
import { directPayments, noAttempt } from './payments.ts';

const finishing = new Set<Promise<unknown>>();

/** The steps as a process of this name would take them; it finishes sessions whose last call it ends. */
export function aStore(pool: pg.Pool, { driver = 'test', leaseMs = 6_000 }: { driver?: string; leaseMs?: number } = {}): GatewayStore {
  return createGatewayStore({
    pool, driver, leaseMs, feeOwner: platformAddress, metrics: createMetrics({ runtime: false }),
    onDrained(id) {
      const finished = stepSession(pool, id, 'finish').finally(() => finishing.delete(finished));
      finishing.add(finished);
    },
  });
}

/** When every session is finished whose last call has ended. */
export async function sessionsFinished(): Promise<void> {
  while (finishing.size > 0) await Promise.all(finishing);
}

async function stepSession(pool: pg.Pool, id: string, step: 'close' | 'finish'): Promise<Taken> {
  const { taker } = await directPayments(pool, { rules: sessionRules });
  return taker.step(sessionRules, { ...noAttempt, id, step, input: {}, actor: { address: null, as: 'platform' } });
}

/** Ends a session, by the platform or by its time. Again changes nothing. */
export async function endSession(pool: pg.Pool, id: string, as: 'closed' | 'expired' = 'closed'): Promise<void> {
  if (as === 'closed') return void (await stepSession(pool, id, 'close'));
  await letExpire(pool, id);
  const { taker } = await directPayments(pool, { rules: sessionRules });
  await taker.clock(sessionRules, id);
}

/** Lets the time of a session pass, as its rows see it. */
export async function letExpire(pool: pg.Pool, id: string, agoSecs = 1): Promise<void> {
  await pool.query(`WITH m AS (UPDATE meter SET closes_at = now() - $2 * interval '1 second' WHERE id = $1 AND open)
    UPDATE payment SET deadline = now() - $2 * interval '1 second',
           details = jsonb_set(details, '{expiresAtMs}', to_jsonb(floor(extract(epoch FROM now()) * 1000) - $2 * 1000))
     WHERE id = $1 AND deadline IS NOT NULL`, [id, agoSecs]);
}

/** The session as it is now; null where there is none. */
export async function sessionNow(pool: pg.Pool, id: string): Promise<Session | null> {
  const { store } = await directPayments(pool, { rules: sessionRules });
  const found: { payment: Payment } | null = await store.read(id);
  return found === null ? aStore(pool).singleCall(id) : sessionOf(found.payment);
}

export function aCandidate(seller: string, price = '0.10', change: Partial<Candidate> = {}): Candidate {
  return { serviceId: `svc_${seller.slice(-8)}`, serviceName: 'Translation', seller, endpoint: 'http://127.0.0.1:9/work',
    priceMicros: parseAmount(price).toString(), idempotent: true, ...change };
}

export interface SessionWish {
  readonly agent?: string;
  readonly maxTotal?: string;
  readonly maxPerRequest?: string;
  readonly rpm?: number;
  readonly expiresAt?: Date;
  readonly key?: { readonly key: string; readonly requestHash: string } | null;
}

/** A session that has not been opened yet, or what stands in for that of a single call. */
export interface NewSession {
  readonly id: string;
  readonly agent: string;
  readonly terms: SessionTerms;
  readonly openedAtMs: number;
  readonly key: SessionWish['key'];
}

const LIFE_MS = 3_600_000;

export function aNewSession({ agent = anAddress(), maxTotal = '1.00', maxPerRequest = maxTotal, rpm = 1_000,
    expiresAt = new Date(Date.now() + LIFE_MS), key = null }: SessionWish = {}): NewSession {
  return {
    id: newId('gatewaySession'), agent, key, openedAtMs: expiresAt.getTime() - LIFE_MS,
    terms: {
      maxTotalMicros: parseAmount(maxTotal), maxPerRequestMicros: parseAmount(maxPerRequest), strategy: 'cheapest', allowedTypes: [],
      warnAtPercent: 0, maxRequestsPerMinute: rpm, lifeMs: LIFE_MS,
    },
  };
}

/** Opens it as the function of activities and requests does. Throws what refuses it. */
export async function openSession(pool: pg.Pool, { id, agent, terms, openedAtMs, key }: NewSession): Promise<Taken> {
  const { taker } = await directPayments(pool, { rules: sessionRules });
  const opening = { id, buyer: agent, seller: null, arbiter: null, tenantId: null, asset: 'USDC', amountMicros: terms.maxTotalMicros,
    terms: storedTerms(terms), lookup: null, workflowId: `gateway-session-${id}` };
  const claim = key === null || key === undefined ? null : { ...key, owner: agent };
  return taker.open(sessionRules, { ...noAttempt, opening, claim, askedAtMs: openedAtMs, workflowStarted: false });
}

/** A session of a buyer who has exactly its budget, opened. */
export async function anOpenSession(pool: pg.Pool, wish: SessionWish = {}): Promise<NewSession> {
  const session = aNewSession(wish);
  await aDeposit(pool, session.agent, wish.maxTotal ?? '1.00');
  await openSession(pool, session);
  return session;
}

/** A single call with a hold of its own, as large as the budget of this session. */
export function callOnce(store: GatewayStore, { terms }: NewSession, call: NewCall): Promise<Accepted> {
  return store.callOnce(call, terms.maxTotalMicros, 'USDC');
}

export function aNewCall(session: Pick<NewSession, 'id' | 'agent'>, candidates: readonly Candidate[],
    change: Partial<NewCall> = {}): NewCall {
  return {
    id: newId('call'), sessionId: session.id, buyer: session.agent, serviceType: 'translation', paramsJson: '{}', candidates, feeBps: 0,
    workflowId: 'gateway-calls-test', idempotency: null, ...change,
  };
}

export const anAttempt: AttemptLog = { seller: '0x', serviceId: 'svc', priceMicros: '100000', outcome: 'error_answer',
  httpStatus: 500, message: 'no',
  startedAt: new Date(0).toISOString(), latencyMs: 1 };

export function aDelivery(id: string, attempt = 0): Delivery {
  return { id, attempt, httpStatus: 200, responseJson: '{"done":true}', latencyMs: 5, log: [] };
}

export function aGivenUp(id: string): GivenUp {
  return { id, errorCode: 'proxy_failed', errorMessage: 'Nobody delivered.', log: [] };
}
