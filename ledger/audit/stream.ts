/** What must hold of metered streams beside what holds of all payments: their meters, their ticks, and what was made of them. */
import type { RuleSet } from './rule.ts';

export const streamRules: RuleSet = {
  // As for all payments: the deadline of a stream that was ticked is moved on when it passes.
  overdue: [],
  rules: [
    {
      invariant: 'I5', sentence: 'an ended stream paid its seller what was ticked and returned the rest to its buyer, an open one nothing',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p JOIN meter m ON m.id = p.id
         WHERE ${within('p')} AND p.kind = 'stream' AND (p.paid, p.returned) IS DISTINCT FROM
               (CASE WHEN p.ended THEN m.used ELSE 0 END, CASE WHEN p.ended THEN p.held - m.used ELSE 0 END)`,
    },
    {
      invariant: 'I6', sentence: 'a stream has a meter that counts up to its whole deposit, open as long as the stream is', over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN meter m ON m.id = p.id
         WHERE ${within('p')} AND p.kind = 'stream' AND (m.id IS NULL OR m.capacity <> p.held OR m.open = p.ended OR m.owner <> p.buyer
            OR m.reserved <> 0 OR m.price_max::text IS DISTINCT FROM p.terms ->> 'pricePerTickMicros'
            OR m.idle_ms::text IS DISTINCT FROM p.terms ->> 'staleTimeoutMs')`,
    },
    {
      // Each tick goes on from the one before it, so the last one stands for all.
      invariant: 'I10', sentence: 'a stream has spent the sum of its ticks, within its deposit, and their numbers have no gap',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ': ' || m.uses || ' ticks for ' || m.used || ', the last says ' || coalesce(l.cumulative, 0) AS row
          FROM payment p JOIN meter m ON m.id = p.id LEFT JOIN stream_tick l ON l.stream_id = p.id AND l.seq = m.uses
         WHERE ${within('p')} AND p.kind = 'stream' AND (m.used <> coalesce(l.cumulative, 0) OR (l.seq IS NULL) <> (m.uses = 0)
            OR m.used > p.held OR EXISTS (SELECT FROM stream_tick x WHERE x.stream_id = p.id AND x.seq > m.uses))`,
    },
    {
      invariant: 'I10', sentence: 'each tick says what was spent with it, and there is one before it unless it is the first',
      over: 'stream_tick',
      sql: (within) => `
        SELECT t.stream_id || ' ' || t.seq AS row FROM stream_tick t
          LEFT JOIN stream_tick b ON b.stream_id = t.stream_id AND b.seq = t.seq - 1
         WHERE ${within('t')} AND (t.cumulative <> t.amount + coalesce(b.cumulative, 0) OR (b.seq IS NULL) <> (t.seq = 1))`,
    },
    {
      invariant: 'I10', sentence: 'each tick belongs to a stream, and its seller asked at most the agreed price', over: 'stream_tick',
      sql: (within) => `
        SELECT t.stream_id || ' ' || t.seq AS row FROM stream_tick t LEFT JOIN payment p ON p.id = t.stream_id AND p.kind = 'stream'
         WHERE ${within('t')} AND (p.id IS NULL OR (t.ticked_by = 'seller' AND t.amount > (p.terms ->> 'pricePerTickMicros')::bigint))`,
    },
    {
      invariant: 'I13', sentence: 'a stream tells that its deposit is low, and that it pauses, once for each time it was filled',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ': ' || x.topic AS row FROM payment p JOIN meter m ON m.id = p.id
         CROSS JOIN LATERAL (SELECT count(*) AS filled FROM payment_event e WHERE e.payment_id = p.id AND e.step IN ('open', 'topup')) f
         CROSS JOIN LATERAL (VALUES ('stream.deposit_low', m.low_noted), ('stream.paused', m.empty_noted)) AS x(topic, noted)
         CROSS JOIN LATERAL (SELECT count(*) AS written FROM outbox o WHERE o.ref = p.id AND o.topic = x.topic
                                AND o.topic NOT LIKE 'call.%') o
         WHERE ${within('p')} AND p.kind = 'stream' AND (o.written > f.filled OR (x.noted AND o.written = 0))`,
    },
  ],
};
