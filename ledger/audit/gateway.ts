/** What must hold of gateway sessions and calls. */
import type { RuleSet } from './rule.ts';

export const gatewayRules: RuleSet = {
  overdue: (before) => `SELECT id AS row FROM gateway_call WHERE state = 'accepted' AND accepted_at < ${before}`,
  rules: [
    {
      invariant: 'I4', sentence: 'a settled call has one capture, any other call has none',
      sql: `SELECT c.id || ' is ' || c.state AS row FROM gateway_call c LEFT JOIN posting p ON p.ref = c.id AND p.kind = 'capture' WHERE (c.state = 'settled') <> (p.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'capture and fee of a call add up to its price and reach its seller',
      sql: `SELECT c.id AS row FROM gateway_call c JOIN posting p ON p.ref = c.id AND p.kind = 'capture' JOIN account a ON a.id = p.credit_account
              LEFT JOIN posting f ON f.ref = c.id AND f.kind = 'fee'
             WHERE c.state = 'settled' AND (p.amount + coalesce(f.amount, 0) <> c.price OR coalesce(f.amount, 0) <> c.fee OR a.owner <> c.seller)`,
    },
    {
      invariant: 'I6', sentence: 'a hold on which calls draw keeps exactly what they may still spend or have promised',
      sql: `SELECT m.id AS row FROM meter m LEFT JOIN payment p ON p.id = m.id LEFT JOIN hold h ON h.id = m.id
             WHERE (m.single_use OR p.kind = 'session') AND (h.id IS NULL OR h.captured <> m.used OR (p.id IS NULL) <> m.single_use
                    OR CASE WHEN m.open THEN h.amount - h.captured - h.released <> m.capacity - m.used
                            WHEN p.deadline IS NULL THEN h.amount <> h.captured + h.released OR m.reserved <> 0
                            ELSE h.amount - h.captured - h.released < m.reserved END)`,
    },
    {
      invariant: 'I7', sentence: 'a call is settled, or kept as delivered, only with a recorded 2xx answer',
      sql: `SELECT id AS row FROM gateway_call WHERE state IN ('settled', 'delivered') AND (http_status IS NULL OR http_status NOT BETWEEN 200 AND 299)`,
    },
    {
      invariant: 'I8', sentence: 'no two calls that were charged or are open share an idempotency key',
      sql: `SELECT buyer || ' ' || idempotency_key AS row FROM gateway_call WHERE idempotency_key IS NOT NULL AND state IN ('accepted', 'settled') GROUP BY buyer, idempotency_key HAVING count(*) > 1`,
    },
    {
      invariant: 'I9', sentence: 'a session has spent and promised what its calls say, within its budget',
      sql: `SELECT m.id AS row FROM meter m LEFT JOIN payment p ON p.id = m.id
              LEFT JOIN (SELECT session_id, sum(price) AS used, count(*) FILTER (WHERE state = 'settled') AS uses,
                                sum(reserved) FILTER (WHERE state IN ('planned', 'accepted', 'delivered')) AS reserved
                           FROM gateway_call GROUP BY session_id) c ON c.session_id = m.id
             WHERE (m.single_use OR p.kind = 'session') AND (m.used <> coalesce(c.used, 0) OR m.reserved <> coalesce(c.reserved, 0)
                    OR m.uses <> coalesce(c.uses, 0) OR m.used + m.reserved > m.capacity)`,
    },
    {
      invariant: 'I13', sentence: 'each end of a call has one event',
      sql: `SELECT c.id || ' is ' || c.state || ', events: ' || count(o.id) AS row
              FROM gateway_call c LEFT JOIN outbox o ON o.ref = c.id AND o.topic = 'call.' || c.state
             WHERE c.state IN ('delivered', 'settled', 'released') GROUP BY c.id HAVING count(o.id) <> 1`,
    },
  ],
};
