/** What must hold of the parts of payments, such as the steps of multistep escrows; the payments themselves are in payment.ts. */
import { partRef } from './payment.ts';
import type { RuleSet } from './rule.ts';

/** The parts of each payment, added up once. */
const partSums = `SELECT payment_id, count(*) AS parts, max(part_index) AS last, sum(amount)::bigint AS planned, count(paid_at) AS done,
                         coalesce(sum(amount) FILTER (WHERE paid_at IS NOT NULL), 0)::bigint AS paid FROM payment_part GROUP BY payment_id`;
const parts = `payment_part q LEFT JOIN posting x ON x.ref = ${partRef('q')} AND x.kind = 'capture'`;
/** How often each amount went to each payee: by the events of a payment, and by its parts. */
const byEvents = `SELECT e.payment_id, e.payee, e.paid, count(*) FROM payment_event e JOIN payment p ON p.id = e.payment_id
                   WHERE p.parts > 0 AND e.paid > 0 GROUP BY 1, 2, 3`;
const byParts = `SELECT payment_id, payee, amount, count(*) FROM payment_part WHERE paid_at IS NOT NULL GROUP BY 1, 2, 3`;

export const multistepRules: RuleSet = {
  // As for every payment on the engine.
  overdue: null,
  rules: [
    {
      invariant: 'I4', sentence: 'a part that was paid has one capture, any other part has none',
      sql: `SELECT ${partRef('q')} AS row FROM ${parts} WHERE (q.paid_at IS NOT NULL) <> (x.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'the capture of a part is what was planned for it',
      sql: `SELECT ${partRef('q')} AS row FROM ${parts} WHERE x.amount <> q.amount`,
    },
    {
      invariant: 'I6', sentence: 'the money of a multistep escrow waits in escrow',
      sql: `SELECT p.id AS row FROM payment p JOIN hold h ON h.id = p.id WHERE p.kind = 'multistep' AND h.bucket <> 'escrowed'`,
    },
    {
      invariant: 'I11', sentence: 'the parts of a payment are all there, add up to what it held, and those that are done to what it paid',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN (${partSums}) s ON s.payment_id = p.id
             WHERE (p.parts > 0 OR p.kind = 'multistep')
               AND (s.parts, s.last + 1, s.planned, s.paid) IS DISTINCT FROM (p.parts::bigint, p.parts, p.held, p.paid)`,
    },
    {
      invariant: 'I11', sentence: 'a multistep escrow is completed exactly when all of its parts are paid, aborted when a rest came back',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN (${partSums}) s ON s.payment_id = p.id
             WHERE p.kind = 'multistep' AND ((p.state = 'completed') IS DISTINCT FROM (s.done = s.parts)
                OR (p.state = 'aborted') <> (p.returned > 0))`,
    },
    {
      invariant: 'I13', sentence: 'each part that was paid has one event, with its payee and its amount',
      sql: `SELECT d.payment_id AS row FROM ((${byEvents} EXCEPT ${byParts}) UNION (${byParts} EXCEPT ${byEvents})) d`,
    },
  ],
};
