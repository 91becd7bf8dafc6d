/** What must hold of gateway sessions and calls. */
import { KEYS_KEPT_DAYS_MIN } from '../../domain/retention.ts';
import type { RuleSet } from './rule.ts';

/** Shorter than any idempotency key is kept: two calls with one key in one such time are twins. */
const TWIN_HOURS = KEYS_KEPT_DAYS_MIN * 24 - 1;
/** The times in which a call lies: one row of them after the other, and another that overlaps them by halves. */
const spans = `(SELECT floor(extract(epoch FROM c.accepted_at) / ${TWIN_HOURS * 3_600} + x.shift) + x.shift AS span
                  FROM (VALUES (0), (0.5)) AS x(shift))`;

export const gatewayRules: RuleSet = {
  overdue: [
    // The seller of a long call has the time that it has declared.
    { sql: (before) => `SELECT c.id AS row FROM gateway_call c LEFT JOIN long_call l ON l.id = c.id
        WHERE c.state = 'accepted' AND c.accepted_at < ${before} AND (l.id IS NULL OR l.deadline < ${before})` },
  ],
  explains: (p) => `
    (${p}.kind IN ('capture', 'fee', 'release') AND EXISTS (SELECT FROM gateway_call c
       WHERE c.id = ${p}.payment_id AND c.session_id = ${p}.hold_id AND (${p}.kind = 'release' OR c.state = 'settled')))
    OR (${p}.kind IN ('hold', 'release') AND ${p}.payment_id = ${p}.hold_id
        AND EXISTS (SELECT FROM meter m WHERE m.id = ${p}.payment_id AND m.single_use))`,
  keeps: (h) => `EXISTS (SELECT FROM meter m WHERE m.id = ${h}.id AND m.single_use AND (m.open OR ${h}.closed_at IS NOT NULL))`,
  sums: [
    { name: 'audit_session', of: 'text', columns: ['spent', 'reserved', 'settled'],
      from: [{ over: 'gateway_call', sql: (within) => `
        SELECT c.session_id, sum(c.price), coalesce(sum(c.reserved) FILTER (WHERE c.state IN ('planned', 'accepted', 'delivered')), 0),
               count(*) FILTER (WHERE c.state = 'settled') FROM gateway_call c WHERE ${within('c')} GROUP BY c.session_id` }] },
    { name: 'audit_key', of: 'text', columns: ['calls'],
      from: [{ over: 'gateway_call', sql: (within) => `
        SELECT c.buyer || ' ' || c.idempotency_key || ' ' || s.span, count(*) FROM gateway_call c CROSS JOIN LATERAL ${spans} s
         WHERE ${within('c')} AND c.idempotency_key IS NOT NULL AND c.state IN ('accepted', 'settled') GROUP BY 1` }] },
    { name: 'audit_call_event', of: 'text', columns: ['events'],
      from: [{ over: 'outbox', sql: (within) =>
        `SELECT o.topic || ' ' || o.ref, count(*) FROM outbox o WHERE ${within('o')} AND o.topic LIKE 'call.%' GROUP BY 1` }] },
  ],
  rules: [
    {
      invariant: 'I4', sentence: 'a settled call has one capture, any other call has none', over: 'gateway_call',
      sql: (within) => `
        SELECT c.id || ' is ' || c.state AS row FROM gateway_call c LEFT JOIN posting p ON p.ref = c.id AND p.kind = 'capture'
         WHERE ${within('c')} AND (c.state = 'settled') <> (p.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'capture and fee of a call add up to its price and reach its seller', over: 'gateway_call',
      sql: (within) => `
        SELECT c.id AS row FROM gateway_call c JOIN posting p ON p.ref = c.id AND p.kind = 'capture'
          JOIN account a ON a.id = p.credit_account
          LEFT JOIN posting f ON f.ref = c.id AND f.kind = 'fee'
         WHERE ${within('c')} AND c.state = 'settled'
           AND (p.amount + coalesce(f.amount, 0) <> c.price OR coalesce(f.amount, 0) <> c.fee OR a.owner <> c.seller)`,
    },
    {
      invariant: 'I6', sentence: 'a hold on which calls draw keeps exactly what they may still spend or have promised', over: 'meter',
      sql: (within) => `
        SELECT m.id AS row FROM meter m LEFT JOIN payment p ON p.id = m.id LEFT JOIN hold h ON h.id = m.id
         WHERE ${within('m')} AND (m.single_use OR p.kind = 'session') AND (h.id IS NULL OR h.captured <> m.used
            OR (p.id IS NULL) <> m.single_use OR CASE
              WHEN m.open THEN h.amount - h.captured - h.released <> m.capacity - m.used
              WHEN p.deadline IS NULL THEN h.amount <> h.captured + h.released OR m.reserved <> 0
              ELSE h.amount - h.captured - h.released < m.reserved END)`,
    },
    {
      invariant: 'I7', sentence: 'a call is settled, or kept as delivered, only with a recorded 2xx answer', over: 'gateway_call',
      sql: (within) => `
        SELECT c.id AS row FROM gateway_call c
         WHERE ${within('c')} AND c.state IN ('settled', 'delivered') AND (c.http_status IS NULL OR c.http_status NOT BETWEEN 200 AND 299)`,
    },
    {
      // A key that retention has removed may be used again. So calls with one key are twins when they lie nearer together than any key is
      // kept (less an hour, for a call that waited), or when the later is not the call its key was taken for.
      invariant: 'I8', sentence: 'no two calls that were charged or are open share an idempotency key while the key is kept',
      over: 'gateway_call',
      sql: (within) => `
        SELECT DISTINCT c.buyer || ' ' || c.idempotency_key AS row FROM gateway_call c CROSS JOIN LATERAL ${spans} s
          LEFT JOIN audit_key k ON k.of = c.buyer || ' ' || c.idempotency_key || ' ' || s.span
          LEFT JOIN idempotency i ON i.agent_address = c.buyer AND i.key = c.idempotency_key
         WHERE ${within('c')} AND c.idempotency_key IS NOT NULL AND c.state IN ('accepted', 'settled')
           AND (k.calls > 1 OR (c.accepted_at >= i.created_at AND c.id <> i.resource_id))`,
    },
    {
      invariant: 'I9', sentence: 'a session has spent and promised what its calls say, within its budget', over: 'meter',
      sql: (within) => `
        SELECT m.id AS row FROM meter m LEFT JOIN payment p ON p.id = m.id LEFT JOIN audit_session c ON c.of = m.id
         WHERE ${within('m')} AND (m.single_use OR p.kind = 'session') AND (m.used <> coalesce(c.spent, 0)
            OR m.reserved <> coalesce(c.reserved, 0) OR m.uses <> coalesce(c.settled, 0) OR m.used + m.reserved > m.capacity)`,
    },
    {
      invariant: 'I12', sentence: 'a long call is open exactly as long as what is long about it, and nobody drives it',
      over: 'gateway_call',
      sql: (within) => `
        SELECT c.id || ' is ' || c.state AS row FROM gateway_call c JOIN long_call l ON l.id = c.id
         WHERE ${within('c')} AND ((c.state = 'accepted') <> (l.ended_at IS NULL) OR c.lease_until IS NOT NULL)`,
    },
    {
      invariant: 'I13', sentence: 'each end of a call has one event, which leaves only when it was delivered long ago',
      over: 'gateway_call',
      sql: (within) => `
        SELECT c.id || ' is ' || c.state || ', events: ' || coalesce(o.events, 0) AS row
          FROM gateway_call c LEFT JOIN audit_call_event o ON o.of = 'call.' || c.state || ' ' || c.id
         WHERE ${within('c')} AND c.state IN ('delivered', 'settled', 'released') AND (o.events > 1
            OR (o.events IS NULL AND c.finished_at >=
                coalesce((SELECT removed_before FROM retention_mark WHERE kind = 'call_events'), '-infinity')))`,
    },
  ],
};
