/** What must hold of the parts of payments, such as the steps of multistep escrows; the payments themselves are in payment.ts. */
import type { RuleSet } from './rule.ts';

const partRef = `q.payment_id || ':part:' || q.part_index`;
const captured = `payment_part q LEFT JOIN posting x ON x.ref = ${partRef} AND x.kind = 'capture'`;
/** The parts of a payment, added up. */
const parts = `
  LATERAL (SELECT count(*) AS parts, coalesce(max(q.part_index) + 1, 0) AS after, coalesce(sum(q.amount), 0)::bigint AS planned,
                  count(q.paid_at) AS done, coalesce(sum(q.amount) FILTER (WHERE q.paid_at IS NOT NULL), 0)::bigint AS paid
             FROM payment_part q WHERE q.payment_id = p.id) s`;
/** How often each amount went to each payee: by the events of a payment, and by its parts. */
const byEvents = `SELECT e.payee, e.paid, count(*) FROM payment_event e WHERE e.payment_id = p.id AND e.paid > 0 GROUP BY 1, 2`;
const byParts = `SELECT q.payee, q.amount, count(*) FROM payment_part q WHERE q.payment_id = p.id AND q.paid_at IS NOT NULL GROUP BY 1, 2`;

export const multistepRules: RuleSet = {
  // As for every payment on the engine.
  overdue: [],
  rules: [
    {
      invariant: 'I4', sentence: 'a part that was paid has one capture, any other part has none', over: 'payment_part',
      sql: (within) => `SELECT ${partRef} AS row FROM ${captured} WHERE ${within('q')} AND (q.paid_at IS NOT NULL) <> (x.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'the capture of a part is what was planned for it', over: 'payment_part',
      sql: (within) => `SELECT ${partRef} AS row FROM ${captured} WHERE ${within('q')} AND x.amount <> q.amount`,
    },
    {
      invariant: 'I6', sentence: 'the money of a multistep escrow waits in escrow', over: 'payment',
      sql: (within) => `SELECT p.id AS row FROM payment p JOIN hold h ON h.id = p.id
                         WHERE ${within('p')} AND p.kind = 'multistep' AND h.bucket <> 'escrowed'`,
    },
    {
      invariant: 'I11', sentence: 'the parts of a payment are all there, add up to what it held, and those that are done to what it paid',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p CROSS JOIN ${parts}
         WHERE ${within('p')} AND (p.parts > 0 OR p.kind = 'multistep')
           AND (s.parts, s.after, s.planned, s.paid) IS DISTINCT FROM (p.parts::bigint, p.parts, p.held, p.paid)`,
    },
    {
      invariant: 'I11', sentence: 'a multistep escrow is completed exactly when all of its parts are paid, aborted when a rest came back',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p CROSS JOIN ${parts}
         WHERE ${within('p')} AND p.kind = 'multistep'
           AND ((p.state = 'completed') IS DISTINCT FROM (s.done = s.parts) OR (p.state = 'aborted') <> (p.returned > 0))`,
    },
    {
      invariant: 'I13', sentence: 'each part that was paid has one event, with its payee and its amount', over: 'payment',
      sql: (within) => `
        SELECT p.id AS row FROM payment p WHERE ${within('p')} AND p.parts > 0
           AND EXISTS ((${byEvents} EXCEPT ${byParts}) UNION ALL (${byParts} EXCEPT ${byEvents}))`,
    },
  ],
};
