/** Sessions and calls at the level of the SQL steps: valid ones, of which a test changes what it is about. */
import type pg from 'pg';
import type { Candidate } from '../../activities/gateway/call.ts';
import { createGatewayStore, type AttemptLog, type Delivery, type GatewayStore, type GivenUp, type NewCall,
  type NewSession } from '../../activities/gateway/store.ts';
import { parseAmount } from '../../domain/money.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, anAddress, platformAddress } from './builders.ts';

/** The steps as a process of this name would take them. */
export function aStore(pool: pg.Pool, { driver = 'test', leaseMs = 6_000 }: { driver?: string; leaseMs?: number } = {}): GatewayStore {
  return createGatewayStore({ pool, driver, leaseMs, feeOwner: platformAddress, metrics: createMetrics({ runtime: false }) });
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
  readonly singleCall?: boolean;
  readonly key?: { readonly key: string; readonly requestHash: string } | null;
}

/** A session that has not been opened yet. */
export function aNewSession({ agent = anAddress(), maxTotal = '1.00', maxPerRequest = maxTotal, rpm = 1_000,
    expiresAt = new Date(Date.now() + 3_600_000), singleCall = false, key = null }: SessionWish = {}): NewSession {
  const id = newId('gatewaySession');
  return {
    id, agent, tenantId: null, singleCall, workflowId: `gateway-session-${id}`, idempotency: key,
    terms: {
      maxTotalMicros: parseAmount(maxTotal), maxPerRequestMicros: parseAmount(maxPerRequest), strategy: 'cheapest',
      allowedTypes: [], warnAtPercent: 0,
      maxRequestsPerMinute: rpm, expiresAt,
    },
  };
}

/** A session of a buyer who has exactly its budget, opened. */
export async function anOpenSession(pool: pg.Pool, wish: SessionWish = {}): Promise<NewSession> {
  const session = aNewSession(wish);
  await aDeposit(pool, session.agent, wish.maxTotal ?? '1.00');
  await aStore(pool).openSession(session);
  return session;
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
