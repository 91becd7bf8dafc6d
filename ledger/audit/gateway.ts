/** What must hold of gateway sessions and calls. */
import { KEYS_KEPT_DAYS_MIN } from '../../domain/retention.ts';
import type { RuleSet } from './rule.ts';

export const gatewayRules: RuleSet = {
  overdue: (before) => `SELECT id AS row FROM gateway_call WHERE state = 'accepted' AND accepted_at < ${before}
                        UNION ALL SELECT id FROM gateway_session WHERE status = 'active' AND expires_at < ${before}`,
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
      invariant: 'I6', sentence: 'a hold of a gateway session keeps exactly what its session may still spend or has promised',
      sql: `SELECT h.id AS row FROM hold h JOIN gateway_session s ON s.id = h.id
             WHERE h.captured <> s.spent OR h.amount - h.captured - h.released <> CASE WHEN s.status = 'active' THEN s.max_total - s.spent ELSE s.reserved END`,
    },
    {
      invariant: 'I7', sentence: 'a call is settled, or kept as delivered, only with a recorded 2xx answer',
      sql: `SELECT id AS row FROM gateway_call WHERE state IN ('settled', 'delivered') AND (http_status IS NULL OR http_status NOT BETWEEN 200 AND 299)`,
    },
    {
      // A key that retention has removed may be used again. So calls with one key count as twins when they lie nearer together than any key
      // is kept (less an hour, for a call that waited), or when the later is not the call its key was taken for.
      invariant: 'I8', sentence: 'no two calls that were charged or are open share an idempotency key while the key is kept',
      sql: `SELECT twin.buyer || ' ' || twin.idempotency_key AS row FROM (
              SELECT c.buyer, c.idempotency_key, c.accepted_at - lag(c.accepted_at) OVER (PARTITION BY c.buyer, c.idempotency_key ORDER BY c.accepted_at)
                     < interval '${KEYS_KEPT_DAYS_MIN * 24 - 1} hours' AS too_near
                FROM gateway_call c WHERE c.idempotency_key IS NOT NULL AND c.state IN ('accepted', 'settled')) twin WHERE twin.too_near
            UNION SELECT i.agent_address || ' ' || i.key FROM idempotency i JOIN gateway_call c
                ON c.buyer = i.agent_address AND c.idempotency_key = i.key
             WHERE c.state IN ('accepted', 'settled') AND c.accepted_at >= i.created_at AND c.id <> i.resource_id`,
    },
    {
      invariant: 'I9', sentence: 'a session has spent and promised what its calls say, within its budget',
      sql: `SELECT s.id AS row FROM gateway_session s
              LEFT JOIN (SELECT session_id, sum(price) AS spent, sum(reserved) FILTER (WHERE state IN ('planned', 'accepted', 'delivered')) AS reserved, count(*) FILTER (WHERE state = 'settled') AS settled
                           FROM gateway_call GROUP BY session_id) c ON c.session_id = s.id
             WHERE s.spent <> coalesce(c.spent, 0) OR s.reserved <> coalesce(c.reserved, 0) OR s.request_count <> coalesce(c.settled, 0) OR s.spent + s.reserved > s.max_total`,
    },
    {
      invariant: 'I13', sentence: 'each end of a call has one event, which leaves only when it was delivered long ago',
      sql: `SELECT c.id || ' is ' || c.state || ', events: ' || count(o.id) AS row
              FROM gateway_call c LEFT JOIN outbox o ON o.ref = c.id AND o.topic = 'call.' || c.state
             WHERE c.state IN ('delivered', 'settled', 'released') GROUP BY c.id
            HAVING count(o.id) > 1 OR count(o.id) = 0 AND c.finished_at >= coalesce(
                   (SELECT removed_before FROM retention_mark WHERE kind = 'call_events'), '-infinity')`,
    },
  ],
};
