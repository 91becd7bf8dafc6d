/** Settled payments between agents, as people ask for them: who paid whom how much for which service. Read from the postings. */
import type pg from 'pg';
import { micros, type Micros } from '../domain/money.ts';
import { columnList, query } from './query.ts';

export interface Payment {
  /** The payment's own id: of the call, the escrow, the step. */
  readonly ref: string;
  readonly postingId: string;
  readonly from: string;
  readonly to: string;
  /** Price in micros, fee included. */
  readonly amount: Micros;
  readonly serviceId: string | null;
  readonly serviceName: string | null;
  readonly serviceType: string | null;
  readonly reversed: boolean;
  readonly createdAt: Date;
}

interface PaymentRow {
  id: string; ref: string; payer: string; payee: string; amount: string; service_id: string | null; service_name: string | null;
  service_type: string | null;
  reversed: boolean; created_at: Date;
}

// A call knows its service by itself. Buyers of escrows and streams write what they like as its id: it counts where it is a service of who
// was paid.
const columns = `
SELECT p.id, p.ref, payer.owner AS payer, payee.owner AS payee, (p.amount + coalesce(f.amount, 0))::bigint AS amount, coalesce(c.service_id, v.id) AS service_id,
       coalesce(c.service_name, v.name) AS service_name, coalesce(c.service_type, v.type) AS service_type, r.id IS NOT NULL AS reversed, p.created_at
  FROM picked p JOIN account payer ON payer.id = p.debit_account JOIN account payee ON payee.id = p.credit_account
  LEFT JOIN posting f ON f.ref = p.ref AND f.kind = 'fee' LEFT JOIN posting r ON r.reverses = p.id LEFT JOIN gateway_call c ON c.id = p.ref
  LEFT JOIN payment e ON e.id = p.ref LEFT JOIN service v ON v.id = e.terms ->> 'serviceId' AND v.agent_address = payee.owner
 ORDER BY p.id DESC`;
/** What {@link columns} needs of the postings that were picked. */
const posting = ['id', 'ref', 'amount', 'debit_account', 'credit_account', 'created_at'];
const side = (column: string): string => `
  SELECT ${columnList(posting, 'p')} FROM posting p
   WHERE p.${column} = (SELECT id FROM account WHERE owner = $1 AND asset = 'USDC') AND p.kind = 'capture'
     AND ($2::text IS NULL OR (p.debit_account, p.credit_account) IN (SELECT x.id, y.id FROM account x, account y WHERE (x.owner, y.owner) IN (($1, $2), ($2, $1)) AND x.asset = 'USDC' AND y.asset = 'USDC'))
   ORDER BY p.id DESC LIMIT $3`;

const ofOwnerSql = {
  name: 'payments-of-owner',
  text: `WITH both_sides AS ((${side('debit_account')}) UNION (${side('credit_account')})),
picked AS (SELECT ${columnList(posting)} FROM both_sides ORDER BY id DESC LIMIT $3) ${columns}`,
};
const latestSql = {
  name: 'payments-latest',
  text: `WITH picked AS (SELECT ${columnList(posting)} FROM posting WHERE kind = 'capture' ORDER BY id DESC LIMIT $1) ${columns}`,
};

function toPayment(row: PaymentRow): Payment {
  return {
    ref: row.ref, postingId: row.id, from: row.payer, to: row.payee, amount: micros(row.amount), serviceId: row.service_id,
    serviceName: row.service_name,
    serviceType: row.service_type, reversed: row.reversed, createdAt: row.created_at,
  };
}

/**
 * Payments an agent made or received, newest first. Errors: unavailable.
 * @param counterparty only those with this other agent, or null for all.
 */
export async function readPayments(pool: pg.Pool, owner: string,
    { counterparty, limit }: { counterparty: string | null; limit: number }): Promise<Payment[]> {
  const rows = await query<PaymentRow>(pool, { ...ofOwnerSql, values: [owner, counterparty, limit] });
  return rows.map(toPayment);
}

/** The latest payments of everybody, newest first; for answers that do not say who paid. Errors: unavailable. */
export async function readLatestPayments(pool: pg.Pool, limit: number): Promise<Payment[]> {
  const rows = await query<PaymentRow>(pool, { ...latestSql, values: [limit] });
  return rows.map(toPayment);
}
