/** What must hold of accounts, holds and postings, whatever they are for. */
import type { RuleSet } from './rule.ts';

export const booksRules: RuleSet = {
  overdue: null,
  rules: [
    {
      invariant: 'I1', sentence: 'everything owned equals what came in less what went out',
      sql: `SELECT a.asset || ': owned ' || a.owned || ', came in less went out ' || coalesce(p.net, 0) AS row
              FROM (SELECT asset, sum(available + pending + escrowed) + (SELECT coalesce(sum(amount), 0) FROM unfolded_fee) AS owned FROM account GROUP BY asset) a
              LEFT JOIN (SELECT asset, sum(CASE WHEN debit_account IS NULL THEN amount WHEN credit_account IS NULL THEN -amount ELSE 0 END) AS net FROM posting GROUP BY asset) p USING (asset)
             WHERE a.owned <> coalesce(p.net, 0)`,
    },
    {
      invariant: 'I2', sentence: 'each account equals its postings',
      sql: `SELECT a.owner || ' ' || a.asset || ': row ' || concat_ws('/', a.available, a.pending, a.escrowed) || ', postings ' || concat_ws('/', coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.escrowed, 0)) AS row
              FROM account a
              LEFT JOIN (SELECT account, sum(amount) FILTER (WHERE bucket = 'available') AS available, sum(amount) FILTER (WHERE bucket = 'pending') AS pending,
                                sum(amount) FILTER (WHERE bucket = 'escrowed') AS escrowed
                           FROM (SELECT credit_account AS account, credit_bucket AS bucket, amount FROM posting WHERE credit_account IS NOT NULL
                                 UNION ALL SELECT debit_account, debit_bucket, -amount FROM posting WHERE debit_account IS NOT NULL
                                 UNION ALL SELECT account_id, 'available', -amount FROM unfolded_fee) side GROUP BY account) p ON p.account = a.id
             WHERE (a.available, a.pending, a.escrowed) IS DISTINCT FROM (coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.escrowed, 0))`,
    },
    {
      invariant: 'I2', sentence: 'what an account has is what it took in less what it gave out',
      sql: `SELECT owner AS row FROM account WHERE available + pending + escrowed <> total_in - total_out + credit_used`,
    },
    {
      invariant: 'I3', sentence: 'nothing is negative',
      sql: `SELECT owner AS row FROM account WHERE least(available, pending, escrowed) < 0`,
    },
    {
      invariant: 'I6', sentence: 'pending and escrowed money equals what is left of the holds',
      sql: `SELECT a.owner AS row FROM account a
              LEFT JOIN (SELECT account_id, sum(amount - captured - released) FILTER (WHERE bucket = 'pending') AS pending,
                                sum(amount - captured - released) FILTER (WHERE bucket = 'escrowed') AS escrowed FROM hold GROUP BY account_id) h ON h.account_id = a.id
             WHERE a.pending <> coalesce(h.pending, 0) OR a.escrowed <> coalesce(h.escrowed, 0)`,
    },
    {
      invariant: 'I13', sentence: 'each deposit has one event',
      sql: `SELECT p.ref || ': ' || count(o.id) AS row FROM posting p LEFT JOIN outbox o ON o.ref = p.ref AND o.topic = 'deposit.credited' AND o.topic NOT LIKE 'call.%'
             WHERE p.kind = 'deposit' GROUP BY p.ref HAVING count(o.id) <> 1`,
    },
  ],
};
