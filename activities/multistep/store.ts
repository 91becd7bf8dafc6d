/** The rows and money steps of multistep escrows in Postgres. Each step is one function call and one transaction. */
import type pg from 'pg';
import { SuretyError, type FundsStatus } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import { micros } from '../../domain/money.ts';
import type { MultistepAnswer, MultistepEscrow, MultistepPlan, MultistepResolution, MultistepStatus,
  StepClaim } from '../../domain/multistep.ts';
import { query as run } from '../../ledger/query.ts';
import type { Metrics } from '../../platform/metrics.ts';

export interface NewMultistep {
  readonly id: string;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly plan: MultistepPlan;
  readonly workflowId: string;
  readonly idempotency: IdempotencyClaim | null;
}

/** Who takes a step on which escrow. `caller` null: the platform, in the name of the buyer. */
export interface StepTaker {
  readonly id: string;
  readonly caller: string | null;
  readonly idempotency: IdempotencyClaim | null;
}

export interface MultistepStore {
  /** @throws SuretyError agent_not_found, insufficient_balance, idempotency_mismatch. */
  create(escrow: NewMultistep): Promise<MultistepAnswer>;
  /** @throws SuretyError not_found, unauthorized, invalid_state, step_out_of_range, duplicate_step, step_mismatch, idempotency_mismatch. */
  confirmStep(taker: StepTaker, step: StepClaim): Promise<MultistepAnswer>;
  /** @throws SuretyError not_found, unauthorized, invalid_state, idempotency_mismatch. */
  refund(taker: StepTaker): Promise<MultistepAnswer>;
  /** Ends the escrow if its deadline has passed by the database's clock. Again changes nothing. @throws SuretyError not_found. */
  look(id: string): Promise<MultistepEscrow>;
  /** Escrows by id; those that do not exist are left out. */
  read(ids: readonly string[]): Promise<MultistepEscrow[]>;
  /** Open escrows whose deadline passed longer ago than this, the longest waiting first. */
  overdue(graceMs: number, limit: number): Promise<string[]>;
  /** Notes that the workflow knows the escrow as it is here. */
  told(escrow: Pick<MultistepEscrow, 'id' | 'version'>): Promise<void>;
}

type Query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]) => Promise<Row[]>;

export function createMultistepStore({ pool, metrics }: { readonly pool: pg.Pool; readonly metrics: Metrics }): MultistepStore {
  const query: Query = (name, text, values) => run(pool, { name, text, values });

  async function answered(name: string, text: string, values: unknown[]): Promise<MultistepAnswer> {
    const [row] = await query<{ answer: AnswerJson }>(name, text, values);
    if (row === undefined) throw new Error(`${name} gave no answer.`);
    const answer = { escrow: toEscrow(row.answer.escrow), replayed: row.answer.replayed };
    if (!answer.replayed && answer.escrow.status !== 'open') metrics.paymentEnded('multistep_escrow', answer.escrow.status);
    return answer;
  }

  async function read(ids: readonly string[]): Promise<MultistepEscrow[]> {
    const rows = await query<{ shown: EscrowJson | null }>('multistep-read',
      'SELECT multistep_shown(id) AS shown FROM unnest($1::text[]) AS id', [ids]);
    return rows.flatMap(({ shown }) => (shown === null ? [] : [toEscrow(shown)]));
  }

  /** A step of one escrow: its refusals say what the escrow is now and where its money is. */
  async function stepOf(id: string, step: Promise<MultistepAnswer>): Promise<MultistepAnswer> {
    try {
      return await step;
    } catch (error) {
      if (!(error instanceof SuretyError)) throw error;
      if (error.code === 'unauthorized') throw new SuretyError('unauthorized', error.message,
        { status: 403, recovery: 'Use the API key of the buyer.', cause: error });
      if (error.code !== 'invalid_state') throw error;
      const [escrow] = await read([id]);
      throw escrow === undefined ? error
        : new SuretyError('invalid_state', error.message,
        { fundsStatus: fundsOf[escrow.status], body: { status: escrow.status }, cause: error });
    }
  }

  return {
    read,
    async create(escrow) {
      const answer = await answered('multistep-create', 'SELECT multistep_create($1, $2, $3) AS answer',
        [planJson(escrow), ...claimOf(escrow.idempotency)]);
      if (!answer.replayed) metrics.paymentBegun('multistep_escrow');
      return answer;
    },
    confirmStep: ({ id, caller, idempotency }, { stepIndex, seller, amountMicros }) => stepOf(id, answered(
      'multistep-confirm', 'SELECT multistep_confirm_step($1, $2, $3, $4, $5, $6, $7) AS answer',
      [id, caller, stepIndex, seller, amountMicros?.toString() ?? null, ...claimOf(idempotency)],
    )),
    refund: ({ id, caller, idempotency }) =>
      stepOf(id, answered('multistep-refund', 'SELECT multistep_refund($1, $2, $3, $4) AS answer', [id, caller, ...claimOf(idempotency)])),
    look: async (id) => (await answered('multistep-look', 'SELECT multistep_look($1) AS answer', [id])).escrow,
    async overdue(graceMs, limit) {
      const rows = await query<{ id: string }>('multistep-overdue', `SELECT id FROM multistep_escrow
         WHERE status = 'open' AND deadline < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY deadline LIMIT $2`,
         [graceMs, limit]);
      return rows.map(({ id }) => id);
    },
    async told({ id, version }) {
      await query('multistep-told', 'SELECT workflow_told(ARRAY[$1::text], ARRAY[$2::integer])', [id, version]);
    },
  };
}

const fundsOf: Readonly<Record<MultistepStatus, FundsStatus>> = { open: 'locked_in_escrow',
  completed: 'released_to_seller', aborted: 'returned' };

const claimOf = (claim: IdempotencyClaim | null): [string | null, string | null] => [claim?.key ?? null, claim?.requestHash ?? null];

function planJson({ id, buyer, tenantId, plan, workflowId }: NewMultistep): string {
  return JSON.stringify({
    id, buyer, tenantId, workflowId, total: plan.totalMicros.toString(), expiresInMs: plan.expiresInMs,
    steps: plan.steps.map(({ seller, amountMicros }) => ({ seller, amount: amountMicros.toString() })),
  });
}

/** As `multistep_shown` writes it. */
interface EscrowJson {
  readonly id: string;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly total: string;
  readonly spent: string;
  readonly refunded: string;
  readonly confirmedSteps: number;
  readonly status: MultistepStatus;
  readonly resolution: MultistepResolution | null;
  readonly deadline: string;
  readonly version: number;
  readonly workflowId: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly endedAt: string | null;
  readonly steps: readonly { readonly seller: string; readonly amount: string; readonly confirmedAt: string | null }[];
}
interface AnswerJson {
  readonly escrow: EscrowJson;
  readonly replayed: boolean;
}

const moment = (text: string | null): Date | null => (text === null ? null : new Date(text));

function toEscrow(row: EscrowJson): MultistepEscrow {
  const { id, buyer, tenantId, confirmedSteps, status, resolution, version, workflowId } = row;
  return {
    id, buyer, tenantId, confirmedSteps, status, resolution, version, workflowId, totalMicros: micros(row.total),
    spentMicros: micros(row.spent), refundedMicros: micros(row.refunded),
    steps: row.steps.map(({ seller, amount, confirmedAt }) => ({ seller, amountMicros: micros(amount), confirmedAt: moment(confirmedAt) })),
    deadline: new Date(row.deadline), createdAt: new Date(row.createdAt), updatedAt: new Date(row.updatedAt), endedAt: moment(row.endedAt),
  };
}
