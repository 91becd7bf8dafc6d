/** Long calls in Postgres. Each step is one function there, in one transaction. */
import type pg from 'pg';
import { UNASKED_GRACE_MS } from '../../domain/long-call.ts';
import { query as run } from '../../ledger/query.ts';
import type { Candidate } from '../gateway/call.ts';
import { callJson, deliveryJson, givenUpJson, toAccepted, type Accepted, type AcceptRow, type AttemptLog, type Delivery, type GivenUp,
  type NewCall } from '../gateway/rows.ts';
import { longCallColumns, type LongCallEventRow, type LongCallRow } from './rows.ts';

export type AskOutcome = 'ask' | 'busy' | 'waits' | 'begun' | 'over';
/** moved: the call is no longer what the decision was made on, and is to be read again. */
export type EndOutcome = 'settled' | 'delivered' | 'released' | 'moved';

/** How a call ends, and what that was. */
export interface LongEnd {
  readonly id: string;
  /** Index of the seller that it is about. */
  readonly attempt: number;
  /** not_begun: only while the seller has not begun. due: only when its time is up. Every other end comes before that. */
  readonly guard?: 'not_begun' | 'due';
  readonly delivery?: Delivery;
  readonly release?: GivenUp;
  readonly step: 'completed' | 'failed' | 'cancelled' | 'overdue' | 'given_up';
  readonly role: 'buyer' | 'seller' | 'clock' | 'platform';
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface LongCallStoreOptions {
  readonly pool: pg.Pool;
  readonly feeOwner: string;
  /** What a seller has that has declared no time of its own. */
  readonly patienceMs: number;
  /** A session that is closing has nothing under way any more. */
  readonly onDrained: (sessionId: string) => void;
}

export type LongCallStore = ReturnType<typeof createLongCallStore>;

const rowSql = `SELECT ${longCallColumns} FROM gateway_call c JOIN long_call l ON l.id = c.id WHERE c.id = $1`;
const eventsSql = `
SELECT version, step, role, data, created_at FROM long_call_event WHERE call_id = $1 AND version > $2 ORDER BY version LIMIT $3`;
const openSql = 'SELECT outcome, existing_id, remaining, deadline FROM long_call_open($1, $2, $3, $4, $5, $6, $7)';
const endSql = 'SELECT outcome, drained FROM long_call_end($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)';
// Overdue, or without anybody who asks: what was never asked, or was by a process that is gone, of a seller that may be asked again.
const claimSql = `
UPDATE long_call l SET claimed_until = clock_timestamp() + $3 * interval '1 millisecond'
 WHERE l.id = ANY (ARRAY(SELECT x.id FROM long_call x
                 WHERE x.ended_at IS NULL AND (x.claimed_until IS NULL OR x.claimed_until < clock_timestamp())
                   AND (x.deadline < clock_timestamp() - $1 * interval '1 millisecond'
                         OR (x.begun_at IS NULL
                            AND coalesce(x.asking_until, x.created_at) < clock_timestamp() - $2 * interval '1 millisecond'
                            AND (x.asked_at IS NULL OR x.asking_until IS NOT NULL)))
                 ORDER BY x.deadline LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED))
RETURNING l.id, l.deadline < clock_timestamp() AS due`;

export function createLongCallStore({ pool, feeOwner, patienceMs, onDrained }: LongCallStoreOptions) {
  const query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> =>
    run<Row>(pool, { name, text, values });
  /** What a seller has, from now, until it is given up even though it could not be asked. */
  const waitMsOf = (candidate: Candidate | undefined): number =>
    (candidate?.maxDurationSecs === undefined ? patienceMs : candidate.maxDurationSecs * 1_000) + UNASKED_GRACE_MS;

  return {
    ...reads(query),

    /** Accepts a call. @param limit what is held for it; null: it draws on its session. @throws SuretyError insufficient_balance. */
    async open(call: NewCall, { limit, tenantId, baseUrl, started }: { readonly tenantId: string | null; readonly baseUrl: string;
        readonly limit: { readonly micros: bigint; readonly asset: string } | null; readonly started: boolean }): Promise<Accepted> {
      const values = [JSON.stringify([{ ...callJson(call, 0), ...(limit === null ? {} : { key_taken: true }) }]),
        limit?.micros.toString() ?? null, limit?.asset ?? null, tenantId, baseUrl, waitMsOf(call.candidates[0]), started];
      return toAccepted((await query<AcceptRow>('long-call-open', openSql, values))[0]);
    },

    /** Whether this process is to ask the seller now; written before it is asked. */
    async ask(id: string, leaseMs: number, heard: boolean): Promise<AskOutcome> {
      const [row] = await query<{ outcome: AskOutcome }>('long-call-ask', 'SELECT long_call_ask($1, $2, $3, $4) AS outcome',
        [id, patienceMs, leaseMs, heard]);
      return row?.outcome ?? 'over';
    },

    /** What a seller has answered that leaves the call open. */
    async answered(id: string, attempt: number, step: 'begun' | 'answer_lost', data: object, heard: boolean): Promise<void> {
      await query('long-call-answered', 'SELECT long_call_answered($1, $2, $3, $4, $5)', [id, attempt, step, data, heard]);
    },

    /** Moves a call on, before anything has begun. */
    async next({ id, candidates, attempt }: Pick<LongCallRow, 'id' | 'candidates' | 'attempt'>, to: number, log: readonly AttemptLog[],
        heard: boolean): Promise<'moved' | 'superseded' | 'budget_exceeded'> {
      const [row] = await query<{ outcome: 'moved' | 'superseded' | 'budget_exceeded' }>('long-call-next',
        'SELECT long_call_next($1, $2, $3, $4, $5, $6) AS outcome',
        [id, attempt, to, JSON.stringify(log), waitMsOf(candidates[to]), heard]);
      return row?.outcome ?? 'superseded';
    },

    async progress({ id, attempt }: Pick<LongCallRow, 'id' | 'attempt'>, percent: number | null, note: string | null,
        heard: boolean): Promise<'done' | 'moved'> {
      const [row] = await query<{ outcome: 'done' | 'moved' }>('long-call-progress',
        'SELECT long_call_progress($1, $2, $3, $4, $5) AS outcome', [id, attempt, percent, note, heard]);
      return row?.outcome ?? 'moved';
    },

    /** Settles it, or gives it back. */
    async end({ id, attempt, guard, delivery, release, step, role, data = {} }: LongEnd, heard: boolean): Promise<EndOutcome> {
      const values = [id, attempt, guard ?? '', delivery === undefined ? null : JSON.stringify([deliveryJson(delivery, 0)]),
        release === undefined ? null : JSON.stringify([givenUpJson(release, 0)]), feeOwner, step, role, data, heard];
      const [row] = await query<{ outcome: EndOutcome; drained: string | null }>('long-call-end', endSql, values);
      if (typeof row?.drained === 'string') onDrained(row.drained);
      return row?.outcome ?? 'moved';
    },

    /** A start of its workflow is about to be sent. */
    async markStarted(id: string): Promise<void> {
      await query('long-call-started', 'UPDATE long_call SET workflow_started = true WHERE id = $1 AND NOT workflow_started', [id]);
    },

    /**
     * Calls that nobody sees to, claimed by this process for `claimMs`: those whose time has been up for `graceMs` (due), and those that
     * somebody should have asked `quietMs` ago.
     */
    claimStale: ({ graceMs, quietMs, claimMs, limit }: { readonly graceMs: number; readonly quietMs: number; readonly claimMs: number;
        readonly limit: number }) =>
      query<{ id: string; due: boolean }>('long-call-claim', claimSql, [graceMs, quietMs, claimMs, limit]),
  };
}

function reads(query: <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>) {
  return {
    /** Null where there is no such call, or it is not a long one. */
    async row(id: string): Promise<LongCallRow | null> {
      return (await query<LongCallRow>('long-call-row', rowSql, [id]))[0] ?? null;
    },

    events: (id: string, after: number, limit: number): Promise<LongCallEventRow[]> =>
      query<LongCallEventRow>('long-call-events', eventsSql, [id, after, limit]),

    /** The latest version; null where there is no such call. */
    async version(id: string): Promise<number | null> {
      const rows = await query<{ version: number }>('long-call-version', 'SELECT version FROM long_call WHERE id = $1', [id]);
      return rows[0]?.version ?? null;
    },
  };
}
