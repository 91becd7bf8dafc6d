/** What must hold of escrows. */
import type { RuleSet } from './rule.ts';

export const escrowRules: RuleSet = {
  // Every state but the last has a deadline, at which the clock decides without anybody.
  overdue: (before) => `SELECT id AS row FROM escrow WHERE deadline < ${before}`,
  rules: [
    {
      invariant: 'I4', sentence: 'an escrow was held once, by its buyer, for its whole amount',
      sql: `SELECT e.id AS row FROM escrow e LEFT JOIN posting p ON p.ref = e.id AND p.kind = 'hold' LEFT JOIN account a ON a.id = p.debit_account
             WHERE p.amount IS DISTINCT FROM e.amount OR a.owner IS DISTINCT FROM e.buyer`,
    },
    {
      invariant: 'I4', sentence: 'an escrow has a capture only when something was released, and gave back only when something was refunded',
      sql: `SELECT e.id || ' is ' || e.status AS row FROM escrow e LEFT JOIN posting c ON c.ref = e.id AND c.kind = 'capture' LEFT JOIN posting r ON r.ref = e.id AND r.kind = 'release'
             WHERE (e.released > 0) <> (c.id IS NOT NULL) OR (e.refunded > 0) <> (r.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'what an escrow released reached its seller and what it refunded reached its buyer',
      sql: `SELECT e.id AS row FROM escrow e JOIN posting p ON p.ref = e.id AND p.kind IN ('capture', 'release') JOIN account a ON a.id = p.credit_account
             WHERE p.amount <> CASE p.kind WHEN 'capture' THEN e.released ELSE e.refunded END OR a.owner <> CASE p.kind WHEN 'capture' THEN e.seller ELSE e.buyer END`,
    },
    {
      invariant: 'I6', sentence: 'the hold of an escrow keeps all of it until the end and nothing afterwards',
      sql: `SELECT e.id AS row FROM escrow e LEFT JOIN hold h ON h.id = e.id
             WHERE h.id IS NULL OR h.bucket <> 'escrowed' OR h.amount <> e.amount OR h.captured <> e.released OR h.released <> e.refunded OR (h.closed_at IS NULL) <> (e.deadline IS NOT NULL)`,
    },
    {
      invariant: 'I11', sentence: 'what an escrow locked is released or refunded at its end, and nothing of it before',
      sql: `SELECT id || ' is ' || status AS row FROM escrow WHERE released + refunded <> CASE WHEN status IN ('released', 'refunded') THEN amount ELSE 0 END
                OR (status = 'released') <> (released > 0)`,
    },
    {
      invariant: 'I13', sentence: 'each change of an escrow has one event, and the last of them names its state',
      sql: `SELECT e.id || ' is ' || e.status || ', version ' || e.version || ', events ' || count(o.id) AS row
              FROM escrow e LEFT JOIN outbox o ON o.ref = e.id AND o.topic LIKE 'escrow.%' AND o.topic <> 'escrow.evidence' AND o.topic NOT LIKE 'call.%'
             GROUP BY e.id HAVING count(o.id) <> e.version
                OR (array_agg(o.topic ORDER BY o.id DESC))[1] IS DISTINCT FROM 'escrow.' || CASE e.status WHEN 'pending' THEN 'created' ELSE e.status END`,
    },
    {
      invariant: 'I13', sentence: 'each piece of evidence has one event, the reason of the dispute being told with the dispute',
      sql: `SELECT e.id AS row FROM escrow e
              LEFT JOIN (SELECT escrow_id, count(*) AS pieces FROM escrow_evidence GROUP BY escrow_id) n ON n.escrow_id = e.id
              LEFT JOIN (SELECT ref, count(*) AS events FROM outbox WHERE topic = 'escrow.evidence' GROUP BY ref) o ON o.ref = e.id
             WHERE coalesce(n.pieces, 0) <> coalesce(o.events, 0) + CASE WHEN e.dispute_reason IS NULL THEN 0 ELSE 1 END`,
    },
  ],
};
