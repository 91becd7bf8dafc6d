/** The gateway's rows and money steps in Postgres. Hot steps are group-committed; each function is one transaction. */
import type pg from 'pg';
import type { Session } from '../../domain/gateway.ts';
import type { CallsProgress } from '../../domain/gateway-messages.ts';
import { createGroupCommit } from '../../ledger/group-commit.ts';
import { query as run } from '../../ledger/query.ts';
import { isItemError } from '../../ledger/sql-errors.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { OpenCall } from './call.ts';
import {
  askingJson, callJson, deliveryJson, givenUpJson, linesSql, singleSession, singleSql, storedCallSql, takeSql, toAccepted, toLine,
  toOpenCall, toSettled, type Accepted, type AcceptRow, type Asking, type AttemptLog, type CallRow, type Delivery, type LineRow,
  type NewCall, type Released, type ReleaseRow, type Settled, type SettleRow, type SingleRow, type StoredCall,
} from './rows.ts';

const GROUP_MAX = 256;

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
  const outage = { endedAtMs: Number.NEGATIVE_INFINITY };
  const query: Query = async (name, text, values) => {
    try {
      return await run(options.pool, { name, text, values });
    } catch (error) {
      if (!isItemError(error)) outage.endedAtMs = Date.now();
      throw error;
    }
  };
  // Those who were alive all the time renew their leases first: for so long nobody's silence means anything.
  const isSilenceExcused = (): boolean => Date.now() - outage.endedAtMs < options.leaseMs;
  return { ...hotSteps(query, options), ...drivingSteps(query, isSilenceExcused, options), ...reads(query) };
}

type Query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>;

/** The steps of every call, group-committed. */
function hotSteps(query: Query, { driver, leaseMs, feeOwner, metrics, onDrained }: StoreOptions) {
  /** Items become one JSON list with positions; rows come back with the position they belong to. */
  const grouped = <Item, Row extends pg.QueryResultRow & { pos: number }, Result>(
    step: string, text: string, extra: readonly unknown[], toJson: (item: Item, pos: number) => object,
    toResult: (row: Row | undefined) => Result, bytesOf?: (item: Item) => number,
  ) => {
    const run = async (items: readonly Item[]): Promise<Result[]> => {
      const startedAt = performance.now();
      const rows = await query<Row>(`gateway-${step}`, text, [JSON.stringify(items.map(toJson)), ...extra]);
      metrics.batchCommitted(step, items.length, (performance.now() - startedAt) / 1_000);
      for (const { drained } of rows) if (typeof drained === 'string') onDrained(drained);
      const byPos = new Map(rows.map((row) => [row.pos, row]));
      return items.map((_, pos) => toResult(byPos.get(pos)));
    };
    return createGroupCommit<Item, Result>({ itemsMax: GROUP_MAX, bytesOf, lanes: 1, run, isItemError });
  };

  return {
    accept: grouped(
      'accept', 'SELECT pos, outcome, existing_id, remaining FROM gateway_accept($1, $2, $3)', [driver, leaseMs], callJson, toAccepted,
      ({ paramsJson }: NewCall) => paramsJson.length,
    ),
    settle: grouped<Delivery, SettleRow & { pos: number }, Settled>(
      'settle', 'SELECT pos, outcome, spent, remaining, request_count, drained FROM gateway_settle($1, $2)',
      [feeOwner], deliveryJson, toSettled, ({ responseJson }) => responseJson?.length ?? 0,
    ),
    /** False: this process does not drive the call at this attempt. */
    noteAsking: grouped<Asking, { pos: number }, boolean>(
      'asking', 'SELECT pos FROM gateway_note_asking($1, $2) AS pos', [driver], askingJson, (row) => row !== undefined,
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

function drivingSteps(query: Query, isSilenceExcused: () => boolean, { driver, leaseMs }: StoreOptions) {
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

    /** Takes over those of the calls whose driver is silent; none soon after the database was away. */
    async takeOver(callIds: readonly string[]): Promise<OpenCall[]> {
      if (callIds.length === 0 || isSilenceExcused()) return [];
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

    /** How these calls ended, and which are still open. */
    async progressOf(callIds: readonly string[]): Promise<CallsProgress> {
      const rows = await query<LineRow>('gateway-progress', linesSql, [callIds]);
      return {
        ended: rows.filter(({ state }) => state !== 'accepted').map(toLine),
        open: rows.filter(({ state }) => state === 'accepted').map(({ id }) => id),
      };
    },

    /** Calls older than `ageMs` that nobody drives. */
    abandonedCalls: (ageMs: number, limit: number) => ids('gateway-abandoned',
      `SELECT id FROM gateway_call WHERE state = 'accepted' AND lease_until < clock_timestamp()
          AND accepted_at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY lease_until LIMIT $2`, [ageMs, limit]),
  };
}
