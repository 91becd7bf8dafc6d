/** Each account beside what its postings add up to, for the admin who wants to see the books account by account. */
import type pg from 'pg';
import { accountSums } from './audit/books.ts';
import { inSnapshot } from './audit/snapshot.ts';

/** Amounts in micros. `replay…` is the sum of the postings, `actual…` the account's row. */
export interface AccountReplay {
  readonly owner: string;
  readonly asset: string;
  readonly match: boolean;
  readonly replayAvailable: bigint;
  readonly replayPending: bigint;
  readonly replayEscrowed: bigint;
  readonly actualAvailable: bigint;
  readonly actualPending: bigint;
  readonly actualEscrowed: bigint;
}

interface ReplayRow { owner: string; asset: string; match: boolean; r_available: string; r_pending: string; r_escrowed: string;
  available: string; pending: string; escrowed: string }

// Fees are posted at once and added to the account later, by a job: the sums are without those that are still to come.
const replaySql = `
SELECT owner, asset, r_available, r_pending, r_escrowed, available, pending, escrowed, match
  FROM (SELECT a.owner, a.asset, a.available, a.pending, a.escrowed, coalesce(s.available, 0) AS r_available,
               coalesce(s.pending, 0) AS r_pending,
               coalesce(s.escrowed, 0) AS r_escrowed, (coalesce(s.available, 0), coalesce(s.pending, 0), coalesce(s.escrowed, 0))
               = (a.available, a.pending, a.escrowed) AS match
          FROM account a LEFT JOIN audit_account s ON s.of = a.id) both_views
 WHERE NOT ($1 AND match) ORDER BY match, owner, asset LIMIT $2`;

/**
 * Accounts and their replay, mismatches first. Reads every posting, in slices: for an admin, not for a dashboard. Errors: those of the
 * database.
 * @param onlyMismatches leave out accounts that are right.
 */
export async function replayAccounts(pool: pg.Pool,
    { onlyMismatches, limit }: { onlyMismatches: boolean; limit: number }): Promise<AccountReplay[]> {
  const rows = await inSnapshot(pool, {}, async ({ addUp, query }) => {
    await addUp([accountSums]);
    return query<ReplayRow>(replaySql, [onlyMismatches, limit]);
  });
  return rows.map((row) => ({
    owner: row.owner, asset: row.asset, match: row.match, replayAvailable: BigInt(row.r_available), replayPending: BigInt(row.r_pending),
    replayEscrowed: BigInt(row.r_escrowed),
    actualAvailable: BigInt(row.available), actualPending: BigInt(row.pending), actualEscrowed: BigInt(row.escrowed),
  }));
}
