/** Pipelines in Postgres. Each step is one function there, in one transaction. */
import type pg from 'pg';
import { SuretyError } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import type { PipelineAction } from '../../domain/pipeline-rules.ts';
import type { Compensation, Pipeline } from '../../domain/pipeline.ts';
import { columnList, query as run } from '../../ledger/query.ts';
import type { Candidate } from '../gateway/call.ts';
import { deliveryJson, plain, toSettled, type Delivery, type Settled, type SettleRow } from '../gateway/rows.ts';
import { pipelineColumns, pipelineOf, stepColumns, writeCompensation, type BudgetRow, type PipelineRow, type StepRow } from './rows.ts';

/** A step with its sellers, chosen and priced. */
export interface NewStep {
  readonly callId: string;
  readonly serviceType: string;
  readonly paramsJson: string;
  readonly candidates: readonly Candidate[];
  readonly refundable: boolean;
  readonly compensation: Compensation | null;
}

export interface NewPipeline {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly workflowId: string;
  /** The start of its workflow is sent as soon as this is written. */
  readonly workflowStarted: boolean;
  readonly allOrNothing: boolean;
  readonly feeBps: number;
  readonly steps: readonly NewStep[];
  readonly idempotency: IdempotencyClaim | null;
}

/** `accepted`, `replay` of `existingId`, or the code of the refusal. */
export interface PipelineOpened {
  readonly outcome: string;
  readonly existingId: string | null;
  readonly remainingMicros: bigint;
}

export type StartOutcome = 'started' | 'stopped' | 'elsewhere';

/** What came of a delivered step: its settlement, and either how the next one began or the pipeline that has ended. */
export interface Passed {
  readonly settled: Settled;
  readonly next: StartOutcome | null;
  readonly ended: PipelineRow | null;
}

/** A try to compensate a step, as it is noted. */
export interface UndoNote {
  readonly id: string;
  readonly step: number;
  readonly done: boolean;
  /** Until the next try; null: there will be none. */
  readonly pauseMs: number | null;
  readonly error: string | null;
}

/** Whether this process may call a compensation now. `ageMs`: since when it is to be undone; `waitMs`: until it is worth asking again. */
export interface UndoClaim {
  readonly outcome: 'claimed' | 'later' | 'over';
  readonly waitMs: number;
  readonly ageMs: number;
}

export interface PipelineStoreOptions {
  readonly pool: pg.Pool;
  /** Name of this process in leases. */
  readonly driver: string;
  readonly leaseMs: number;
  readonly feeOwner: string;
  /** A session that is closing has nothing under way any more. */
  readonly onDrained: (sessionId: string) => void;
}

interface OpenedRow extends pg.QueryResultRow { outcome: string; existing_id: string | null; remaining: string | null }
const pipelineList = columnList(pipelineColumns);
const stepList = columnList(stepColumns);
const stepSql = `SELECT ${stepList} FROM gateway_call WHERE pipeline_id = $1 AND step_index = $2`;
const stepsSql = `SELECT ${stepList} FROM gateway_call WHERE pipeline_id = $1 ORDER BY step_index`;
const passSql = `
SELECT r.outcome, r.spent, r.remaining, r.request_count, r.next, ${columnList(pipelineColumns, '(r.ended)')},
       session_drained((r.ended).session_id) AS drained
  FROM pipeline_pass($1, $2, $3, $4, $5, $6, $7) r`;
const rowSql = `SELECT ${pipelineList} FROM pipeline WHERE id = $1`;
const finishSql = `SELECT ${pipelineList}, session_drained(session_id) AS drained FROM pipeline_finish($1, $2, $3, $4)`;
const claimStaleSql = `
UPDATE pipeline p SET claimed_until = clock_timestamp() + $2::integer * interval '1 millisecond'
 WHERE p.id = ANY (ARRAY(SELECT x.id FROM pipeline x
                 WHERE x.ended_at IS NULL AND x.updated_at < clock_timestamp() - $1::integer * interval '1 millisecond'
                   AND (x.claimed_until IS NULL OR x.claimed_until < clock_timestamp())
                   AND NOT EXISTS (SELECT 1 FROM gateway_call c WHERE c.pipeline_id = x.id AND c.state = 'accepted'
                                      AND c.lease_until > clock_timestamp())
                 ORDER BY x.updated_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED))
RETURNING ${columnList(pipelineColumns, 'p')}`;
const undoSql = 'SELECT id FROM pipeline_note_undo($1, $2, $3, $4, $5, $6)';
const claimSql = 'SELECT outcome, wait_ms, age_ms FROM pipeline_claim_undo($1, $2, $3, $4)';
/** The statement of each action, and what it is prepared as. */
const actions = {
  cancel: ['pipeline-cancel', `SELECT ${pipelineList} FROM pipeline_cancel($1, $2)`],
  'retry-undo': ['pipeline-retry-undo', `SELECT ${pipelineList} FROM pipeline_retry_undo($1, $2)`],
} as const satisfies Record<PipelineAction, readonly [string, string]>;
type Query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>;

export type PipelineStore = ReturnType<typeof createPipelineStore>;

export function createPipelineStore({ pool, driver, leaseMs, feeOwner, onDrained }: PipelineStoreOptions) {
  const query: Query = (name, text, values) => run(pool, { name, text, values });
  const one = theOne(query);
  const heard = (row: PipelineRow): PipelineRow => {
    const { drained } = row as pg.QueryResultRow;
    if (typeof drained === 'string') onDrained(drained);
    return row;
  };

  return {
    ...peopleAndUndos(query, driver), ...reads(query),

    /** Writes the pipeline and reserves its sum. @throws SuretyError idempotency_mismatch. */
    async open(pipeline: NewPipeline): Promise<PipelineOpened> {
      const text = 'SELECT outcome, existing_id, remaining FROM pipeline_open($1, $2, $3)';
      const [row] = await query<OpenedRow>('pipeline-open', text, [pipelineJson(pipeline), driver, leaseMs]);
      return { outcome: row?.outcome ?? 'internal_error', existingId: row?.existing_id ?? null,
        remainingMicros: BigInt(row?.remaining ?? 0) };
    },

    /** What the key was used for, if it was. @throws SuretyError idempotency_mismatch. */
    async earlier(agent: string, { key, requestHash }: IdempotencyClaim): Promise<string | null> {
      const [row] = await query<{ request_hash: string; resource_id: string }>('pipeline-earlier',
        'SELECT request_hash, resource_id FROM idempotency WHERE agent_address = $1 AND key = $2', [agent, key]);
      if (row === undefined) return null;
      if (row.request_hash !== requestHash) throw new SuretyError('idempotency_mismatch',
        'This Idempotency-Key was used before with a different request.');
      return row.resource_id;
    },

    async startStep(id: string, step: number, paramsJson: string): Promise<StartOutcome> {
      const [row] = await query<{ outcome: StartOutcome }>('pipeline-start', 'SELECT pipeline_start_step($1, $2, $3, $4, $5) AS outcome',
        [id, step, paramsJson, driver, leaseMs]);
      return row?.outcome ?? 'stopped';
    },

    /** Settles a delivered step and, in the same transaction, begins `next` for this process, or ends the pipeline where that is null. */
    async pass(id: string, delivery: Delivery, next: { readonly step: number; readonly paramsJson: string } | null): Promise<Passed> {
      const [row] = await query<SettleRow & { next: StartOutcome | null } & PipelineRow>('pipeline-pass', passSql,
        [JSON.stringify([deliveryJson(delivery, 0)]), feeOwner, id, next?.step, next?.paramsJson, driver, leaseMs]);
      return { settled: toSettled(row), next: row?.next ?? null, ended: typeof row?.id === 'string' ? heard(row) : null };
    },

    /** Ends the pipeline if its steps say so; changes nothing while one is under way. `fault`: a step that cannot begin. */
    finish: async (id: string, fault: { readonly step: number; readonly message: string } | null = null) =>
      heard(await one('pipeline-finish', finishSql, [id, feeOwner, fault?.step ?? null, fault?.message ?? null])),

  };
}

/** One pipeline, or `not_found`. */
function theOne(query: Query) {
  return async (name: string, text: string, values: unknown[]): Promise<PipelineRow> => {
    const [row] = await query<PipelineRow>(name, text, values);
    if (row === undefined) throw new SuretyError('not_found', 'There is no such pipeline.');
    return row;
  };
}

/** What people do with pipelines, and compensations. */
function peopleAndUndos(query: Query, driver: string) {
  return {
    /** Takes an action that the rules allow. Null: the pipeline has moved on, and they are to be asked again. */
    async act(id: string, action: PipelineAction, by: string): Promise<PipelineRow | null> {
      const [name, text] = actions[action];
      return (await query<PipelineRow>(name, text, [id, by]))[0] ?? null;
    },

    /** Takes the lease of a compensation, if it is due and nobody else has it. */
    async claimUndo(id: string, step: number, undoLeaseMs: number): Promise<UndoClaim> {
      type Row = { outcome: UndoClaim['outcome']; wait_ms: string; age_ms: string };
      const [row] = await query<Row>('pipeline-claim-undo', claimSql, [id, step, driver, undoLeaseMs]);
      return { outcome: row?.outcome ?? 'over', waitMs: Number(row?.wait_ms ?? 0), ageMs: Number(row?.age_ms ?? 0) };
    },

    async noteUndo({ id, step, done, pauseMs, error }: UndoNote): Promise<void> {
      await query('pipeline-undo', undoSql, [id, step, driver, done, pauseMs, error === null ? null : plain(error)]);
    },
  };
}

function reads(query: Query) {
  const one = theOne(query);
  return {
    /** @throws SuretyError not_found. */
    row: (id: string) => one('pipeline-row', rowSql, [id]),

    async step(id: string, step: number): Promise<StepRow | null> {
      return (await query<StepRow>('pipeline-step', stepSql, [id, step]))[0] ?? null;
    },
    steps: (id: string): Promise<StepRow[]> => query<StepRow>('pipeline-steps', stepsSql, [id]),

    async rows(ids: readonly string[]): Promise<PipelineRow[]> {
      return query<PipelineRow>('pipeline-rows', `SELECT ${pipelineList} FROM pipeline WHERE id = ANY ($1)`, [ids]);
    },

    /**
     * The whole pipeline, with what is left of its session. `known`: its row, where it has just been read. @throws SuretyError not_found.
     */
    async read(id: string, known: PipelineRow | null = null): Promise<Pipeline> {
      // The pipeline first: the steps read after it are at least as far.
      const row = known ?? await one('pipeline-row', rowSql, [id]);
      const own = await query<StepRow & BudgetRow>('pipeline-whole', `
        SELECT ${columnList(stepColumns, 'c')}, m.used AS spent,
               CASE WHEN m.open THEN m.capacity - m.used - m.reserved ELSE 0 END AS remaining
          FROM gateway_call c JOIN meter m ON m.id = c.session_id WHERE c.pipeline_id = $1 ORDER BY c.step_index`, [id]);
      return pipelineOf(row, own, own[0]);
    },

    /** Pipelines without a sign of life for `quietMs`, with no step that somebody drives, claimed by this process for `claimMs`. */
    claimStale: ({ quietMs, claimMs, limit }: { quietMs: number; claimMs: number; limit: number }): Promise<PipelineRow[]> =>
      query<PipelineRow>('pipeline-claim-stale', claimStaleSql, [quietMs, claimMs, limit]),

    /** A start of its workflow is about to be sent. */
    async markStarted(id: string): Promise<void> {
      await query('pipeline-started', 'UPDATE pipeline SET workflow_started = true WHERE id = $1 AND NOT workflow_started', [id]);
    },
  };
}

function pipelineJson(pipeline: NewPipeline): string {
  const { id, sessionId, buyer, tenantId, workflowId, workflowStarted, allOrNothing, feeBps, idempotency } = pipeline;
  const steps = pipeline.steps.map(({ callId, serviceType, paramsJson, candidates, refundable, compensation }, pos) => {
    const first = candidates[0];
    return {
      pos, id: callId, service_type: serviceType, params: paramsJson, candidates, price: first?.priceMicros, seller: first?.seller,
      service_id: first?.serviceId,
      service_name: first?.serviceName, refundable, ...(compensation === null ? {} : { compensation: writeCompensation(compensation) }),
    };
  });
  return JSON.stringify({ id, sessionId, buyer, tenantId: tenantId ?? undefined, workflowId, workflowStarted, allOrNothing, feeBps,
    key: idempotency?.key, hash: idempotency?.requestHash, steps });
}
