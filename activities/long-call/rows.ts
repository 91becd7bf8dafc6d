/** The rows of a long call, and what they mean to those who take its steps, show it, or keep its workflow. */
import type pg from 'pg';
import type { CallState } from '../../domain/gateway.ts';
import type { LongCall, LongCallEvent, LongCallState } from '../../domain/long-call.ts';
import type { LongCallFact, LongCallView } from '../../domain/long-call-messages.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import { columnList } from '../../ledger/query.ts';
import type { Candidate } from '../gateway/call.ts';

/** The call, and what is long about it. */
export interface LongCallRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; service_type: string; seller: string; service_id: string; service_name: string;
  params: string; candidates: Candidate[]; attempt: number; state: CallState; reserved: string; price: string; response: string | null;
  refundable: boolean; error_code: string | null; error_message: string | null; workflow_id: string;
  tenant_id: string | null; version: number; deadline: Date; asked_at: Date | null; asks: number; begun_at: Date | null;
  percent: number | null; note: string | null; base_url: string; workflow_started: boolean;
}

/** Those of {@link LongCallRow}, of `gateway_call c` and `long_call l`. */
export const longCallColumns: string = [
  columnList(['id', 'session_id', 'buyer', 'service_type', 'seller', 'service_id', 'service_name', 'params', 'candidates', 'attempt',
    'state',
    'reserved', 'price', 'response', 'refundable', 'error_code', 'error_message', 'workflow_id'], 'c'),
  columnList(['tenant_id', 'version', 'deadline', 'asked_at', 'asks', 'begun_at', 'percent', 'note', 'base_url', 'workflow_started'], 'l'),
].join(', ');

export interface LongCallEventRow extends pg.QueryResultRow {
  version: number; step: string; role: string; data: Record<string, unknown>; created_at: Date;
}

/** Where it stands, in the words of the rules. A delivery that is kept until its pipeline ends is the end of the call. */
export function longStateOf({ state, begun_at: begunAt }: Pick<LongCallRow, 'state' | 'begun_at'>): LongCallState {
  switch (state) {
    case 'settled': case 'delivered': return 'settled';
    case 'released': case 'refused': return 'released';
    case 'accepted': case 'planned': return begunAt === null ? 'asking' : 'begun';
  }
}

/** A row as the domain's long call. */
export function longCallOf(row: LongCallRow): LongCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, seller: row.seller, serviceId: row.service_id, serviceName: row.service_name,
    workflowId: row.workflow_id, state: longStateOf(row), version: row.version,
    priceMicros: micros(row.state === 'settled' ? row.price : row.reserved), deadline: row.deadline, askedAt: row.asked_at,
    begunAt: row.begun_at, percent: row.percent, note: row.note, errorCode: row.error_code, errorMessage: row.error_message,
  };
}

/** A row as its workflow sees it. */
export function longViewOf(row: LongCallRow): LongCallView {
  const { id, state, version, deadline, seller, serviceName: service, priceMicros, errorMessage } = longCallOf(row);
  return {
    id, version, state, ended: state === 'settled' || state === 'released', deadlineMs: deadline.getTime(), seller, service,
    price: formatMicros(priceMicros), ...(errorMessage === null ? {} : { reason: errorMessage }),
  };
}

/** An event for those who read. */
export function longEventOf({ version, step, role, data, created_at: at }: LongCallEventRow): LongCallEvent {
  return { version, step, role, data, at };
}

/** The same for the workflow. */
export function longFactOf({ version, step, role, data, created_at: at }: LongCallEventRow): LongCallFact {
  return { version, step, role, atMs: at.getTime(), data };
}
