/** What must hold of accounts, holds and postings, whatever they are for, in each asset. */
import type { RuleSet, Sums } from './rule.ts';

/** By account: what its postings add up to, less fees that are not folded yet, and what is left of its holds. */
export const accountSums: Sums = {
  name: 'audit_account', of: 'bigint', columns: ['available', 'pending', 'escrowed', 'held_pending', 'held_escrowed'],
  from: [
    { over: 'posting', sql: (within) => `
        SELECT account, coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0),
               coalesce(sum(amount) FILTER (WHERE bucket = 'pending'), 0),
               coalesce(sum(amount) FILTER (WHERE bucket = 'escrowed'), 0), 0, 0
          FROM (SELECT p.credit_account AS account, p.credit_bucket AS bucket, p.amount FROM posting p
                 WHERE ${within('p')} AND p.credit_account IS NOT NULL
                UNION ALL SELECT p.debit_account, p.debit_bucket, -p.amount FROM posting p
                 WHERE ${within('p')} AND p.debit_account IS NOT NULL) side GROUP BY account` },
    { over: 'unfolded_fee', sql: (within) =>
      `SELECT f.account_id, -sum(f.amount), 0, 0, 0, 0 FROM unfolded_fee f WHERE ${within('f')} GROUP BY f.account_id` },
    { over: 'hold', sql: (within) => `
        SELECT h.account_id, 0, 0, 0, coalesce(sum(h.amount - h.captured - h.released) FILTER (WHERE h.bucket = 'pending'), 0),
               coalesce(sum(h.amount - h.captured - h.released) FILTER (WHERE h.bucket = 'escrowed'), 0)
          FROM hold h WHERE ${within('h')} GROUP BY h.account_id` },
  ],
};

const assetSums: Sums = {
  name: 'audit_asset', of: 'text', columns: ['owned', 'net'],
  from: [
    { over: 'account', sql: (within) =>
      `SELECT a.asset, sum(a.available + a.pending + a.escrowed), 0 FROM account a WHERE ${within('a')} GROUP BY a.asset` },
    { over: 'unfolded_fee', sql: (within) =>
      `SELECT a.asset, sum(f.amount), 0 FROM unfolded_fee f JOIN account a ON a.id = f.account_id WHERE ${within('f')} GROUP BY a.asset` },
    { over: 'posting', sql: (within) => `
        SELECT p.asset, 0, sum(CASE WHEN p.debit_account IS NULL THEN p.amount WHEN p.credit_account IS NULL THEN -p.amount ELSE 0 END)
          FROM posting p WHERE ${within('p')} GROUP BY p.asset` },
  ],
};

const holdSums: Sums = {
  name: 'audit_hold', of: 'text', columns: ['held', 'captured', 'released'],
  from: [{ over: 'posting', sql: (within) => `
      SELECT p.hold_id, coalesce(sum(p.amount) FILTER (WHERE p.kind = 'hold'), 0),
             coalesce(sum(p.amount) FILTER (WHERE p.kind IN ('capture', 'fee')), 0),
             coalesce(sum(p.amount) FILTER (WHERE p.kind = 'release'), 0)
        FROM posting p WHERE ${within('p')} AND p.hold_id IS NOT NULL GROUP BY p.hold_id` }],
};

export const booksRules: RuleSet = {
  overdue: [],
  sums: [accountSums, assetSums, holdSums],
  rules: [
    {
      invariant: 'I1', sentence: 'everything owned equals what came in less what went out', over: 'audit_asset',
      sql: (within) => `SELECT s.of || ': owned ' || s.owned || ', came in less went out ' || s.net AS row FROM audit_asset s
                         WHERE ${within('s')} AND s.owned <> s.net`,
    },
    {
      invariant: 'I2', sentence: 'each account equals its postings', over: 'account', counts: 'ledgerMismatches',
      sql: (within) => `
        SELECT a.owner || ' ' || a.asset || ': row ' || concat_ws('/', a.available, a.pending, a.escrowed) || ', postings '
               || concat_ws('/', coalesce(s.available, 0), coalesce(s.pending, 0), coalesce(s.escrowed, 0)) AS row
          FROM account a LEFT JOIN audit_account s ON s.of = a.id
         WHERE ${within('a')} AND (a.available, a.pending, a.escrowed)
               IS DISTINCT FROM (coalesce(s.available, 0), coalesce(s.pending, 0), coalesce(s.escrowed, 0))`,
    },
    {
      invariant: 'I2', sentence: 'what an account has is what it took in less what it gave out',
      over: 'account', counts: 'ledgerMismatches',
      sql: (within) => `SELECT a.owner AS row FROM account a
                         WHERE ${within('a')} AND a.available + a.pending + a.escrowed <> a.total_in - a.total_out + a.credit_used`,
    },
    {
      invariant: 'I2', sentence: 'a posting moves money between accounts of its own asset, which are there', over: 'posting',
      sql: (within) => `
        SELECT p.kind || ' ' || p.ref AS row FROM posting p LEFT JOIN account d ON d.id = p.debit_account
          LEFT JOIN account c ON c.id = p.credit_account
         WHERE ${within('p')} AND ((p.debit_account IS NOT NULL AND d.asset IS DISTINCT FROM p.asset)
               OR (p.credit_account IS NOT NULL AND c.asset IS DISTINCT FROM p.asset))`,
    },
    {
      invariant: 'I3', sentence: 'nothing is negative', over: 'account',
      sql: (within) => `SELECT a.owner AS row FROM account a WHERE ${within('a')} AND least(a.available, a.pending, a.escrowed) < 0`,
    },
    {
      invariant: 'I6', sentence: 'pending and escrowed money equals what is left of the holds', over: 'account',
      sql: (within) => `
        SELECT a.owner AS row FROM account a LEFT JOIN audit_account s ON s.of = a.id
         WHERE ${within('a')} AND (a.pending <> coalesce(s.held_pending, 0) OR a.escrowed <> coalesce(s.held_escrowed, 0))`,
    },
    {
      invariant: 'I6', sentence: 'a hold set aside, paid and gave back what its postings say', over: 'hold',
      sql: (within) => `
        SELECT h.id AS row FROM hold h LEFT JOIN audit_hold s ON s.of = h.id
         WHERE ${within('h')} AND (h.amount, h.captured, h.released) IS DISTINCT FROM (s.held, s.captured, s.released)`,
    },
    {
      invariant: 'I13', sentence: 'each deposit has one event', over: 'posting',
      sql: (within) => `
        SELECT p.ref || ': ' || o.events AS row FROM posting p
          CROSS JOIN LATERAL (SELECT count(*) AS events FROM outbox e
                               WHERE e.ref = p.ref AND e.topic = 'deposit.credited' AND e.topic NOT LIKE 'call.%') o
         WHERE ${within('p')} AND p.kind = 'deposit' AND o.events <> 1`,
    },
  ],
};
