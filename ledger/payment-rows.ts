/** The one mapping of a payment's row, of its events, its meter and its parts; and how a decision is written for `payment_apply`. */
import type pg from 'pg';
import type { IdempotencyClaim } from '../domain/gateway.ts';
import { micros } from '../domain/money.ts';
import type { Decision, Meter, MeterTerms, Move, Opening, Part, Payment, Refusal } from '../domain/payment.ts';
import { columnList } from './query.ts';

/** One decision for `payment_apply` (prisma/functions/payment.sql), or a refusal that is to be kept for its attempt. */
export interface ApplyItem {
  readonly id: string;
  /** The version it was decided on; 0 opens the payment. */
  readonly expect: number;
  /** Null: there is only a refusal. */
  readonly decision: Decision | null;
  readonly opening: (Opening & { readonly kind: string; readonly bucket: string; readonly askedAtMs: number;
    readonly meter: MeterTerms | null }) | null;
  /** Nothing is decided: the payment was used meanwhile, and its deadline moves on to this, in milliseconds since 1970. */
  readonly postponeToMs: number | null;
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

export type ApplyOutcome = 'done' | 'postponed' | 'again' | 'replay' | 'refused' | 'mismatch' | 'conflict';

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

const columnNames = [
  'id', 'kind', 'state', 'version', 'deadline', 'buyer', 'seller', 'arbiter', 'tenant_id', 'asset', 'held', 'paid', 'returned',
  'resolution', 'terms', 'details', 'workflow_id', 'workflow_started', 'created_at', 'updated_at', 'ended_at',
] as const;
const eventNames = [
  'version', 'step', 'role', 'actor', 'state', 'deadline', 'held', 'paid', 'returned', 'payee', 'resolution', 'note', 'created_at',
] as const;
const meterNames = ['open', 'capacity', 'used', 'reserved', 'uses', 'idle_ms', 'last_used_at'] as const;
/** Those of a payment, of its event and of its meter have names in common. */
const prefixed = (names: readonly string[], of: string, prefix: string): string =>
  names.map((name) => `${of}.${name} AS ${prefix}${name}`).join(', ');
const eventPrefix = 'event_';
const meterPrefix = 'meter_';

/** The columns of a payment with meter and parts; `of` is the payment, `meter` its meter. */
export const wholeList = (of: string, meter: string): string =>
  `${columnList(columnNames, of)}, ${prefixed(meterNames, meter, meterPrefix)}, payment_parts(${of}.id, ${of}.parts) AS parts`;

export const readSql = `
SELECT ${wholeList('x', 'm')}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
  FROM payment x LEFT JOIN meter m ON m.id = x.id WHERE x.id = $1`;
export const byIdsSql = `SELECT ${wholeList('x', 'm')} FROM payment x LEFT JOIN meter m ON m.id = x.id WHERE x.id = ANY ($1)`;
export const applySql = `
SELECT r.pos, r.outcome, r.refusal, ${wholeList('(r.p)', '(r.m)')}, ${prefixed(eventNames, '(r.e)', eventPrefix)}
  FROM payment_apply($1) r`;
export const eventsSql = `
SELECT ${columnList(eventNames)} FROM payment_event
 WHERE payment_id = $1 AND version > $2 ORDER BY version LIMIT $3`;

/** An item of `payment_apply`. */
export function itemJson(item: ApplyItem, pos: number): object {
  const { id, expect, decision, opening, refusal, recordsRefusal, attempt, notAfterMs, claim, workflowStarted, postponeToMs } = item;
  return {
    pos, id, expect, attempt, refusal, record: recordsRefusal, not_after_ms: notAfterMs, postpone_ms: postponeToMs,
    claim_owner: claim?.owner, claim_key: claim?.key, claim_hash: claim?.requestHash, workflow_started: workflowStarted,
    ...(opening === null ? {} : { opening: openingJson(opening) }), ...(decision === null ? {} : decisionJson(decision)),
  };
}

function openingJson(opening: NonNullable<ApplyItem['opening']>): object {
  const { kind, bucket, askedAtMs, buyer, seller, arbiter, tenantId, asset, terms, lookup, workflowId, meter, parts = [] } = opening;
  return {
    kind, bucket, asked_at_ms: askedAtMs, buyer, seller, arbiter, tenant_id: tenantId, asset, terms, lookup, workflow_id: workflowId,
    parts: parts.map(({ payee, amountMicros: amount }) => ({ payee, amount })),
    ...(meter === null ? {} : { meter: meterJson(meter) }),
  };
}

/** What a new meter is written with. */
function meterJson({ priceMicrosMax, idleMs, usesPerMinute, closesAtDeadline }: MeterTerms): object {
  return { price_max: priceMicrosMax.toString(), idle_ms: idleMs, uses_per_minute: usesPerMinute, closes: closesAtDeadline };
}

function decisionJson({ step, role, by, to, deadlineMs, isDue, moves, resolution, details, note, seller, meter }: Decision): object {
  return {
    step, role, actor: by, state: to, deadline_ms: deadlineMs, due: isDue, moves: moves.map(moveJson), resolution, details, note, seller,
    ...(meter === null ? {} : { meter: { closes: meter.closes, drained: meter.assumesDrained } }),
  };
}

function moveJson(move: Move): object {
  const { amountMicros } = move;
  const amount = typeof amountMicros === 'string' ? { of: amountMicros } : { amount: amountMicros.toString() };
  return { move: move.move, ...amount, ...(move.move === 'pay' ? { to: move.to, part: move.part } : {}) };
}

interface MeterRow {
  meter_open: boolean | null; meter_capacity: string; meter_used: string; meter_reserved: string; meter_uses: number;
  meter_idle_ms: string | null; meter_last_used_at: Date;
}
interface PartJson { index: number; payee: string; amount: string; paidAtMs: number | null }
/** A payment with what belongs to it, as `readSql`, `byIdsSql` and `applySql` answer. */
export interface PaymentRow extends pg.QueryResultRow, MeterRow {
  id: string; kind: string; state: string; version: number; deadline: Date | null; buyer: string; seller: string | null;
  arbiter: string | null; tenant_id: string | null; asset: string; held: string; paid: string; returned: string; resolution: string | null;
  terms: unknown; details: unknown; workflow_id: string; workflow_started: boolean; created_at: Date; updated_at: Date;
  ended_at: Date | null; parts: PartJson[] | null;
}
export type AppliedRow = PaymentRow & { pos: number; outcome: ApplyOutcome; refusal: Refusal | null };
export interface EventRow extends pg.QueryResultRow {
  version: number; step: string; role: string; actor: string; state: string; deadline: Date | null; held: string; paid: string;
  returned: string; payee: string | null; resolution: string | null; note: string | null; created_at: Date;
}

/** What became of an item; `undefined` must not happen and throws. */
export function toApplied(row: AppliedRow | undefined): Applied {
  if (row === undefined) throw new Error('A decision came back without an answer.');
  // Without a payment every column of the composite is null.
  const payment = (row.id as string | null) === null ? null : toPayment(row);
  const event = row[`${eventPrefix}version`] === null ? null : toEvent(eventOf(row));
  return { outcome: row.outcome, refusal: row.refusal, payment, event };
}

/** The columns of the event under their own names. */
function eventOf(row: AppliedRow): EventRow {
  return Object.fromEntries(eventNames.map((name) => [name, (row as pg.QueryResultRow)[eventPrefix + name]])) as EventRow;
}

/** The one mapping of a payment's row. */
export function toPayment(row: PaymentRow): Payment {
  return {
    id: row.id, kind: row.kind, state: row.state, version: row.version, deadlineMs: row.deadline?.getTime() ?? null, buyer: row.buyer,
    seller: row.seller, arbiter: row.arbiter, tenantId: row.tenant_id, asset: row.asset, heldMicros: micros(row.held),
    paidMicros: micros(row.paid), returnedMicros: micros(row.returned), resolution: row.resolution, terms: row.terms, details: row.details,
    meter: row.meter_open === null ? null : toMeter(row), parts: (row.parts ?? []).map(toPart), workflowId: row.workflow_id,
    workflowStarted: row.workflow_started, createdAtMs: row.created_at.getTime(), updatedAtMs: row.updated_at.getTime(),
    endedAtMs: row.ended_at?.getTime() ?? null,
  };
}

function toMeter(row: MeterRow): Meter {
  return {
    isOpen: row.meter_open === true, capacityMicros: micros(row.meter_capacity), usedMicros: micros(row.meter_used),
    reservedMicros: micros(row.meter_reserved), uses: row.meter_uses, lastUsedAtMs: row.meter_last_used_at.getTime(),
    idleMs: row.meter_idle_ms === null ? null : Number(row.meter_idle_ms),
  };
}

function toPart({ index, payee, amount, paidAtMs }: PartJson): Part {
  return { index, payee, amountMicros: micros(amount), paidAtMs };
}

/** One row of `payment_event`. */
export function toEvent(row: EventRow): PaymentEvent {
  return {
    version: row.version, step: row.step, role: row.role, by: row.actor, state: row.state, deadlineMs: row.deadline?.getTime() ?? null,
    heldMicros: BigInt(row.held), paidMicros: BigInt(row.paid), returnedMicros: BigInt(row.returned), payee: row.payee,
    resolution: row.resolution, note: row.note, atMs: row.created_at.getTime(),
  };
}
