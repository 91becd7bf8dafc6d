/** Payments in Postgres: their reads, and the one statement that applies what was decided about them. */
import type pg from 'pg';
import type { Opening, Payment } from '../domain/payment.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createGroupCommit } from './group-commit.ts';
import {
  applySql, byIdsSql, eventsSql, itemJson, readSql, toApplied, toEvent, toPayment, type Applied, type AppliedRow, type ApplyItem,
  type EventRow, type PaymentEvent, type PaymentRow,
} from './payment-rows.ts';
import { query as runQuery } from './query.ts';
import { isItemError } from './sql-errors.ts';

export type PaymentStore = ReturnType<typeof createPaymentStore>;

/** Decisions that share one statement. */
const GROUP_MAX = 32;
/** As in docs/decisions/one-lane-of-group-commit.md. */
const LANES = 1;

const openableSql = `
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
       EXISTS (SELECT FROM account WHERE owner = $1 AND asset = $2 AND available >= $3) AS covered,
       EXISTS (SELECT FROM idempotency WHERE agent_address = $1 AND key = $4) AS claimed`;
const openAfterSql = `
SELECT id, workflow_id FROM payment
 WHERE deadline IS NOT NULL AND kind = ANY ($1) AND id > $2 AND created_at < clock_timestamp() - $3 * interval '1 millisecond'
 ORDER BY id LIMIT $4`;

// One walk along each of the indexes; a single OR would sort everything an agent ever did.
const beforeSql = '($3::text IS NULL OR (x.created_at, x.id) < (SELECT created_at, id FROM last))';
const walkSql = (role: string): string => `
  (SELECT x.id, x.created_at FROM payment x WHERE x.${role} = $2 AND x.kind = $1 AND ${beforeSql}
    ORDER BY x.created_at DESC, x.id DESC LIMIT $4)`;
const partsSql = `
  (SELECT x.id, x.created_at
     FROM (SELECT DISTINCT t.created_at, t.payment_id AS id FROM payment_part t WHERE t.payee = $2 ORDER BY 1 DESC, 2 DESC) x
     JOIN payment y ON y.id = x.id AND y.kind = $1 WHERE ${beforeSql} ORDER BY x.created_at DESC, x.id DESC LIMIT $4)`;
const idsOfSql = `
WITH last AS (SELECT created_at, id FROM payment WHERE id = $3),
     mine AS (${['buyer', 'seller', 'arbiter'].map(walkSql).join(' UNION ')} UNION ${partsSql})
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

    /** Can this be opened as far as a read can say, and has its key been used before? The statement that opens it judges. */
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

