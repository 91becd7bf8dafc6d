/** What must hold of payments on the engine, whatever their kind. Their rules are in domain/; here only the books are asked. */
import type { RuleSet } from './rule.ts';

/** The payment that a posting is of: the refs of parts, and of what was held later, begin with its id. */
const payment = (ref: string): string => `split_part(${ref}, ':', 1)`;

/** What the events of each payment add up to. */
const moved = `SELECT payment_id, count(*) AS events, max(version) AS last, sum(held)::bigint AS held, sum(paid)::bigint AS paid, sum(returned)::bigint AS returned,
                      (array_agg(state ORDER BY version DESC))[1] AS state FROM payment_event GROUP BY payment_id`;

export const paymentRules: RuleSet = {
  // Every state but the last has a deadline, at which the clock decides without anybody.
  overdue: (before) => `SELECT id AS row FROM payment WHERE deadline < ${before}`,
  rules: [
    {
      invariant: 'I4', sentence: 'a payment has postings for exactly what its events say was held, paid and returned',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN (${moved}) e ON e.payment_id = p.id
              LEFT JOIN (SELECT ${payment('ref')} AS id, sum(amount) FILTER (WHERE kind = 'hold')::bigint AS held,
                                sum(amount) FILTER (WHERE kind IN ('capture', 'fee'))::bigint AS paid,
                                sum(amount) FILTER (WHERE kind = 'release')::bigint AS returned
                           FROM posting WHERE kind IN ('hold', 'capture', 'fee', 'release') GROUP BY 1) b ON b.id = p.id
             WHERE (p.held, p.paid, p.returned) IS DISTINCT FROM (e.held, e.paid, e.returned)
                OR (p.held, p.paid, p.returned) IS DISTINCT FROM (b.held, coalesce(b.paid, 0)::bigint, coalesce(b.returned, 0)::bigint)`,
    },
    {
      invariant: 'I4', sentence: 'a hold, capture or release under the id of a payment belongs to a payment that is there',
      sql: `SELECT x.id AS row FROM (SELECT id FROM hold UNION SELECT ${payment('ref')} FROM posting WHERE kind IN ('hold', 'capture', 'release')) x
             WHERE x.id LIKE ANY (SELECT DISTINCT split_part(id, '_', 1) || '\\_%' FROM payment) AND NOT EXISTS (SELECT FROM payment p WHERE p.id = x.id)`,
    },
    {
      invariant: 'I5', sentence: 'what a payment paid reached its payees, and what it returned reached its buyer',
      sql: `SELECT p.id AS row FROM payment p JOIN posting x ON ${payment('x.ref')} = p.id AND x.kind IN ('hold', 'capture', 'release') LEFT JOIN account f ON f.id = x.debit_account
              LEFT JOIN account t ON t.id = x.credit_account
             WHERE f.owner IS DISTINCT FROM p.buyer OR x.asset <> p.asset OR t.owner IS DISTINCT FROM CASE x.kind WHEN 'capture' THEN p.seller ELSE p.buyer END`,
    },
    {
      invariant: 'I6', sentence: 'the hold of a payment keeps what was neither paid nor returned, until the end and not longer',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN hold h ON h.id = p.id
             WHERE h.id IS NULL OR h.amount <> p.held OR h.captured <> p.paid OR h.released <> p.returned OR (h.closed_at IS NULL) <> (p.deadline IS NOT NULL)`,
    },
    {
      invariant: 'I11', sentence: 'what a payment held is paid or returned at its end',
      sql: `SELECT id || ' is ' || state AS row FROM payment WHERE CASE WHEN deadline IS NULL THEN paid + returned <> held ELSE paid + returned > held END`,
    },
    {
      invariant: 'I13', sentence: 'each version of a payment has one event, the last of which tells its state, and one in the outbox',
      sql: `SELECT p.id || ' is ' || p.state || ', version ' || p.version AS row FROM payment p LEFT JOIN (${moved}) e ON e.payment_id = p.id
              LEFT JOIN (SELECT ref, count(*) AS told FROM outbox WHERE topic NOT LIKE 'call.%' AND data ? 'version' GROUP BY ref) o
                ON o.ref = p.id
             WHERE (e.events, e.last, e.state, o.told) IS DISTINCT FROM (p.version::bigint, p.version, p.state, p.version::bigint)`,
    },
  ],
};
