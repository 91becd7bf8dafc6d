/** The gateway's rows and money steps in Postgres. Hot steps are group-committed; each function is one transaction. */
import type pg from 'pg';
import { sessionBounds, type CallState, type IdempotencyClaim, type Session } from '../../domain/gateway.ts';
import { micros } from '../../domain/money.ts';
import { createGroupCommit } from '../../ledger/group-commit.ts';
import { query as run } from '../../ledger/query.ts';
import { isItemError } from '../../ledger/sql-errors.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { Candidate, OpenCall } from './call.ts';

const GROUP_MAX = 256;

export interface NewCall {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly serviceType: string;
  readonly paramsJson: string;
  readonly candidates: readonly Candidate[];
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
export type Released = 'released' | 'already_released' | 'already_settled' | 'missing';

export type GatewayStore = ReturnType<typeof createGatewayStore>;

export interface StoreOptions {
  readonly pool: pg.Pool;
  /** Name of this process in leases. */
  readonly driver: string;
  /** How long a driver is believed to be alive without a sign. */
  readonly leaseMs: number;
  /** Owner of the account that receives fees. */
  readonly feeOwner: string;
  readonly metrics: Metrics;
  /** A session that is closing has nothing under way any more. */
  readonly onDrained: (sessionId: string) => void;
}

export function createGatewayStore(options: StoreOptions) {
  const query: Query = (name, text, values) => run(options.pool, { name, text, values });
  return { ...hotSteps(query, options), ...drivingSteps(query, options), ...reads(query) };
}

type Query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>;

/** The steps of every call, group-committed. */
function hotSteps(query: Query, { driver, leaseMs, feeOwner, metrics, onDrained }: StoreOptions) {
  /** Items become one JSON list with positions; rows come back with the position they belong to. */
  const grouped = <Item, Row extends pg.QueryResultRow & { pos: number }, Result>(
    step: string, text: string, extra: readonly unknown[], toJson: (item: Item, pos: number) => object,
    toResult: (row: Row | undefined) => Result,
  ) => {
    const run = async (items: readonly Item[]): Promise<Result[]> => {
      const startedAt = performance.now();
      const rows = await query<Row>(`gateway-${step}`, text, [JSON.stringify(items.map(toJson)), ...extra]);
      metrics.batchCommitted(step, items.length, (performance.now() - startedAt) / 1_000);
      for (const { drained } of rows) if (typeof drained === 'string') onDrained(drained);
      const byPos = new Map(rows.map((row) => [row.pos, row]));
      return items.map((_, pos) => toResult(byPos.get(pos)));
    };
    return createGroupCommit<Item, Result>({ itemsMax: GROUP_MAX, lanes: 1, run, isItemError });
  };

  return {
    accept: grouped(
      'accept', 'SELECT pos, outcome, existing_id, remaining FROM gateway_accept($1, $2, $3)', [driver, leaseMs], callJson, toAccepted,
    ),
    settle: grouped<Delivery, SettleRow & { pos: number }, Settled>(
      'settle', 'SELECT pos, outcome, spent, remaining, request_count, drained FROM gateway_settle($1, $2)',
      [feeOwner], deliveryJson, toSettled,
    ),
    release: grouped(
      'release', 'SELECT pos, outcome, drained FROM gateway_release($1)', [], givenUpJson,
      (row: ReleaseRow | undefined): Released => row?.outcome ?? 'missing',
    ),

    /** Hold, meter and call of a single call in one transaction. @param limitMicros what is held. @throws insufficient_balance. */
    async callOnce(call: NewCall, limitMicros: bigint, asset: string): Promise<Accepted> {
      const values = [limitMicros.toString(), asset, JSON.stringify([{ ...callJson(call, 0), key_taken: true }]), driver, leaseMs];
      const text = 'SELECT pos, outcome, existing_id, remaining FROM gateway_call_once($1, $2, $3, $4, $5)';
      return toAccepted((await query<AcceptRow>('gateway-call-once', text, values))[0]);
    },
  };
}

function drivingSteps(query: Query, { driver, leaseMs }: StoreOptions) {
  return {
    async nextAttempt(callId: string, from: number, to: number,
        log: readonly AttemptLog[]): Promise<'moved' | 'superseded' | 'budget_exceeded'> {
      const rows = await query<{ outcome: 'moved' | 'superseded' | 'budget_exceeded' }>('gateway-next',
        'SELECT gateway_next_attempt($1, $2, $3, $4) AS outcome', [callId, from, to, JSON.stringify(log)]);
      return rows[0]?.outcome ?? 'superseded';
    },

    /** Is the call open, at this attempt, and ours to drive? */
    async drivesAttempt(callId: string, attempt: number): Promise<boolean> {
      const rows = await query('gateway-ours',
        `SELECT 1 FROM gateway_call WHERE id = $1 AND state = 'accepted' AND attempt = $2 AND driver = $3`, [callId, attempt, driver]);
      return rows.length === 1;
    },

    /** Takes over those of the calls whose driver is silent. */
    async takeOver(callIds: readonly string[]): Promise<OpenCall[]> {
      const rows = await query<CallRow>('gateway-take', takeSql, [callIds, driver, leaseMs]);
      return rows.map(toOpenCall);
    },

    async renewLeases(callIds: readonly string[]): Promise<void> {
      await query('gateway-renew', 'SELECT id FROM gateway_renew_leases($1, $2, $3) AS id', [callIds, driver, leaseMs]);
    },

    /** Counts a call that found no seller for the session's pace, and shows it in the session's log; or why the session takes no call. */
    async noteRefusal({ sessionId, serviceType, code, message }: { sessionId: string; serviceType: string; code: string;
        message: string }): Promise<'noted' | 'session_expired' | 'session_closed' | 'rate_limited'> {
      type Row = { outcome: 'noted' | 'session_expired' | 'session_closed' | 'rate_limited' };
      const [row] = await query<Row>('gateway-refusal', 'SELECT gateway_note_refusal($1, $2, $3, $4) AS outcome',
        [sessionId, serviceType, code, message]);
      return row?.outcome ?? 'noted';
    },
  };
}

function reads(query: Query) {
  const ids = async (name: string, text: string, values: unknown[]): Promise<string[]> => (await query<{ id: string }>(name, text, values))
    .map((row) => row.id);
  return {
    /** What stands in for the session of a single call. */
    async singleCall(sessionId: string): Promise<Session | null> {
      const rows = await query<SingleRow>('gateway-single', singleSql, [sessionId]);
      return rows[0] === undefined ? null : singleSession(rows[0]);
    },

    async call(callId: string): Promise<StoredCall | null> {
      const rows = await query<StoredCall>('gateway-call', storedCallSql, [callId]);
      return rows[0] ?? null;
    },

    /** Which of these calls are still open. */
    openAmong: (callIds: readonly string[]) =>
      ids('gateway-open-among', `SELECT id FROM gateway_call WHERE id = ANY ($1) AND state = 'accepted'`, [callIds]),

    /** Calls older than `ageMs` that nobody drives. */
    abandonedCalls: (ageMs: number, limit: number) => ids('gateway-abandoned',
      `SELECT id FROM gateway_call WHERE state = 'accepted' AND lease_until < clock_timestamp()
          AND accepted_at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY lease_until LIMIT $2`, [ageMs, limit]),
  };
}

/** A call as it was stored, for answering later. */
export interface StoredCall extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; state: CallState; price: string; seller: string; service_id: string; service_name: string;
  response: string | null; latency_ms: number; attempt: number; error_code: string | null; error_message: string | null;
  workflow_id: string | null;
  spent: string; remaining: string; request_count: number;
}
const storedCallSql = `
SELECT c.id, c.session_id, c.buyer, c.state, c.price, c.seller, c.service_id, c.service_name, c.response, c.latency_ms, c.attempt,
       c.error_code, c.error_message, c.workflow_id, m.used AS spent, m.capacity - m.used - m.reserved AS remaining, m.uses AS request_count
  FROM gateway_call c LEFT JOIN meter m ON m.id = c.session_id WHERE c.id = $1`;

interface ReleaseRow extends pg.QueryResultRow { pos: number; outcome: Released }
/** What accepting a call answers. */
export interface AcceptRow extends pg.QueryResultRow { pos: number; outcome: string; existing_id: string | null; remaining: string | null }
export interface SettleRow extends pg.QueryResultRow { outcome: Settled['outcome']; spent: string;
  remaining: string; request_count: number }
interface CallRow extends pg.QueryResultRow {
  id: string; session_id: string; buyer: string; service_type: string; params: string; candidates: Candidate[]; attempt: number;
  refundable: boolean;
}
const takeSql = 'SELECT id, session_id, buyer, service_type, params, candidates, refundable, attempt FROM gateway_take_over($1, $2, $3)';
interface SingleRow extends pg.QueryResultRow {
  id: string; owner: string; open: boolean; capacity: string; used: string; reserved: string; uses: number; last_used_at: Date;
  workflow_id: string | null; accepted_at: Date;
}
const singleSql = `
SELECT m.id, m.owner, m.open, m.capacity, m.used, m.reserved, m.uses, m.last_used_at, c.workflow_id, c.accepted_at
  FROM meter m JOIN gateway_call c ON c.session_id = m.id WHERE m.id = $1 AND m.single_use LIMIT 1`;

function singleSession(row: SingleRow): Session {
  const [limitMicros, lifeMs] = [micros(row.capacity), sessionBounds.singleCallExpirySecs * 1_000];
  return {
    id: row.id, agentAddress: row.owner, tenantId: null, maxTotalMicros: limitMicros, maxPerRequestMicros: limitMicros,
    spentMicros: micros(row.used), reservedMicros: micros(row.reserved), requestCount: row.uses, strategy: 'cheapest', allowedTypes: [],
    warnAtPercent: 0, maxRequestsPerMinute: sessionBounds.requestsPerMinuteDefault, status: row.open ? 'active' : 'closed', lifeMs,
    workflowId: row.workflow_id ?? '', expiresAt: new Date(row.accepted_at.getTime() + lifeMs), createdAt: row.accepted_at,
    updatedAt: row.last_used_at,
  };
}

function toOpenCall(row: CallRow): OpenCall {
  return {
    id: row.id, sessionId: row.session_id, buyer: row.buyer, serviceType: row.service_type, paramsJson: row.params,
    candidates: row.candidates, refundable: row.refundable, attempt: row.attempt, takenOver: true,
  };
}

/** The same for those who ask. */
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
