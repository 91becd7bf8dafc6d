/** One paid call: choose sellers, accept, drive at once, answer. */
import type { CallEnd, Candidate, OpenCall } from '../../activities/gateway/call.ts';
import type { Driver } from '../../activities/gateway/drive.ts';
import type { Accepted, NewCall, StoredCall } from '../../activities/gateway/rows.ts';
import type { GatewayStore } from '../../activities/gateway/store.ts';
import { isErrorCode, SuretyError, type ErrorCode } from '../../domain/errors.ts';
import type { CallAnswer, CallRequest, Offer, Session } from '../../domain/gateway.ts';
import { DEFAULT_ASSET, formatMicros, micros, percentOf, type Micros } from '../../domain/money.ts';
import { rankOffers } from '../../domain/ranking.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import type { CallPromises } from './promise.ts';

export interface CallDeps {
  readonly store: GatewayStore;
  readonly driver: Driver;
  readonly promises: CallPromises;
  readonly offers: (serviceType: string) => readonly Offer[];
  readonly metrics: Metrics;
  readonly crash: Crash;
  readonly feeBps: number;
  /** How long a request waits for its outcome. */
  readonly answerTimeoutMs: number;
}

/** What accepting a call takes. `promises`: the workflow that it will belong to. */
export type AcceptDeps = Pick<CallDeps, 'store' | 'offers' | 'crash' | 'feeBps'> & { readonly promises: Pick<CallPromises, 'join'> };

/** The session a call runs in: its terms, and how much of its budget is used as far as this process knows. */
export type SessionTermsForCall =
  Pick<Session, 'id' | 'agentAddress' | 'maxTotalMicros' | 'maxPerRequestMicros' | 'strategy' | 'allowedTypes'
  | 'warnAtPercent'> & { readonly usedMicros: bigint };

type Wanted = Pick<CallRequest, 'serviceType' | 'maxPriceMicros' | 'preferAgent'> & {
  /** Only of services that let their work be given back. */
  readonly refundable?: boolean | undefined;
};

/** How a new call is written: in a session that exists, or together with one of its own. */
export type AcceptStep = (call: NewCall) => Promise<Accepted>;

const POLL_MS_MAX = 500;
const TWIN_TRIES = 3;

export function createCalls(deps: CallDeps) {
  const { store, driver, metrics } = deps;

  /** Runs one call from wish to answer. Errors: those of `GatewayPort.call`. */
  async function run(session: SessionTermsForCall, request: CallRequest, acceptStep: AcceptStep): Promise<CallAnswer> {
    const startedAt = performance.now();
    try {
      const { call, accepted } = await acceptCall(deps, session, request, acceptStep);
      const answer = call === null ? await answerFromRow(accepted.existingId ?? '', session, true) : await headStart(call, session);
      metrics.callEnded(answer.replayed ? 'replayed' : 'settled', (performance.now() - startedAt) / 1_000);
      return answer;
    } catch (error) {
      metrics.callEnded(outcomeOf(error), (performance.now() - startedAt) / 1_000);
      throw error;
    }
  }

  /** Drives the call in this process without waiting for Temporal. */
  async function headStart(call: NewCall, session: SessionTermsForCall): Promise<CallAnswer> {
    const open: OpenCall = { ...call, refundable: false, attempt: 0, takenOver: false, asked: false };
    const end = await within(driver.drive(open), deps.answerTimeoutMs);
    if (end === null) throw pending(call.id, false);
    switch (end.tag) {
      case 'settled': case 'delivered': return settledAnswer(end, call, session);
      case 'released': throw released(call.id, end.errorCode, end.errorMessage, { workflowId: call.workflowId, replayed: false });
      case 'elsewhere': return answerFromRow(call.id, session, false);
    }
  }

  /** The answer of a call that another process drives, or that ended before. */
  async function answerFromRow(callId: string, session: SessionTermsForCall, replayed: boolean): Promise<CallAnswer> {
    const deadlineMs = Date.now() + deps.answerTimeoutMs;
    for (let pauseMs = 10; ; pauseMs = Math.min(POLL_MS_MAX, pauseMs * 2)) {
      await within(driver.underWay(callId) ?? Promise.resolve(null), Math.max(0, deadlineMs - Date.now()));
      const row = await store.call(callId);
      if (row === null) throw new SuretyError('idempotency_in_progress',
        'The first request with this Idempotency-Key has just been given up.');
      if (row.state === 'settled') return storedAnswer(row, session, replayed);
      if (row.state !== 'accepted') throw released(callId, row.error_code ?? 'proxy_failed', row.error_message ?? 'The call was released.',
        { workflowId: row.workflow_id, replayed });
      if (Date.now() + pauseMs > deadlineMs) throw pending(callId, replayed);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  return { run };
}

/**
 * Writes the call and reserves its price. A dearer first choice that the budget does not allow gives way to one that fits. `call` null: the
 * same key has bought it before.
 */
export async function acceptCall(deps: AcceptDeps, session: SessionTermsForCall, request: CallRequest,
    acceptStep: AcceptStep): Promise<{ call: NewCall | null; accepted: Accepted }> {
  let candidates = choose(deps, session, request);
  for (let tries = 1; ; tries += 1) {
    if (candidates.length === 0) throw await noService(deps, session, request);
    const id = newId('call');
    const place = deps.promises.join(id);
    const call: NewCall = {
      id, sessionId: session.id, buyer: session.agentAddress, serviceType: request.serviceType,
      paramsJson: request.paramsJson, candidates,
      feeBps: deps.feeBps, workflowId: place.workflowId, idempotency: request.idempotency,
    };
    const accepted = await acceptStep(call).catch((error: unknown): never => {
      place.confirm(false);
      // Nobody knows whether the commit came through. No seller has been asked, so whatever was accepted is given back.
      if (error instanceof SuretyError && error.code === 'unavailable') void giveBack(deps, id);
      throw error;
    });
    place.confirm(accepted.outcome === 'accepted');
    if (accepted.outcome === 'accepted') {
      deps.crash.at('call-accepted');
      return { call, accepted };
    }
    if (accepted.outcome === 'replay') return { call: null, accepted };
    const affordable = candidates.filter((candidate) => BigInt(candidate.priceMicros) <= accepted.remainingMicros);
    const again = (accepted.outcome === 'budget_exceeded' && affordable.length > 0)
      || (accepted.outcome === 'idempotency_in_progress' && tries < TWIN_TRIES);
    if (!again) throw refusal(accepted, candidates);
    if (affordable.length > 0) candidates = affordable;
  }
}

/** Sellers for a wish, best first. */
export function choose({ offers }: Pick<CallDeps, 'offers'>, session: SessionTermsForCall, request: Wanted): Candidate[] {
  if (session.allowedTypes.length > 0 && !session.allowedTypes.includes(request.serviceType)) return [];
  const cap = request.maxPriceMicros !== null && request.maxPriceMicros < session.maxPerRequestMicros ? request.maxPriceMicros
    : session.maxPerRequestMicros;
  const ranked = rankOffers(offers(request.serviceType), {
    buyer: session.agentAddress, strategy: session.strategy, priceMicrosMax: cap, preferAgent: request.preferAgent,
    budgetUsed: percentOf(session.usedMicros, session.maxTotalMicros) / 100, refundableOnly: request.refundable,
  });
  return ranked.map(({ serviceId, serviceName, seller, endpoint, priceMicros, idempotent, maxDurationSecs }) =>
    ({ serviceId, serviceName, seller, endpoint, priceMicros: priceMicros.toString(), idempotent,
      ...(maxDurationSecs === null ? {} : { maxDurationSecs }) }));
}

/**
 * The refusal where nobody offers what is wanted: no_service or no_refundable_service. It counts for the pace of the session and stands in
 * its log, so it may also be that of a session that is too fast, closed or expired.
 */
export async function noService(deps: Pick<CallDeps, 'store' | 'offers'>, session: SessionTermsForCall,
    request: Wanted): Promise<SuretyError> {
  const refused = whyNobody(deps, session, request);
  const { code, message } = refused;
  const outcome = await deps.store.noteRefusal({ sessionId: session.id, serviceType: request.serviceType, code, message });
  return outcome === 'noted' ? refused : refusalOf(outcome);
}

function whyNobody(deps: Pick<CallDeps, 'offers'>, session: SessionTermsForCall, request: Wanted): SuretyError {
  const { serviceType } = request;
  const allowed = session.allowedTypes.length === 0 || session.allowedTypes.includes(serviceType);
  if (!allowed) return new SuretyError('no_service', `The session does not allow services of type ${serviceType}.`);
  if (request.refundable === true && choose(deps, session, { ...request, refundable: false }).length > 0) {
    return new SuretyError('no_refundable_service',
      `No service of type ${serviceType} that fits the price limit lets its work be given back (refundable).`);
  }
  return new SuretyError('no_service', `No active service of type ${serviceType} fits the price limit.`);
}

/** Until the database answers: the caller has been answered that nothing happened. */
async function giveBack({ store }: Pick<CallDeps, 'store'>, callId: string): Promise<void> {
  for (let tries = 0; tries < 240; tries += 1) {
    try {
      await store.release({ id: callId, errorCode: 'unavailable',
        errorMessage: 'The platform could not confirm this call, so it was not carried out.', log: [] });
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 250).unref());
    }
  }
}

/** Null when the time is up first. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => (timer = setTimeout(resolve, timeoutMs, null)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isLow(spentMicros: bigint, maxTotalMicros: bigint, warnAtPercent: number): boolean {
  return warnAtPercent > 0 && percentOf(spentMicros, maxTotalMicros) >= warnAtPercent;
}

function settledAnswer(end: Extract<CallEnd, { responseJson: unknown }>, call: NewCall, session: SessionTermsForCall): CallAnswer {
  return {
    callId: call.id, sessionId: session.id, workflowId: call.workflowId, responseJson: end.responseJson, serviceUsed: end.candidate.seller,
    serviceId: end.candidate.serviceId,
    serviceName: end.candidate.serviceName, amountMicros: micros(end.candidate.priceMicros), latencyMs: end.latencyMs, retries: end.retries,
    totalSpentMicros: micros(end.spentMicros), remainingMicros: micros(end.remainingMicros), requestCount: end.requestCount,
    budgetLow: isLow(end.spentMicros, session.maxTotalMicros, session.warnAtPercent), replayed: false,
  };
}

function storedAnswer(row: StoredCall, session: Pick<Session, 'maxTotalMicros' | 'warnAtPercent'>, replayed: boolean): CallAnswer {
  return {
    callId: row.id, sessionId: row.session_id, workflowId: row.workflow_id, responseJson: row.response, serviceUsed: row.seller,
    serviceId: row.service_id, serviceName: row.service_name,
    amountMicros: micros(row.price), latencyMs: row.latency_ms, retries: row.attempt, totalSpentMicros: micros(row.spent),
    remainingMicros: micros(row.remaining),
    requestCount: row.request_count, budgetLow: isLow(BigInt(row.spent), session.maxTotalMicros, session.warnAtPercent), replayed,
  };
}

function pending(callId: string, replayed: boolean): SuretyError {
  return new SuretyError('call_pending', 'The seller is still at work. The call goes on and will be settled or given back by itself.',
    { fundsStatus: 'held_pending', body: { callId }, replayed });
}

function released(callId: string, errorCode: string, message: string,
    { workflowId, replayed }: { workflowId: string | null; replayed: boolean }): SuretyError {
  const code: ErrorCode = isErrorCode(errorCode) ? errorCode : 'proxy_failed';
  return new SuretyError(code, message, { body: { callId, workflowId }, replayed });
}

/** Sentences for refusals of the statement that accepts. */
const refusals: Partial<Record<ErrorCode, string>> = {
  not_found: 'There is no such session.',
  forbidden: 'The session belongs to somebody else.',
  session_closed: 'The session is closed.',
  session_expired: 'The session has expired.',
  rate_limited: 'The session allows fewer requests a minute.',
  idempotency_mismatch: 'This Idempotency-Key was used before with a different request.',
  idempotency_in_progress: 'The first request with this Idempotency-Key is still under way.',
};

/** Why a call was not accepted. `candidates`: what was wanted, for saying what it costs. */
function refusal(accepted: Accepted, candidates: readonly Candidate[]): SuretyError {
  const code: ErrorCode = isErrorCode(accepted.outcome) ? accepted.outcome : 'internal_error';
  if (code === 'budget_exceeded') {
    const price = candidates.reduce<Micros>((least, { priceMicros }) => (BigInt(priceMicros) < least ? micros(priceMicros) : least),
      micros(candidates[0]?.priceMicros ?? 0));
    const remaining = formatMicros(accepted.remainingMicros);
    return new SuretyError(code,
        `The cheapest fitting service costs ${formatMicros(price)}, and ${remaining} of the session's budget is left.`, {
      body: { price: formatMicros(price), currency: DEFAULT_ASSET, remaining },
    });
  }
  return refusalOf(code);
}

/** The refusal of a session that does not take a call. */
export function refusalOf(code: ErrorCode): SuretyError {
  return new SuretyError(code, refusals[code] ?? 'This was refused.', code === 'rate_limited' ? { retryAfterSecs: 60 } : {});
}

function outcomeOf(error: unknown): Parameters<Metrics['callEnded']>[0] {
  if (!(error instanceof SuretyError)) return 'refused';
  switch (error.code) {
    case 'no_service': case 'budget_exceeded': case 'rate_limited': return error.code;
    case 'session_closed': case 'session_expired': return 'session_closed';
    case 'proxy_failed': case 'execution_unknown': return 'released';
    case 'call_pending': return 'pending';
    default: return 'refused';
  }
}
