/** The ledger's SQL functions, called as they are: holds, captures, releases, and what they refuse. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { aDeposit, anAddress, platformAddress } from './builders.ts';
import { usdc } from './market.ts';

export const aRef = (): string => `ref_${randomBytes(6).toString('hex')}`;

/** The message of what went wrong. */
export async function fails(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'did not fail', (error: Error) => error.message);
}

export interface Capture {
  readonly hold: string;
  /** The hold's own id when left out. */
  readonly payment?: string;
  readonly ref?: string;
  readonly payee: string;
  readonly amount: bigint;
  readonly fee?: bigint;
}

/** The functions on one database. */
export function ledgerOn(db: () => { readonly pool: pg.Pool }, asset = 'USDC') {
  const query = <Row extends pg.QueryResultRow>(text: string, values: unknown[]) => db().pool.query<Row>(text, values);
  const hold = (id: string, owner: string, amount: bigint, bucket = 'pending') =>
    query('SELECT ledger_hold($1, $2, $3, $4, $5, NULL)', [id, owner, asset, amount.toString(), bucket]);
  const amountOf = async (text: string, values: unknown[], absent: number): Promise<bigint> =>
    BigInt((await query<{ amount: string }>(text, values)).rows[0]?.amount ?? absent);
  return {
    hold,
    /** A buyer with money, some of it held. @returns the hold. */
    async aHold(amount = '1.00', { owner = anAddress(), bucket = 'pending', funds = amount }: { owner?: string; bucket?: string;
      funds?: string } = {}): Promise<{ id: string; owner: string }> {
      const id = aRef();
      await aDeposit(db().pool, owner, funds, asset);
      await hold(id, owner, usdc(amount), bucket);
      return { id, owner };
    },
    capture: (...entries: readonly Capture[]) => query('SELECT ledger_capture($1, $2, $3, $4, $5, $6, $7)', [
      entries.map((entry) => entry.hold), entries.map((entry) => entry.payment ?? entry.hold), entries.map((entry) => entry.ref ?? aRef()),
      entries.map((entry) => entry.payee), entries.map((entry) => entry.amount.toString()),
      entries.map((entry) => (entry.fee ?? 0n).toString()), platformAddress,
    ]),
    release: (id: string, ref: string, amount: bigint) =>
      query('SELECT ledger_release(ARRAY[$1], ARRAY[$1], ARRAY[$2], ARRAY[$3::bigint])', [id, ref, amount.toString()]),
    close: (id: string, keep = 0n) => amountOf('SELECT ledger_close_hold($1, $2) AS amount', [id, keep.toString()], -1),
    escrowed: (owner: string) => amountOf('SELECT escrowed AS amount FROM account WHERE owner = $1 AND asset = $2', [owner, asset], 0),
    fold: () => query('SELECT ledger_fold_fees(100000)', []),
  };
}
