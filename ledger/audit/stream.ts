/** What must hold of metered streams beside what holds of all payments: their meters, their ticks, and what was made of them. */
import type { RuleSet } from './rule.ts';

export const streamRules: RuleSet = {
  // As for all payments: the deadline of a stream that was ticked is moved on when it passes.
  overdue: null,
  rules: [
    {
      invariant: 'I5', sentence: 'an ended stream paid its seller what was ticked and returned the rest to its buyer, an open one nothing',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p JOIN meter m ON m.id = p.id
             WHERE p.kind = 'stream' AND (p.paid, p.returned) IS DISTINCT FROM
                   (CASE WHEN p.ended THEN m.used ELSE 0 END, CASE WHEN p.ended THEN p.held - m.used ELSE 0 END)`,
    },
    {
      invariant: 'I6', sentence: 'a stream has a meter that counts up to its whole deposit, open as long as the stream is',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN meter m ON m.id = p.id
             WHERE p.kind = 'stream' AND (m.id IS NULL OR m.capacity <> p.held OR m.open = p.ended OR m.owner <> p.buyer OR m.reserved <> 0
                   OR m.price_max::text IS DISTINCT FROM p.terms ->> 'pricePerTickMicros'
                   OR m.idle_ms::text IS DISTINCT FROM p.terms ->> 'staleTimeoutMs')`,
    },
    {
      invariant: 'I10', sentence: 'a stream has spent the sum of its ticks, within its deposit, and their numbers have no gap',
      // Numbers are above zero and unique, so as many as the largest of them means that none is missing.
      sql: `SELECT p.id || ': ' || m.uses || ' ticks for ' || m.used || ', found ' || coalesce(t.ticks, 0) || ' for ' ||
                   coalesce(t.amount, 0) AS row
              FROM payment p JOIN meter m ON m.id = p.id
              LEFT JOIN (SELECT stream_id, count(*) AS ticks, max(seq) AS last, sum(amount) AS amount FROM stream_tick GROUP BY stream_id) t
                ON t.stream_id = p.id
             WHERE p.kind = 'stream' AND (m.used <> coalesce(t.amount, 0) OR m.uses <> coalesce(t.ticks, 0) OR m.uses <> coalesce(t.last, 0)
                   OR m.used > p.held)`,
    },
    {
      invariant: 'I10', sentence: 'each tick says what was spent with it',
      sql: `SELECT stream_id || ' ' || seq AS row
              FROM (SELECT stream_id, seq, cumulative, sum(amount) OVER (PARTITION BY stream_id ORDER BY seq) AS running FROM stream_tick) t
             WHERE cumulative <> running`,
    },
    {
      invariant: 'I10', sentence: 'each tick belongs to a stream, and its seller asked at most the agreed price',
      sql: `SELECT t.stream_id || ' ' || t.seq AS row FROM stream_tick t LEFT JOIN payment p ON p.id = t.stream_id AND p.kind = 'stream'
             WHERE p.id IS NULL OR (t.ticked_by = 'seller' AND t.amount > (p.terms ->> 'pricePerTickMicros')::bigint)`,
    },
    {
      invariant: 'I13', sentence: 'a stream tells that its deposit is low, and that it pauses, once for each time it was filled',
      sql: `SELECT p.id || ': ' || x.topic AS row
              FROM payment p JOIN meter m ON m.id = p.id
              JOIN (SELECT payment_id, count(*) AS filled FROM payment_event WHERE step IN ('open', 'topup') GROUP BY payment_id) f
                ON f.payment_id = p.id
             CROSS JOIN LATERAL (VALUES ('stream.deposit_low', m.low_noted), ('stream.paused', m.empty_noted)) AS x(topic, noted)
              LEFT JOIN (SELECT ref, topic, count(*) AS told FROM outbox WHERE topic IN ('stream.deposit_low', 'stream.paused')
                          GROUP BY ref, topic) o ON o.ref = p.id AND o.topic = x.topic
             WHERE p.kind = 'stream' AND (coalesce(o.told, 0) > f.filled OR (x.noted AND coalesce(o.told, 0) = 0))`,
    },
  ],
};
