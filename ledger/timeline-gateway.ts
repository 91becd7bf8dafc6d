/** Calls and sessions as a timeline needs them: with whole microseconds, and the calls of a session page by page. */
import type pg from 'pg';
import { query } from './query.ts';

/** One attempt at a seller, as its driver wrote it down. */
export interface CallAttempt {
  readonly seller: string;
  readonly serviceId: string;
  readonly outcome: string;
  readonly httpStatus: number | null;
  readonly message: string | null;
  readonly startedAt: string;
  readonly latencyMs: number;
}

/** A call, with what only its buyer may know left out: parameters, answer, and what other sellers would have cost. */
export interface TimelineCall {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly seller: string | null;
  readonly serviceType: string;
  readonly serviceName: string | null;
  readonly state: string;
  readonly reservedMicros: bigint;
  readonly priceMicros: bigint;
  readonly feeMicros: bigint;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly workflowId: string | null;
  readonly acceptedAtMicros: bigint;
  readonly finishedAtMicros: bigint | null;
  /** How many sellers could have been asked. */
  readonly candidates: number;
  readonly attempts: readonly CallAttempt[];
  readonly singleCall: boolean;
}

/** As {@link callColumns} and `single_call` give it. */
export interface CallRow {
  id: string; session_id: string; buyer: string; seller: string | null; service_type: string; service_name: string | null; state: string;
  reserved: string; price: string;
  fee: string; error_code: string | null; error_message: string | null; workflow_id: string | null; accepted: string;
  finished: string | null; candidates: number;
  attempts: CallAttempt[]; single_call: boolean | null;
}

/** Of `gateway_call c`. */
export const callColumns = `c.id, c.session_id, c.buyer, c.seller, c.service_type, c.service_name, c.state, c.reserved, c.price, c.fee,
  c.error_code, c.error_message, c.workflow_id,
       (extract(epoch FROM c.accepted_at) * 1000000)::bigint AS accepted, (extract(epoch FROM c.finished_at) * 1000000)::bigint AS finished,
       jsonb_array_length(c.candidates) AS candidates, c.attempts`;
const callSql = {
  name: 'timeline-call',
  text: `SELECT ${callColumns}, m.single_use AS single_call FROM gateway_call c LEFT JOIN meter m ON m.id = c.session_id WHERE c.id = $1`,
};
const callsSql = {
  name: 'timeline-session-calls',
  text: `
SELECT ${callColumns}, false AS single_call FROM gateway_call c
 WHERE c.session_id = $1 AND (c.accepted_at, c.id) > (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3)
 ORDER BY c.accepted_at, c.id LIMIT $4`,
};
/** Names and types as the rest of the code has them. */
export function toCall(row: CallRow): TimelineCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, seller: row.seller, serviceType: row.service_type,
    serviceName: row.service_name, state: row.state,
    reservedMicros: BigInt(row.reserved), priceMicros: BigInt(row.price), feeMicros: BigInt(row.fee), errorCode: row.error_code,
    errorMessage: row.error_message,
    workflowId: row.workflow_id, acceptedAtMicros: BigInt(row.accepted), finishedAtMicros: row.finished === null
      ? null : BigInt(row.finished),
    candidates: row.candidates, attempts: row.attempts, singleCall: row.single_call === true,
  };
}

/** One call, or null. Errors: unavailable. */
export async function readTimelineCall(pool: pg.Pool, id: string): Promise<TimelineCall | null> {
  const [row] = await query<CallRow>(pool, { ...callSql, values: [id] });
  return row === undefined ? null : toCall(row);
}

/**
 * Calls of a session in the order they were accepted. Errors: unavailable.
 * @param after the last call of the page before; the id counts among calls of that very microsecond.
 */
export async function readSessionCalls(pool: pg.Pool, sessionId: string, after: { readonly atMicros: bigint; readonly id: string },
    limit: number): Promise<TimelineCall[]> {
  const rows = await query<CallRow>(pool, { ...callsSql, values: [sessionId, after.atMicros.toString(), after.id, limit] });
  return rows.map(toCall);
}
