/** Payments in Postgres: the one mapping of their row, and the one statement that applies what was decided about them. */
import type pg from 'pg';
import type { IdempotencyClaim } from '../domain/gateway.ts';
import { micros } from '../domain/money.ts';
import type { Decision, Move, Opening, Payment, Refusal } from '../domain/payment.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createGroupCommit } from './group-commit.ts';
import { columnList, query as runQuery } from './query.ts';
import { isItemError } from './sql-errors.ts';

/** One decision for `payment_apply` (prisma/functions/payment.sql), or a refusal that is to be kept for its attempt. */
export interface ApplyItem {
  readonly id: string;
  /** The version it was decided on; 0 opens the payment. */
  readonly expect: number;
  /** Null: there is only a refusal. */
  readonly decision: Decision | null;
  readonly opening: (Opening & { readonly kind: string; readonly bucket: string; readonly askedAtMs: number }) | null;
  readonly refusal: Refusal | null;
  /** Keep a refusal: a message of the same attempt is on its way. */
  readonly recordsRefusal: boolean;
  readonly attempt: string | null;
  /** By the database's clock, in milliseconds since 1970; null: whenever. */
  readonly notAfterMs: number | null;
  readonly claim: (IdempotencyClaim & { readonly owner: string }) | null;
  /** Was a start of its workflow sent? Only read when the payment is opened. */
  readonly workflowStarted: boolean;
}

export type ApplyOutcome = 'done' | 'again' | 'replay' | 'refused' | 'mismatch' | 'conflict';

export interface Applied {
  readonly outcome: ApplyOutcome;
  readonly refusal: Refusal | null;
  /** As it is now; null where there is none. With `replay`, the one that the first request with this key was about. */
  readonly payment: Payment | null;
  /** What has happened, where this has done something. */
  readonly event: PaymentEvent | null;
}

/** What has happened to a payment at one version. Amounts are what moved with it. */
export interface PaymentEvent {
  readonly version: number;
  readonly step: string;
  readonly role: string;
  readonly by: string;
  readonly state: string;
  readonly deadlineMs: number | null;
  readonly heldMicros: bigint;
  readonly paidMicros: bigint;
  readonly returnedMicros: bigint;
  readonly payee: string | null;
  readonly resolution: string | null;
  readonly note: string | null;
  readonly atMs: number;
}

export type PaymentStore = ReturnType<typeof createPaymentStore>;

/** Decisions that share one statement. */
const GROUP_MAX = 32;
/** As in docs/decisions/one-lane-of-group-commit.md. */
const LANES = 1;

const columnNames = [
  'id', 'kind', 'state', 'version', 'deadline', 'buyer', 'seller', 'arbiter', 'tenant_id', 'asset', 'held', 'paid', 'returned',
  'resolution', 'terms', 'details',
  'workflow_id', 'workflow_started', 'created_at', 'updated_at', 'ended_at',
] as const;
const eventNames = ['version', 'step', 'role', 'actor', 'state', 'deadline', 'held', 'paid', 'returned', 'payee', 'resolution',
  'note', 'created_at'] as const;
/** Those of a payment and of its event have names in common. */
const eventPrefix = 'event_';

const readSql = `SELECT ${columnList(columnNames, 'x')}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms FROM payment x WHERE x.id = $1`;
const byIdsSql = `SELECT ${columnList(columnNames, 'x')} FROM payment x WHERE x.id = ANY ($1)`;
const applySql = `
SELECT r.pos, r.outcome, r.refusal, ${columnList(columnNames, '(r.p)')}, ${eventNames.map((name) =>
  `(r.e).${name} AS ${eventPrefix}${name}`).join(', ')}
  FROM payment_apply($1) r`;
const openableSql = `
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, EXISTS (SELECT FROM account WHERE owner = $1 AND asset = $2 AND available >= $3) AS covered,
       EXISTS (SELECT FROM idempotency WHERE agent_address = $1 AND key = $4) AS claimed`;
const eventsSql = `
SELECT ${columnList(eventNames)} FROM payment_event
 WHERE payment_id = $1 AND version > $2 ORDER BY version LIMIT $3`;

const openAfterSql = `
SELECT id, workflow_id FROM payment WHERE deadline IS NOT NULL AND kind = ANY ($1) AND id > $2 AND created_at < clock_timestamp() - $3 * interval '1 millisecond'
 ORDER BY id LIMIT $4`;

// One walk along each of the three indexes; a single OR would sort everything an agent ever did.
const walkSql = (role: string): string => `
  (SELECT id, created_at FROM payment WHERE ${role} = $2 AND kind = $1 AND ($3::text IS NULL OR (created_at, id) < (SELECT created_at, id FROM last))
    ORDER BY created_at DESC, id DESC LIMIT $4)`;
const idsOfSql = `
WITH last AS (SELECT created_at, id FROM payment WHERE id = $3), mine AS (${['buyer', 'seller', 'arbiter'].map(walkSql).join(' UNION ')})
SELECT id FROM mine ORDER BY created_at DESC, id DESC LIMIT $4`;

/** Errors of each method: unavailable. */
export function createPaymentStore({ pool, metrics }: { readonly pool: pg.Pool; readonly metrics: Metrics }) {
  const query = <Row extends pg.QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> =>
    runQuery<Row>(pool, { name, text, values });

  const apply = createGroupCommit<ApplyItem, Applied>({
    itemsMax: GROUP_MAX, lanes: LANES, isItemError,
    run: async (items) => {
      const begun = performance.now();
      const rows = await query<AppliedRow>('payment-apply', applySql, [JSON.stringify(items.map(itemJson))]);
      metrics.batchCommitted('payment', items.length, (performance.now() - begun) / 1000);
      const byPosition = new Map(rows.map((row) => [row.pos, row]));
      return items.map((_, position) => toApplied(byPosition.get(position)));
    },
  });

  return {
    /** Applies what was decided, if the payment and its clock are still where it was decided on. Waits for others to share its commit. */
    apply,

    /** The payment, and the database's time at that moment. */
    async read(id: string): Promise<{ readonly payment: Payment; readonly nowMs: number } | null> {
      const [row] = await query<PaymentRow & { now_ms: string }>('payment-read', readSql, [id]);
      return row === undefined ? null : { payment: toPayment(row), nowMs: Number(row.now_ms) };
    },

    /** In no order; those that do not exist are left out. */
    async byIds(ids: readonly string[]): Promise<Payment[]> {
      return (await query<PaymentRow>('payment-by-ids', byIdsSql, [ids])).map(toPayment);
    },

    /** Can this be opened as far as a look can tell, and has its key been used before? The statement that opens it judges. */
    async canOpen({ buyer, asset, amountMicros }: Pick<Opening, 'buyer' | 'asset' | 'amountMicros'>,
        key: string | null): Promise<{ covered: boolean; claimed: boolean; nowMs: number }> {
      const [row] = await query<{ now_ms: string; covered: boolean; claimed: boolean }>('payment-openable', openableSql,
        [buyer, asset, amountMicros.toString(), key]);
      return { covered: row?.covered ?? false, claimed: row?.claimed ?? false, nowMs: Number(row?.now_ms ?? 0) };
    },

    /** What happened after this version, in order, at most `limit`. */
    async eventsAfter(id: string, version: number, limit = 1_000): Promise<PaymentEvent[]> {
      return (await query<EventRow>('payment-events', eventsSql, [id, version, limit])).map(toEvent);
    },

    /** Ids whose deadline passed more than `graceMs` ago, claimed by this process for `leaseMs`. */
    async claimOverdue(kinds: readonly string[],
        { graceMs, leaseMs, limit }: { graceMs: number; leaseMs: number; limit: number }): Promise<{ id: string; kind: string }[]> {
      return query<{ id: string; kind: string }>('payment-claim-overdue', 'SELECT id, kind FROM payment_claim_overdue($1, $2, $3, $4)',
        [kinds, graceMs, leaseMs, limit]);
    },

    /** Ids of an agent's payments of a kind, as buyer, seller or arbiter, newest first; those after this one. */
    async idsOf(kind: string, address: string, { after, limit }: { after: string | null; limit: number }): Promise<string[]> {
      return (await query<{ id: string }>('payment-ids-of', idsOfSql, [kind, address, after, limit])).map(({ id }) => id);
    },

    /** The payment whose secret has this keyed hash. */
    async idByLookup(kind: string, lookup: string): Promise<string | null> {
      const [row] = await query<{ id: string }>('payment-by-lookup', 'SELECT id FROM payment WHERE lookup = $1 AND kind = $2',
        [lookup, kind]);
      return row?.id ?? null;
    },

    /** Open payments older than this, in the order of their ids, after one. */
    async openAfter(kinds: readonly string[],
        { after, ageMs, limit }: { after: string; ageMs: number; limit: number }): Promise<{ id: string; workflowId: string }[]> {
      return (await query<{ id: string; workflow_id: string }>('payment-open-after', openAfterSql, [kinds, after, ageMs, limit]))
        .map(({ id, workflow_id: workflowId }) => ({ id, workflowId }));
    },

    /** A start of its workflow is about to be sent. */
    async markStarted(ids: readonly string[]): Promise<void> {
      await query('payment-started', 'UPDATE payment SET workflow_started = true WHERE id = ANY ($1) AND NOT workflow_started', [ids]);
    },
  };
}

function itemJson({ id, expect, decision, opening, refusal, recordsRefusal, attempt, notAfterMs, claim, workflowStarted }: ApplyItem,
    pos: number): object {
  return {
    pos, id, expect, attempt, refusal, record: recordsRefusal, not_after_ms: notAfterMs, claim_owner: claim?.owner, claim_key: claim?.key,
    claim_hash: claim?.requestHash,
    ...(opening === null ? {} : { opening: openingJson(opening) }),
    ...(decision === null ? {} : decisionJson(decision)), workflow_started: workflowStarted,
  };
}

function openingJson({ kind, bucket, askedAtMs, buyer, seller, arbiter, tenantId, asset, terms, lookup,
    workflowId }: NonNullable<ApplyItem['opening']>): object {
  return { kind, bucket, asked_at_ms: askedAtMs, buyer, seller, arbiter, tenant_id: tenantId, asset, terms, lookup,
    workflow_id: workflowId };
}

function decisionJson({ step, role, by, to, deadlineMs, isDue, moves, resolution, details, note, seller }: Decision): object {
  return { step, role, actor: by, state: to, deadline_ms: deadlineMs, due: isDue, moves: moves.map(moveJson),
    resolution, details, note, seller };
}

/** No amount: all that is still held. */
function moveJson(move: Move): object {
  const amount = move.amountMicros === 'rest' ? null : move.amountMicros.toString();
  return { move: move.move, amount, ...(move.move === 'pay' ? { to: move.to } : {}) };
}

interface PaymentRow extends pg.QueryResultRow {
  id: string; kind: string; state: string; version: number; deadline: Date | null; buyer: string; seller: string | null;
  arbiter: string | null; tenant_id: string | null;
  asset: string; held: string; paid: string; returned: string; resolution: string | null; terms: unknown;
  details: unknown; workflow_id: string;
  workflow_started: boolean; created_at: Date; updated_at: Date; ended_at: Date | null;
}
type AppliedRow = PaymentRow & { pos: number; outcome: ApplyOutcome; refusal: Refusal | null };
interface EventRow extends pg.QueryResultRow {
  version: number; step: string; role: string; actor: string; state: string; deadline: Date | null; held: string; paid: string;
  returned: string; payee: string | null;
  resolution: string | null; note: string | null; created_at: Date;
}

function toApplied(row: AppliedRow | undefined): Applied {
  if (row === undefined) throw new Error('A decision came back without an answer.');
  // Without a payment every column of the composite is null.
  const payment = (row.id as string | null) === null ? null : toPayment(row);
  return { outcome: row.outcome, refusal: row.refusal, payment, event: row[`${eventPrefix}version`] === null ? null
    : toEvent(eventOf(row)) };
}

/** The columns of the event under their own names. */
function eventOf(row: AppliedRow): EventRow {
  return Object.fromEntries(eventNames.map((name) => [name, (row as pg.QueryResultRow)[eventPrefix + name]])) as EventRow;
}

function toPayment(row: PaymentRow): Payment {
  return {
    id: row.id, kind: row.kind, state: row.state, version: row.version, deadlineMs: row.deadline?.getTime() ?? null,
    buyer: row.buyer, seller: row.seller,
    arbiter: row.arbiter, tenantId: row.tenant_id, asset: row.asset, heldMicros: micros(row.held), paidMicros: micros(row.paid),
    returnedMicros: micros(row.returned),
    resolution: row.resolution, terms: row.terms, details: row.details, workflowId: row.workflow_id, workflowStarted: row.workflow_started,
    createdAtMs: row.created_at.getTime(), updatedAtMs: row.updated_at.getTime(), endedAtMs: row.ended_at?.getTime() ?? null,
  };
}

function toEvent(row: EventRow): PaymentEvent {
  return {
    version: row.version, step: row.step, role: row.role, by: row.actor, state: row.state, deadlineMs: row.deadline?.getTime() ?? null,
    heldMicros: BigInt(row.held),
    paidMicros: BigInt(row.paid), returnedMicros: BigInt(row.returned), payee: row.payee, resolution: row.resolution, note: row.note,
    atMs: row.created_at.getTime(),
  };
}
