/** The gateway as the HTTP edge sees it: sessions through their workflows, calls with a head start in this process. */
import { WorkflowNotFoundError } from '@temporalio/client';
import { LRUCache } from 'lru-cache';
import type { GatewayActivities } from '../../activities/gateway/activities.ts';
import type { GatewayStore, NewSession } from '../../activities/gateway/store.ts';
import { SuretyError } from '../../domain/errors.ts';
import { sessionBounds, type CallRequest, type DryRun, type GatewayPort, type Session } from '../../domain/gateway.ts';
import { formatMicros, micros, toUnits, type Micros } from '../../domain/money.ts';
import { rankOffers } from '../../domain/ranking.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Logger } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import type { WorkerTemporal } from '../../temporal/connection.ts';
import { closeUpdate, type GatewaySessionInput } from '../../workflows/contracts/gateway-session.ts';
import { taskQueues, workflowIdFor } from '../../workflows/contracts/ids.ts';
import type { gatewaySession } from '../../workflows/gateway-session.ts';
import { createCalls, singleCallTerms, type CallDeps, type SessionTermsForCall } from './calls.ts';

export interface GatewayDeps extends CallDeps {
  readonly temporal: Pick<WorkerTemporal, 'client' | 'searchAttributes'>;
  readonly closeSession: GatewayActivities['closeSession'];
  readonly log: Logger;
  readonly store: GatewayStore;
  readonly metrics: Metrics;
  readonly crash: Crash;
  readonly taskQueue?: string;
}

const SESSIONS_REMEMBERED = 20_000;
/** Temporal answers in milliseconds; when it takes longer than this, the request goes on without it. */
const TEMPORAL_PATIENCE_MS = 4_000;

export function createGateway(deps: GatewayDeps): GatewayPort {
  const { store } = deps;
  const calls = createCalls(deps);
  const sessions = createSessions(deps);
  const used = new LRUCache<string, bigint>({ max: SESSIONS_REMEMBERED });

  return {
    openSession: sessions.open,
    closeSession: async (agent, sessionId) => sessions.end(await sessions.mine(agent, sessionId, true)),
    endSession: async (sessionId) => sessions.end(await sessions.read(sessionId)),
    adoptCalls: (callIds) => deps.driver.adopt(callIds),

    async call(agent, sessionId, request) {
      const session = await sessions.mine(agent, sessionId, false);
      const terms: SessionTermsForCall = { ...session, usedMicros: used.get(sessionId) ?? session.spentMicros };
      const { idempotency } = request;
      // The same key in another session is another request.
      const bound = idempotency === null ? null : { ...idempotency, requestHash: `${idempotency.requestHash}:${sessionId}` };
      const answer = await calls.run(terms, { ...request, idempotency: bound }, store.accept);
      used.set(sessionId, session.maxTotalMicros - answer.remainingMicros);
      return answer;
    },

    async callOnce(agent, tenantId, request) {
      const session = singleCallSession(agent, tenantId, request.maxPriceMicros);
      // The workflow of the call is the promise for both.
      return calls.run(singleCallTerms(session), request, (call) => store.callOnce({ ...session, workflowId: call.workflowId }, call));
    },

    dryRun: async (agent, sessionId, request) => dryRun(deps, await sessions.mine(agent, sessionId, true), request),
  };
}

/** Sessions and their workflows. */
function createSessions(deps: GatewayDeps) {
  const { store, temporal, log, metrics } = deps;
  const { client } = temporal;
  const taskQueue = deps.taskQueue ?? taskQueues.gateway;
  // Terms never change, so they need not be read again; whether the session is still open is decided by the statement that accepts.
  const known = new LRUCache<string, Session>({ max: SESSIONS_REMEMBERED });

  async function read(sessionId: string): Promise<Session> {
    const session = await store.session(sessionId);
    if (session === null) throw new SuretyError('not_found', 'There is no such session.');
    known.set(sessionId, session);
    return session;
  }

  async function mine(agent: string, sessionId: string, fresh: boolean): Promise<Session> {
    const session = (fresh ? undefined : known.get(sessionId)) ?? (await read(sessionId));
    if (session.agentAddress !== agent) throw new SuretyError('forbidden', 'The session belongs to somebody else.');
    return session;
  }

  const open: GatewayPort['openSession'] = async (agent, tenantId, terms, idempotency) => {
    const id = newId('gatewaySession');
    const opened: NewSession = { id, agent, tenantId, terms, singleCall: false, workflowId: workflowIdFor('gatewaySession', id),
      idempotency };
    const { sessionId, replayed } = await store.openSession(opened);
    deps.crash.at('session-held');
    if (!replayed) {
      metrics.sessionOpened();
      // The money is held and the expiry is in the row: without the workflow the sweeper ends the session in its stead.
      await startSessionWorkflow(temporal, taskQueue, { ...opened, agentAddress: agent, ...terms }, false).catch((error: unknown) => {
        log.warn({ err: error, sessionId }, 'The workflow of a session could not be started.');
        metrics.backgroundError('session-start');
      });
      deps.crash.at('session-started');
    }
    return { session: await read(sessionId), replayed };
  };

  async function end(session: Session): Promise<Session> {
    if (session.status !== 'active') return session;
    try {
      await client.withDeadline(Date.now() + TEMPORAL_PATIENCE_MS, () => client.workflow.getHandle(session.workflowId)
        .executeUpdate(closeUpdate));
    } catch (error) {
      await endWithoutUpdate(session, error);
    }
    return read(session.id);
  }

  /**
   * The workflow is lost (its server's files were), or Temporal does not answer. The buyer's money does not wait for that: a lost
   * workflow is started again to close, and without Temporal this process takes the workflow's step itself, which is idempotent.
   */
  async function endWithoutUpdate(session: Session, error: unknown): Promise<void> {
    if ((await store.session(session.id))?.status !== 'active') return;
    log.warn({ err: error, sessionId: session.id }, 'A session is closed without its running workflow.');
    if (error instanceof WorkflowNotFoundError) {
      const closed = startSessionWorkflow(temporal, taskQueue, session, true).then((handle) => handle.result());
      const late = new Promise<void>((resolve) => setTimeout(resolve, TEMPORAL_PATIENCE_MS).unref());
      await Promise.race([closed, late]).catch(() => undefined);
    }
    await deps.closeSession({ sessionId: session.id, ending: 'closed' });
  }

  return { read, mine, open, end };
}

/** A session that lives and ends with one call. */
function singleCallSession(agent: string, tenantId: string | null, maxPriceMicros: Micros): NewSession {
  const { requestsPerMinuteDefault, singleCallExpirySecs } = sessionBounds;
  return {
    id: newId('gatewaySession'), agent, tenantId, singleCall: true, workflowId: '', idempotency: null,
    terms: {
      maxTotalMicros: maxPriceMicros, maxPerRequestMicros: maxPriceMicros, strategy: 'cheapest', allowedTypes: [], warnAtPercent: 0,
      maxRequestsPerMinute: requestsPerMinuteDefault, expiresAt: new Date(Date.now() + singleCallExpirySecs * 1_000),
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

type SessionToStart = Pick<Session, 'id' | 'agentAddress' | 'workflowId' | 'expiresAt' | 'maxTotalMicros'>;

function startSessionWorkflow({ client, searchAttributes }: GatewayDeps['temporal'], taskQueue: string,
    session: SessionToStart, closeNow: boolean) {
  const { id: sessionId, workflowId } = session;
  const searchable = { Buyer: session.agentAddress, PaymentState: 'active', AmountUsd: toUnits(session.maxTotalMicros).toNumber() };
  return searchAttributes.starting(searchable, ({ typedSearchAttributes, names }) => {
    const closing = closeNow ? { closeNow } : {};
    const input: GatewaySessionInput = { sessionId, expiresAtMs: session.expiresAt.getTime(), searchAttributes: names, ...closing };
    return client.withDeadline(Date.now() + TEMPORAL_PATIENCE_MS, () => client.workflow.start<typeof gatewaySession>('gatewaySession', {
      workflowId, taskQueue, args: [input], requestEagerStart: true, workflowIdConflictPolicy: 'USE_EXISTING',
      staticSummary: `Budget of ${formatMicros(session.maxTotalMicros)} USDC for ${session.agentAddress}`, typedSearchAttributes,
    }));
  });
}
