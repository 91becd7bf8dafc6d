/** Settled payments between agents, as people ask for them: who paid whom how much for which service. Read from the postings. */
import type pg from 'pg';
import { DEFAULT_ASSET, micros, type Micros } from '../domain/money.ts';
import { columnList, query } from './query.ts';
import { NEWEST_ID } from './reads.ts';

export interface Payment {
  /** The payment's own id: of the call, the escrow, the step. */
  readonly ref: string;
  readonly postingId: string;
  readonly from: string;
  readonly to: string;
  readonly asset: string;
  /** Price in micros, fee included. */
  readonly amount: Micros;
  readonly serviceId: string | null;
  readonly serviceName: string | null;
  readonly serviceType: string | null;
  readonly reversed: boolean;
  readonly createdAt: Date;
}

/** A page of payments, newest first. */
export interface PaymentPage {
  readonly payments: readonly Payment[];
  /** The posting before which the next page begins; null on the last one. A page can be short, even empty, and not the last. */
  readonly next: string | null;
}

interface PaymentRow {
  id: string | null; ref: string; payer: string; payee: string; asset: string; amount: string; service_id: string | null;
  service_name: string | null; service_type: string | null; reversed: boolean; created_at: Date; read_to: string;
}

// A call knows its service by itself. Buyers of escrows and streams write what they like as its id: it counts where it is a service of who
// was paid. `read_to` is the posting down to which was searched, 0 for all; it is there without any payment, too.
const columns = `
SELECT p.id, p.ref, payer.owner AS payer, payee.owner AS payee, p.asset, (p.amount + coalesce(f.amount, 0))::bigint AS amount,
       coalesce(c.service_id, v.id) AS service_id, coalesce(c.service_name, v.name) AS service_name,
       coalesce(c.service_type, v.type) AS service_type, r.id IS NOT NULL AS reversed, p.created_at, s.read_to
  FROM searched s LEFT JOIN picked p ON true LEFT JOIN account payer ON payer.id = p.debit_account
  LEFT JOIN account payee ON payee.id = p.credit_account LEFT JOIN posting f ON f.ref = p.ref AND f.kind = 'fee'
  LEFT JOIN posting r ON r.reverses = p.id LEFT JOIN gateway_call c ON c.id = p.ref LEFT JOIN payment e ON e.id = p.ref
  LEFT JOIN service v ON v.id = e.terms ->> 'serviceId' AND v.agent_address = payee.owner
 ORDER BY p.id DESC`;
/** What {@link columns} needs of the postings that were picked. */
const posting = ['id', 'ref', 'asset', 'amount', 'debit_account', 'credit_account', 'created_at'];

/** $1 owner, $2 asset, $3 before, $4 how many, $5 how many postings of each side are looked through. */
const newestOf = (side: string): string => `
  SELECT id, kind FROM posting WHERE ${side} = (SELECT id FROM account WHERE owner = $1 AND asset = $2) AND id < $3
   ORDER BY id DESC LIMIT $5`;
const endOf = (side: string): string => `(SELECT min(id) FROM ${side} HAVING count(*) = $5)`;
const ofOwnerSql = {
  name: 'payments-of-owner',
  text: `
WITH paying AS (${newestOf('debit_account')}), paid AS (${newestOf('credit_account')}),
searched AS (SELECT coalesce(greatest(${endOf('paying')}, ${endOf('paid')}), 0) AS read_to),
picked AS (SELECT ${columnList(posting, 'p')} FROM (SELECT id, kind FROM paying UNION SELECT id, kind FROM paid) x
             JOIN posting p ON p.id = x.id
            WHERE x.kind = 'capture' AND x.id >= (SELECT read_to FROM searched) ORDER BY x.id DESC LIMIT $4)
${columns}`,
};

/** $1 and $5: the two; $2 asset, $3 before, $4 how many. Both ways by the index of pairs: nothing but what is shown is read. */
const between = (payer: string, payee: string): string => `
  (SELECT ${columnList(posting)} FROM posting
    WHERE kind = 'capture' AND debit_account = (SELECT id FROM account WHERE owner = ${payer} AND asset = $2)
      AND credit_account = (SELECT id FROM account WHERE owner = ${payee} AND asset = $2) AND id < $3
    ORDER BY id DESC LIMIT $4)`;
const betweenSql = {
  name: 'payments-between',
  text: `WITH both_ways AS (${between('$1', '$5')} UNION ${between('$5', '$1')}), searched AS (SELECT 0::bigint AS read_to),
picked AS (SELECT ${columnList(posting)} FROM both_ways ORDER BY id DESC LIMIT $4)
${columns}`,
};
/** $1 how many, $2 how many postings are looked through. */
const latestSql = {
  name: 'payments-latest',
  text: `WITH latest AS (SELECT ${columnList([...posting, 'kind'])} FROM posting ORDER BY id DESC LIMIT $2),
searched AS (SELECT 0::bigint AS read_to),
picked AS (SELECT ${columnList(posting)} FROM latest WHERE kind = 'capture' ORDER BY id DESC LIMIT $1)
${columns}`,
};

/** A payment has at most a hold, a capture, a fee and a release; reversals are rare. */
const POSTINGS_EACH = 6;
const POSTINGS_MIN = 600;

/** How many postings are looked through for so many payments. */
const searchLength = (limit: number): number => Math.max(POSTINGS_MIN, limit * POSTINGS_EACH);

function toPayments(rows: readonly PaymentRow[]): Payment[] {
  return rows.flatMap(({ id, ref, payer, payee, asset, amount, service_id: serviceId, service_name: serviceName,
    service_type: serviceType, reversed, created_at: createdAt }) => (id === null ? [] : [{
    ref, postingId: id, from: payer, to: payee, asset, amount: micros(amount), serviceId, serviceName, serviceType, reversed, createdAt,
  }]));
}

export interface PaymentQuery {
  /** Only those with this other agent, or null for all. */
  readonly counterparty: string | null;
  readonly limit: number;
  /** {@link PaymentPage.next} of the page before; left out for the first. */
  readonly before?: bigint;
  readonly asset?: string;
}

/** Payments an agent made or received, newest first. However many there are, little more is read than is shown. Errors: unavailable. */
export async function readPayments(pool: pg.Pool, owner: string,
    { counterparty, limit, before, asset = DEFAULT_ASSET }: PaymentQuery): Promise<PaymentPage> {
  const values = [owner, asset, before?.toString() ?? NEWEST_ID, limit + 1];
  const rows = await query<PaymentRow>(pool, counterparty === null ? { ...ofOwnerSql, values: [...values, searchLength(limit)] }
    : { ...betweenSql, values: [...values, counterparty] });
  const found = toPayments(rows);
  const payments = found.slice(0, limit);
  const readTo = rows[0]?.read_to ?? '0';
  const searchedOn = readTo === '0' ? null : readTo;
  return { payments, next: found.length > limit ? (payments.at(-1)?.postingId ?? null) : searchedOn };
}

/** The latest payments of everybody, newest first; for answers that do not say who paid. Errors: unavailable. */
export async function readLatestPayments(pool: pg.Pool, limit: number): Promise<Payment[]> {
  return toPayments(await query<PaymentRow>(pool, { ...latestSql, values: [limit, searchLength(limit)] }));
}
