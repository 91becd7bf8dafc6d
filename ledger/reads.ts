/**
 * What an owner may see of the books: balances now and at any moment before, and the ledger as a list of entries. A posting has two
 * sides; an entry is one side of it, under the name that clients know (contract alancoin-payments 4.2).
 */
import type pg from 'pg';
import { DEFAULT_ASSET, micros, type Micros } from '../domain/money.ts';
import { query } from './query.ts';

/** All amounts in micros of the asset. */
export interface Balance {
  readonly owner: string;
  readonly asset: string;
  readonly available: Micros;
  /** Held for payments under way. */
  readonly pending: Micros;
  /** Locked in escrows. */
  readonly escrowed: Micros;
  readonly creditLimit: Micros;
  readonly creditUsed: Micros;
  readonly totalIn: Micros;
  readonly totalOut: Micros;
  /** Null for an owner whom the books do not know. */
  readonly updatedAt: Date | null;
}

export const entryTypes = [
  'deposit', 'withdrawal', 'hold', 'release', 'spend', 'settle_hold_in', 'escrow_lock', 'escrow_release', 'escrow_receive', 'escrow_refund',
  'platform_fee', 'transfer_out', 'transfer_in',
] as const;
export type EntryType = (typeof entryTypes)[number] | `reversal_${(typeof entryTypes)[number]}`;

/** One side of a posting. The amount is always positive; the direction lies in the type. */
export interface LedgerEntry {
  /** `entry_<posting>`; what a reversal asks for. */
  readonly id: string;
  readonly type: EntryType;
  readonly asset: string;
  readonly amount: Micros;
  /** For deposits: the transaction on the chain. */
  readonly txHash: string | null;
  /** The payment this belongs to. */
  readonly reference: string;
  readonly description: string;
  readonly reversedAt: Date | null;
  readonly reversedBy: string | null;
  readonly reversalOf: string | null;
  readonly createdAt: Date;
}

/** A posting as the table holds it, with the sides of what it reverses. */
export interface PostingRow {
  readonly id: string;
  readonly ref: string;
  readonly kind: string;
  readonly asset: string;
  readonly debit_account: string | null;
  readonly debit_bucket: string | null;
  readonly credit_account: string | null;
  readonly credit_bucket: string | null;
  readonly amount: string;
  readonly note: string | null;
  readonly created_at: Date;
  readonly reverses: string | null;
  readonly reversed_by: string | null;
  readonly reversed_at: Date | null;
  /** Kind and payer's bucket of the posting that this one reverses. */
  readonly original_kind: string | null;
  readonly original_bucket: string | null;
}

type Side = 'payer' | 'payee' | 'self';

/** Which name a side of a posting has. `bucket` is where the money was held: the payer's for a capture, the target for a hold. */
export function entryType(kind: string, side: Side, bucket: string | null): EntryType {
  const escrow = bucket === 'escrowed';
  switch (kind) {
    case 'deposit': return 'deposit';
    case 'withdrawal': return 'withdrawal';
    case 'hold': return escrow ? 'escrow_lock' : 'hold';
    case 'release': return escrow ? 'escrow_refund' : 'release';
    case 'fee':
    case 'capture':
      // To the payer a fee is part of the price; only the platform sees it as a fee.
      if (side === 'payer') return escrow ? 'escrow_release' : 'spend';
      if (kind === 'fee') return 'platform_fee';
      return escrow ? 'escrow_receive' : 'settle_hold_in';
    default: return side === 'payee' ? 'transfer_in' : 'transfer_out';
  }
}

const descriptions: Readonly<Record<string, string>> = {
  deposit: 'deposit', withdrawal: 'withdrawal', hold: 'held for a payment', release: 'given back from a hold',
  spend: 'paid from a hold', settle_hold_in: 'earned',
  escrow_lock: 'locked in escrow', escrow_release: 'paid out of escrow', escrow_receive: 'earned from escrow',
  escrow_refund: 'given back from escrow',
  platform_fee: 'platform fee', transfer_out: 'paid', transfer_in: 'received',
};

/** The posting as the given account sees it; every posting an account takes part in is exactly one entry to it. */
export function toEntry(row: PostingRow, accountId: string): LedgerEntry {
  const paying = row.debit_account === accountId;
  const side: Side = row.debit_account === row.credit_account ? 'self' : paying ? 'payer' : 'payee';
  const base = { asset: row.asset, amount: micros(row.amount), createdAt: row.created_at, id: `entry_${row.id}`, reference: row.ref };
  if (row.kind === 'reversal') {
    // The money runs backwards: whoever pays now is the one who received then.
    const type = entryType(row.original_kind ?? 'transfer', paying ? 'payee' : 'payer', row.original_bucket);
    return {
      ...base, type: `reversal_${type}` as EntryType, txHash: null, description: row.note ?? 'reversal', reversedAt: null, reversedBy: null,
      reversalOf: row.reverses === null ? null : `entry_${row.reverses}`,
    };
  }
  const type = entryType(row.kind, side, row.kind === 'hold' ? row.credit_bucket : row.debit_bucket);
  const description = row.kind === 'fee' && side === 'payer' ? 'platform fee, part of the price' : (descriptions[type] ?? type);
  return {
    ...base, type, txHash: row.kind === 'deposit' ? row.ref : null, description: row.note ?? description, reversedAt: row.reversed_at,
    reversedBy: row.reversed_by === null ? null : `entry_${row.reversed_by}`, reversalOf: null,
  };
}

interface BalanceRow {
  id: string; available: string; pending: string; escrowed: string; credit_limit: string; credit_used: string; total_in: string;
  total_out: string; updated_at: Date | null;
}
const zeroRow: BalanceRow = { id: '0', available: '0', pending: '0', escrowed: '0', credit_limit: '0', credit_used: '0', total_in: '0',
  total_out: '0', updated_at: null };

function toBalance(owner: string, asset: string, row: BalanceRow): Balance {
  return {
    owner, asset, available: micros(row.available), pending: micros(row.pending), escrowed: micros(row.escrowed),
    creditLimit: micros(row.credit_limit),
    creditUsed: micros(row.credit_used), totalIn: micros(row.total_in), totalOut: micros(row.total_out), updatedAt: row.updated_at,
  };
}

const balanceSql = {
  name: 'ledger-balance',
  text: `SELECT id, available, pending, escrowed, credit_limit, credit_used, total_in, total_out, updated_at FROM account
          WHERE owner = $1 AND asset = $2`,
};

/** The owner's balance now; zeros for an owner whom the books do not know. Errors: unavailable. */
export async function readBalance(pool: pg.Pool, owner: string, asset: string = DEFAULT_ASSET): Promise<Balance> {
  const rows = await query<BalanceRow>(pool, { ...balanceSql, values: [owner, asset] });
  return toBalance(owner, asset, rows[0] ?? zeroRow);
}

// A time on the wire has milliseconds, a row microseconds: the millisecond that is named belongs to the answer as a whole.
const balanceAtSql = {
  name: 'ledger-balance-at',
  text: `SELECT id, available, pending, escrowed, credit_limit, credit_used, total_in, total_out, updated_at
           FROM ledger_balance_at($1, $2, $3::timestamptz + interval '1 millisecond', $4)`,
};
/** How many postings of one side are read for a balance of the past: about half a second's work. */
const POSTINGS_MAX = 200_000;

/**
 * The owner's balance as it was at a moment: that of now without what came later, or what came before, whichever is little enough to
 * read. Errors: range_too_large, unavailable.
 */
export async function readBalanceAt(pool: pg.Pool, owner: string, at: Date, asset: string = DEFAULT_ASSET,
    postingsMax = POSTINGS_MAX): Promise<Balance> {
  const rows = await query<BalanceRow>(pool, { ...balanceAtSql, values: [owner, asset, at, postingsMax] });
  return toBalance(owner, asset, rows[0] ?? zeroRow);
}

const entriesSql = {
  name: 'ledger-entries',
  text: `
WITH a AS (SELECT id FROM account WHERE owner = $1 AND asset = $2),
ids AS (
  (SELECT p.id FROM posting p WHERE p.debit_account = (SELECT id FROM a) AND p.id < $3 ORDER BY p.id DESC LIMIT $4)
  UNION
  (SELECT p.id FROM posting p WHERE p.credit_account = (SELECT id FROM a) AND p.id < $3 ORDER BY p.id DESC LIMIT $4))
SELECT (SELECT id FROM a) AS account_id, p.id, p.ref, p.kind, p.asset, p.debit_account, p.debit_bucket, p.credit_account,
       p.credit_bucket, p.amount, p.note, p.created_at, p.reverses, o.kind AS original_kind, o.debit_bucket AS original_bucket,
       r.id AS reversed_by,
       r.created_at AS reversed_at
  FROM (SELECT id FROM ids ORDER BY id DESC LIMIT $4) i JOIN posting p ON p.id = i.id
  LEFT JOIN posting r ON r.reverses = p.id LEFT JOIN posting o ON o.id = p.reverses
 ORDER BY p.id DESC`,
};
/** Above every id: a page that begins with the newest. */
export const NEWEST_ID = '9223372036854775807';

/**
 * A page of the owner's entries, newest first. Errors: unavailable.
 * @param before entry id after which the page goes on, or null for the first page.
 */
export async function readEntries(pool: pg.Pool, owner: string,
    { limit, before, asset = DEFAULT_ASSET }: { limit: number; before: bigint | null; asset?: string }): Promise<{ entries: LedgerEntry[];
    more: boolean }> {
  const values = [owner, asset, before?.toString() ?? NEWEST_ID, limit + 1];
  const rows = await query<PostingRow & { account_id: string }>(pool, { ...entriesSql, values });
  return { entries: rows.slice(0, limit).map((row) => toEntry(row, row.account_id)), more: rows.length > limit };
}

/** The number of the posting behind an entry id such as `entry_17`, or null when the text is no entry id. */
export function postingOf(entryId: string): bigint | null {
  const digits = /^(?:entry_)?([1-9][0-9]{0,18})$/.exec(entryId)?.[1];
  return digits === undefined || BigInt(digits) > BigInt(NEWEST_ID) ? null : BigInt(digits);
}
