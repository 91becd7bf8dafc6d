/** Escrows in Postgres: one statement a step, each one transaction that moves row, money, event and notice together. */
import type pg from 'pg';
import { SuretyError } from '../../domain/errors.ts';
import { escrowStatuses, fundsOf, type Escrow, type EscrowAct, type EscrowActor, type EscrowStatus, type EscrowTerms } from '../../domain/escrow.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import { columnList, query as run } from '../../ledger/query.ts';
import type { Metrics } from '../../platform/metrics.ts';

export interface NewEscrow {
  readonly id: string;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly workflowId: string;
  readonly terms: EscrowTerms;
  readonly idempotency: IdempotencyClaim | null;
}

/** `late`: the time was up, so the clock decided in place of the step. */
export interface Stepped {
  readonly outcome: 'done' | 'replay' | 'late';
  readonly escrow: Escrow;
}

export type EscrowStore = ReturnType<typeof createEscrowStore>;

/** Errors of each method: those of its SQL function (prisma/functions/escrow.sql), and unavailable. */
export function createEscrowStore({ pool, metrics }: { readonly pool: pg.Pool; readonly metrics: Metrics }) {
  const query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> =>
    run<Row>(pool, { name, text, values });
  const countEnd = ({ status }: Escrow): void => {
    if (status === 'released' || status === 'refunded') metrics.paymentEnded('escrow', status);
  };

  return {
    /** @throws SuretyError insufficient_balance, idempotency_mismatch. */
    async create(wish: NewEscrow): Promise<Stepped> {
      const rows = await query<SteppedRow>('escrow-create', createSql, [newEscrowJson(wish)]);
      const stepped = toStepped(rows[0]);
      if (stepped.outcome !== 'replay') metrics.paymentBegun('escrow');
      return stepped;
    },

    /** @throws SuretyError not_found, unauthorized (403), forbidden, invalid_state, invalid_amount, evidence_limit, idempotency_mismatch. */
    async step(id: string, actor: EscrowActor, act: EscrowAct, claim: IdempotencyClaim | null): Promise<Stepped> {
      const values = [id, act.step, actor.address, actor.as, detailsOf(act), claim?.key, claim?.requestHash];
      const rows = await query<SteppedRow>('escrow-step', stepSql, values).catch(refusal);
      const stepped = toStepped(rows[0]);
      if (stepped.outcome !== 'replay') countEnd(stepped.escrow);
      return stepped;
    },

    /** Does what the clock demands, if it is due. Null: no such escrow. */
    async look(id: string): Promise<Escrow | null> {
      const [row] = await query<EscrowRow & { ended: boolean }>('escrow-look', lookSql, [id]);
      if (row === undefined) return null;
      const escrow = toEscrow(row);
      if (row.ended) countEnd(escrow);
      return escrow;
    },

    async byIds(ids: readonly string[]): Promise<Escrow[]> {
      return (await query<EscrowRow>('escrow-by-ids', byIdsSql, [ids])).map(toEscrow);
    },

    /** Escrows whose deadline passed more than `graceMs` ago, the longest first. */
    async overdue(graceMs: number, limit: number): Promise<string[]> {
      const text = `SELECT id FROM escrow WHERE deadline < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY deadline LIMIT $2`;
      return (await query<{ id: string }>('escrow-overdue', text, [graceMs, limit])).map((row) => row.id);
    },

    /** The workflow knows the row up to this version by itself: it took the step. */
    async told(id: string, version: number): Promise<void> {
      await query('escrow-told', 'SELECT workflow_told(ARRAY[$1::text], ARRAY[$2::integer])', [id, version]);
    },
  };
}

interface EscrowRow extends pg.QueryResultRow {
  id: string; buyer: string; seller: string; arbiter: string | null; amount: string; service_id: string | null; status: EscrowStatus; released: string; refunded: string;
  resolution: string | null; dispute_reason: string | null; buyer_may_cancel: boolean; review_window_ms: string; ruling_window_ms: string; delivery_deadline: Date;
  delivered_at: Date | null; review_until: Date | null; ruling_until: Date | null; deadline: Date | null; resolved_at: Date | null; version: number; workflow_id: string;
  tenant_id: string | null; created_at: Date; updated_at: Date;
}
type SteppedRow = EscrowRow & { outcome: Stepped['outcome'] };
const columns = [
  'id', 'buyer', 'seller', 'arbiter', 'amount', 'service_id', 'status', 'released', 'refunded', 'resolution', 'dispute_reason',
  'buyer_may_cancel',
  'review_window_ms', 'ruling_window_ms', 'delivery_deadline', 'delivered_at', 'review_until', 'ruling_until', 'deadline',
  'resolved_at', 'version',
  'workflow_id', 'tenant_id', 'created_at', 'updated_at',
];
const createSql = `SELECT r.outcome, ${columnList(columns, '(r.e)')} FROM escrow_create($1) r`;
const stepSql = `SELECT r.outcome, ${columnList(columns, '(r.e)')} FROM escrow_step($1, $2, $3, $4, $5, $6, $7) r`;
const lookSql = `SELECT r.ended, ${columnList(columns, '(r.e)')} FROM escrow_look($1) r`;
const byIdsSql = `SELECT ${columnList(columns)} FROM escrow WHERE id = ANY ($1)`;

function toEscrow(row: EscrowRow): Escrow {
  return {
    id: row.id, buyer: row.buyer, seller: row.seller, arbiter: row.arbiter, amountMicros: micros(row.amount), serviceId: row.service_id, status: row.status,
    releasedMicros: micros(row.released), refundedMicros: micros(row.refunded), resolution: row.resolution, disputeReason: row.dispute_reason,
    buyerMayCancel: row.buyer_may_cancel, reviewWindowMs: Number(row.review_window_ms), rulingWindowMs: Number(row.ruling_window_ms), deliveryDeadline: row.delivery_deadline,
    deliveredAt: row.delivered_at, reviewUntil: row.review_until, rulingUntil: row.ruling_until, deadline: row.deadline, resolvedAt: row.resolved_at, version: row.version,
    workflowId: row.workflow_id, tenantId: row.tenant_id, createdAt: row.created_at, updatedAt: row.updated_at,
  };
}

function toStepped(row: SteppedRow | undefined): Stepped {
  if (row === undefined) throw new Error('An escrow step returned no row.');
  return { outcome: row.outcome, escrow: toEscrow(row) };
}

function newEscrowJson({ id, buyer, tenantId, workflowId, terms, idempotency }: NewEscrow): string {
  const { amountMicros, ...rest } = terms;
  return JSON.stringify({ ...rest, id, buyer, tenantId, workflowId, amount: amountMicros.toString(), key: idempotency?.key, hash: idempotency?.requestHash });
}

/** The details of a step as `escrow_step` reads them; null for steps that have none. */
function detailsOf(act: EscrowAct): string | null {
  switch (act.step) {
    case 'dispute': return JSON.stringify({ reason: act.reason });
    case 'evidence': return JSON.stringify({ content: act.content });
    case 'arbitrate': return JSON.stringify({ arbiter: act.arbiter });
    case 'resolve': return JSON.stringify({ ruling: act.ruling, amount: act.amountMicros?.toString(), reason: act.reason });
    default: return null;
  }
}

/** A refusal as people get it: with where the money is, where the escrow stands, and 403 for the wrong role. */
function refusal(error: unknown): never {
  if (!(error instanceof SuretyError)) throw error;
  const { cause } = error.extras;
  if (error.code === 'unauthorized') {
    throw new SuretyError('unauthorized', error.message, { status: 403, recovery: 'Use a key of the party whose step this is.', cause });
  }
  // Our SQL says in the hint where the escrow stands.
  const hint = (cause as { hint?: unknown } | undefined)?.hint;
  const status = escrowStatuses.find((known) => known === hint);
  if (status === undefined) throw error;
  throw new SuretyError(error.code, error.message, { fundsStatus: fundsOf(status), body: { status }, cause });
}

/** Why a step that came after the deadline was not taken. */
export function lateRefusal({ status, resolution, amountMicros }: Escrow): SuretyError {
  const went = status === 'released' ? 'paid to the seller' : 'returned to the buyer';
  return new SuretyError('invalid_state', `The time for this was up, so the clock has decided (${resolution}): ${formatMicros(amountMicros)} USDC were ${went}.`, {
    fundsStatus: fundsOf(status), body: { status },
  });
}
