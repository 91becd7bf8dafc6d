/** Each account beside what its postings add up to, for the admin who wants to see the books account by account. */
import { query, type Database } from './query.ts';

/** Amounts in micros. `replay…` is the sum of the postings, `actual…` the account's row. */
export interface AccountReplay {
  readonly owner: string;
  readonly match: boolean;
  readonly replayAvailable: bigint;
  readonly replayPending: bigint;
  readonly replayEscrowed: bigint;
  readonly actualAvailable: bigint;
  readonly actualPending: bigint;
  readonly actualEscrowed: bigint;
}

interface ReplayRow { owner: string; match: boolean; r_available: string; r_pending: string; r_escrowed: string; available: string;
  pending: string; escrowed: string }

// Fees are posted at once and added to the account later, by a job: until then they are part of what the account has.
const replaySql = `
WITH side AS (
  SELECT credit_account AS id, credit_bucket AS bucket, amount FROM posting WHERE credit_account IS NOT NULL
  UNION ALL SELECT debit_account, debit_bucket, -amount FROM posting WHERE debit_account IS NOT NULL),
replay AS (
  SELECT id, coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0)::bigint AS available,
         coalesce(sum(amount) FILTER (WHERE bucket = 'pending'), 0)::bigint AS pending,
         coalesce(sum(amount) FILTER (WHERE bucket = 'escrowed'), 0)::bigint AS escrowed FROM side GROUP BY id),
fees AS (SELECT account_id AS id, sum(amount)::bigint AS amount FROM unfolded_fee GROUP BY account_id),
both_views AS (
  SELECT a.owner, coalesce(r.available, 0) AS r_available, coalesce(r.pending, 0) AS r_pending, coalesce(r.escrowed, 0) AS r_escrowed,
         a.available + coalesce(f.amount, 0) AS available, a.pending, a.escrowed
    FROM account a LEFT JOIN replay r ON r.id = a.id LEFT JOIN fees f ON f.id = a.id)
SELECT owner, r_available, r_pending, r_escrowed, available, pending, escrowed,
       (r_available, r_pending, r_escrowed) = (available, pending, escrowed) AS match FROM both_views
 WHERE NOT $1 OR (r_available, r_pending, r_escrowed) <> (available, pending, escrowed) ORDER BY match, owner LIMIT $2`;

/**
 * Accounts and their replay, mismatches first. Reads every posting: for an admin, not for a dashboard. Errors: unavailable.
 * @param onlyMismatches leave out accounts that are right.
 */
export async function replayAccounts(db: Database,
    { onlyMismatches, limit }: { onlyMismatches: boolean; limit: number }): Promise<AccountReplay[]> {
  const rows = await query<ReplayRow>(db, { text: replaySql, values: [onlyMismatches, limit] });
  return rows.map((row) => ({
    owner: row.owner, match: row.match, replayAvailable: BigInt(row.r_available), replayPending: BigInt(row.r_pending),
    replayEscrowed: BigInt(row.r_escrowed),
    actualAvailable: BigInt(row.available), actualPending: BigInt(row.pending), actualEscrowed: BigInt(row.escrowed),
  }));
}
