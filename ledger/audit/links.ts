/** What must hold between the ledger and that which its money is for: nothing moved or is held that no payment explains. */
import type { RuleSet } from './rule.ts';

/** One of the conditions; none: nothing explains it. */
const anyOf = (conditions: readonly string[]): string => `(${['false', ...conditions].join(' OR ')})`;

/** @param shapes that can explain postings and holds. */
export function linkRules(shapes: readonly RuleSet[]): RuleSet {
  const explained = anyOf(shapes.flatMap(({ explains }) => (explains === undefined ? [] : [explains('p')])));
  const kept = anyOf(shapes.flatMap(({ keeps }) => (keeps === undefined ? [] : [keeps('h')])));
  return {
    overdue: [],
    rules: [
      {
        invariant: 'I15', sentence: 'every posting belongs to a payment that explains it', over: 'posting',
        sql: (within) => `
          SELECT p.kind || ' ' || p.ref AS row FROM posting p
           WHERE ${within('p')} AND p.kind NOT IN ('deposit', 'reversal') AND NOT (
                 EXISTS (SELECT FROM hold h WHERE h.id = p.hold_id AND h.account_id = p.debit_account AND h.asset = p.asset)
                 AND ${explained})`,
      },
      {
        invariant: 'I15', sentence: 'every fee has the capture that it is part of', over: 'posting',
        sql: (within) => `
          SELECT p.ref AS row FROM posting p
           WHERE ${within('p')} AND p.kind = 'fee' AND NOT EXISTS (
                 SELECT FROM posting c WHERE c.ref = p.ref AND c.kind = 'capture'
                    AND (c.payment_id, c.hold_id, c.debit_account) = (p.payment_id, p.hold_id, p.debit_account))`,
      },
      {
        invariant: 'I15', sentence: 'a deposit is for no payment, and a reversal is the very opposite of a deposit, a capture or its fee',
        over: 'posting',
        sql: (within) => `
          SELECT p.kind || ' ' || p.ref AS row FROM posting p LEFT JOIN posting o ON o.id = p.reverses
           WHERE ${within('p')} AND CASE p.kind WHEN 'deposit' THEN p.payment_id IS NOT NULL OR p.debit_account IS NOT NULL
             WHEN 'reversal' THEN coalesce(o.kind, '') NOT IN ('deposit', 'capture', 'fee')
               OR (p.debit_account, p.credit_account, p.amount, p.asset, p.payment_id, p.hold_id)
                  IS DISTINCT FROM (o.credit_account, o.debit_account, o.amount, o.asset, o.payment_id, o.hold_id) ELSE false END`,
      },
      {
        invariant: 'I15', sentence: 'a payment that was taken back was taken back with its fee', over: 'posting',
        sql: (within) => `
          SELECT o.ref AS row FROM posting p JOIN posting o ON o.id = p.reverses JOIN posting f ON f.ref = o.ref AND f.kind = 'fee'
           WHERE ${within('p')} AND p.kind = 'reversal' AND o.kind = 'capture'
             AND NOT EXISTS (SELECT FROM posting r WHERE r.reverses = f.id)`,
      },
      {
        invariant: 'I16', sentence: 'every hold belongs to a payment, and every open one to an open payment', over: 'hold',
        counts: 'orphanedHolds', sql: (within) => `SELECT h.id AS row FROM hold h WHERE ${within('h')} AND NOT ${kept}`,
      },
    ],
  };
}
