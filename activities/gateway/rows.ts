/** The rows of calls: what is written of them, and how what is read becomes the types of this code. */
import type pg from 'pg';
import { sessionBounds, type CallState, type IdempotencyClaim, type Session } from '../../domain/gateway.ts';
import type { CallLine } from '../../domain/gateway-messages.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import type { Candidate, OpenCall } from './call.ts';

/** A call as it is to be accepted. */
export interface NewCall extends Pick<OpenCall, 'id' | 'sessionId' | 'buyer' | 'serviceType' | 'paramsJson' | 'candidates'> {
  /** The platform's part of the price, in basis points of it. */
  readonly feeBps: number;
  readonly workflowId: string;
  readonly idempotency: IdempotencyClaim | null;
}

/** What became of a request to accept a call: `accepted`, `replay` of `existingId`, or the code of the refusal. */
export interface Accepted {
  readonly outcome: string;
  readonly existingId: string | null;
  readonly remainingMicros: bigint;
}

/** One attempt at a seller, kept with the call for the people who ask later. */
export interface AttemptLog {
  readonly seller: string;
  readonly serviceId: string;
  /** What it would have earned; digits of micros, because this is stored as JSON. */
  readonly priceMicros: string;
  readonly outcome: string;
  readonly httpStatus: number | null;
  readonly message: string | null;
  readonly startedAt: string;
  readonly latencyMs: number;
}

export interface Delivery {
  readonly id: string;
  /** Index of the candidate that delivered; a driver that was overtaken settles nothing. */
  readonly attempt: number;
  readonly httpStatus: number;
  readonly responseJson: string | null;
  readonly latencyMs: number;
  readonly log: readonly AttemptLog[];
}
export interface Settled {
  readonly outcome: 'settled' | 'delivered' | 'already_settled' | 'released' | 'superseded' | 'missing';
  readonly spentMicros: bigint;
  readonly remainingMicros: bigint;
  readonly requestCount: number;
}

export interface GivenUp {
  readonly id: string;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly log: readonly AttemptLog[];
}
/** A call whose candidate of this number is about to be asked. */
export interface Asking {
  readonly callId: string;
  readonly attempt: number;
}
export type Released = 'released' | 'already_released' | 'already_settled' | 'missing';

/** A call as it was stored, for answering later. */
export interface StoredCall extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; state: CallState; price: string; seller: string; service_id: string; service_name: string;
  response: string | null; latency_ms: number; attempt: number; error_code: string | null; error_message: string | null;
  workflow_id: string | null;
  spent: string; remaining: string; request_count: number;
}
/** Reads one of them: $1 its id. */
export const storedCallSql = `
SELECT c.id, c.session_id, c.buyer, c.state, c.price, c.seller, c.service_id, c.service_name, c.response, c.latency_ms, c.attempt,
       c.error_code, c.error_message, c.workflow_id, m.used AS spent, m.capacity - m.used - m.reserved AS remaining, m.uses AS request_count
  FROM gateway_call c LEFT JOIN meter m ON m.id = c.session_id WHERE c.id = $1`;

/** What a line about a call is made of. */
export interface LineRow extends pg.QueryResultRow {
  id: string; seller: string; price: string; state: CallState; requests: number; ms: number;
}
/** Reads those of the calls $1, in the order in which they ended. */
export const linesSql = `
SELECT c.id, c.seller, CASE WHEN c.state = 'settled' THEN c.price ELSE c.reserved END AS price, c.state,
       jsonb_array_length(c.attempts) AS requests, (extract(epoch FROM c.finished_at - c.accepted_at) * 1000)::integer AS ms
  FROM gateway_call c WHERE c.id = ANY ($1) ORDER BY c.finished_at`;

const lineOutcomes: Partial<Record<CallState, CallLine['outcome']>> = { settled: 'paid', delivered: 'kept' };

/** A call that has ended, in a line. */
export function toLine({ id, seller, price, state, requests: attempts, ms }: LineRow): CallLine {
  return { id, seller, price: formatMicros(micros(price)), outcome: lineOutcomes[state] ?? 'returned', attempts, ms };
}

/** What giving back, accepting and settling answer. */
export interface ReleaseRow extends pg.QueryResultRow { pos: number; outcome: Released }
export interface AcceptRow extends pg.QueryResultRow { pos: number; outcome: string; existing_id: string | null; remaining: string | null }
export interface SettleRow extends pg.QueryResultRow { outcome: Settled['outcome']; spent: string;
  remaining: string; request_count: number }
/** A call that was taken over. */
export interface CallRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; service_type: string; params: string; candidates: Candidate[]; attempt: number;
  refundable: boolean; asked: number | null;
}
/** Takes over those of the calls $1 whose driver is silent, for driver $2 and its lease of $3 milliseconds. */
export const takeSql = `
SELECT id, session_id, buyer, service_type, params, candidates, refundable, attempt, asked FROM gateway_take_over($1, $2, $3)`;
/** A single call with its own meter. */
export interface SingleRow extends pg.QueryResultRow {
  id: string; owner: string; open: boolean; capacity: string; used: string; reserved: string; uses: number; last_used_at: Date;
  workflow_id: string | null; accepted_at: Date;
}
/** Reads it: $1 the id of its meter. */
export const singleSql = `
SELECT m.id, m.owner, m.open, m.capacity, m.used, m.reserved, m.uses, m.last_used_at, c.workflow_id, c.accepted_at
  FROM meter m JOIN gateway_call c ON c.session_id = m.id WHERE m.id = $1 AND m.single_use LIMIT 1`;

/** What stands in for the session of a single call. */
export function singleSession(row: SingleRow): Session {
  const [limitMicros, lifeMs] = [micros(row.capacity), sessionBounds.singleCallExpirySecs * 1_000];
  return {
    id: row.id, agentAddress: row.owner, tenantId: null, maxTotalMicros: limitMicros, maxPerRequestMicros: limitMicros,
    spentMicros: micros(row.used), reservedMicros: micros(row.reserved), requestCount: row.uses, strategy: 'cheapest', allowedTypes: [],
    warnAtPercent: 0, maxRequestsPerMinute: sessionBounds.requestsPerMinuteDefault, status: row.open ? 'active' : 'closed', lifeMs,
    workflowId: row.workflow_id ?? '', expiresAt: new Date(row.accepted_at.getTime() + lifeMs), createdAt: row.accepted_at,
    updatedAt: row.last_used_at,
  };
}

/** As its new driver sees it. */
export function toOpenCall(row: CallRow): OpenCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, serviceType: row.service_type, paramsJson: row.params,
    candidates: row.candidates, refundable: row.refundable, attempt: row.attempt, takenOver: true,
    asked: row.asked === row.attempt,
  };
}

/** What accepting has answered. */
export function toAccepted(row: AcceptRow | undefined): Accepted {
  return { outcome: row?.outcome ?? 'not_found', existingId: row?.existing_id ?? null, remainingMicros: BigInt(row?.remaining ?? 0) };
}

/** What a settlement has answered. */
export function toSettled(row: SettleRow | undefined): Settled {
  return {
    outcome: row?.outcome ?? 'missing', spentMicros: BigInt(row?.spent ?? 0), remainingMicros: BigInt(row?.remaining ?? 0),
    requestCount: row?.request_count ?? 0,
  };
}

/** A delivery as `gateway_settle` reads it. */
export function deliveryJson({ id, attempt, httpStatus, responseJson, latencyMs, log }: Delivery, pos: number): object {
  return { pos, id, attempt, http_status: httpStatus, response: responseJson, latency_ms: latencyMs, log };
}

/** A note of who is asked, as `gateway_note_asking` reads it. */
export function askingJson({ callId: id, attempt }: Asking, pos: number): object {
  return { pos, id, attempt };
}

/** A call that is given up, as `gateway_release` reads it. */
export function givenUpJson({ id, errorCode, errorMessage, log }: GivenUp, pos: number): object {
  return { pos, id, error_code: errorCode, error_message: plain(errorMessage), log };
}

/** A new call, as `gateway_accept` reads it. */
export function callJson(call: NewCall, pos: number): object {
  const first = call.candidates[0];
  return {
    pos, id: call.id, session_id: call.sessionId, buyer: call.buyer, service_type: call.serviceType, params: call.paramsJson,
    candidates: call.candidates,
    key: call.idempotency?.key, hash: call.idempotency?.requestHash, price: first?.priceMicros, fee_bps: call.feeBps, seller: first?.seller,
    service_id: first?.serviceId, service_name: first?.serviceName, workflow_id: call.workflowId,
  };
}

/** Postgres text holds no NUL, and a message from a seller may. */
export function plain(text: string): string {
  return text.replaceAll('\u0000', '').slice(0, 500);
}
