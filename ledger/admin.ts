/** The two movements an admin makes by hand. Each is one SQL function, guarded there. */
import type { Asset, Micros } from '../domain/money.ts';
import { query, type Database } from './query.ts';

export interface Deposit {
  /** Lower-case address; it need not be registered. */
  readonly owner: string;
  readonly asset: Asset;
  readonly amountMicros: Micros;
  /** Makes the deposit unique. */
  readonly txHash: string;
  readonly note?: string;
}

/** Credits money that arrived from outside. @returns the id of the posting, as digits. Errors: duplicate_deposit, unavailable. */
export async function deposit(db: Database, { owner, asset, amountMicros, txHash, note }: Deposit): Promise<string> {
  const sql = { name: 'ledger-deposit', text: 'SELECT ledger_deposit($1, $2, $3, $4, $5) AS id',
    values: [owner, asset, amountMicros.toString(), txHash, note ?? null] };
  const rows = await query<{ id: string }>(db, sql);
  return rows[0]?.id ?? '';
}

/**
 * Takes a posting back on both sides; of a payment its fee as well, by a posting of its own. @returns the id of the new posting, as digits.
 * Errors: entry_not_found, already_reversed, not_reversible, insufficient_balance, fee_not_covered, unavailable.
 */
export async function reverse(db: Database, postingId: bigint, note: string): Promise<string> {
  const sql = { name: 'ledger-reverse', text: 'SELECT ledger_reverse($1, $2) AS id', values: [postingId.toString(), note] };
  const rows = await query<{ id: string }>(db, sql);
  return rows[0]?.id ?? '';
}
