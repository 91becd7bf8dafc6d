/** What must hold of metered streams and their ticks. */
import type { RuleSet } from './rule.ts';

export const streamRules: RuleSet = {
  overdue: [{ counts: 'staleStreams', sql: (before) => `
    SELECT id AS row FROM stream
     WHERE status = 'open' AND coalesce(last_tick_at, created_at) + stale_timeout_ms * interval '1 millisecond' < ${before}` }],
  explains: (p) => `EXISTS (SELECT FROM stream s WHERE s.id = ${p}.payment_id AND s.id = ${p}.hold_id)`,
  keeps: (h) => `EXISTS (SELECT FROM stream s WHERE s.id = ${h}.id AND (s.status = 'open' OR ${h}.closed_at IS NOT NULL))`,
  rules: [
    {
      invariant: 'I4', sentence: 'an ended stream that was ticked has one capture, any other stream has none', over: 'stream',
      sql: (within) => `
        SELECT s.id || ' is ' || s.status AS row FROM stream s LEFT JOIN posting p ON p.ref = s.id AND p.kind = 'capture'
         WHERE ${within('s')} AND (s.status <> 'open' AND s.spent > 0) <> (p.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'an ended stream paid its seller what was ticked and returned the rest to its buyer', over: 'stream',
      sql: (within) => `
        SELECT s.id AS row FROM stream s LEFT JOIN posting p ON p.ref = s.id AND p.kind = 'capture'
          LEFT JOIN account payee ON payee.id = p.credit_account
          LEFT JOIN posting r ON r.ref = s.id AND r.kind = 'release' LEFT JOIN account payer ON payer.id = r.credit_account
         WHERE ${within('s')} AND s.status <> 'open'
           AND (coalesce(p.amount, 0) <> s.spent OR coalesce(r.amount, 0) <> s.deposit - s.spent
                OR coalesce(payee.owner, s.seller) <> s.seller OR coalesce(payer.owner, s.buyer) <> s.buyer)`,
    },
    {
      invariant: 'I6', sentence: 'a stream holds its whole deposit while it is open, and nothing when it has ended', over: 'stream',
      sql: (within) => `
        SELECT s.id || ' is ' || s.status AS row FROM stream s LEFT JOIN hold h ON h.id = s.id LEFT JOIN account a ON a.id = h.account_id
         WHERE ${within('s')} AND (h.id IS NULL OR a.owner <> s.buyer OR h.amount <> s.deposit
            OR (h.closed_at IS NULL) <> (s.status = 'open')
            OR h.captured <> CASE WHEN s.status = 'open' THEN 0 ELSE s.spent END
            OR h.released <> CASE WHEN s.status = 'open' THEN 0 ELSE s.deposit - s.spent END)`,
    },
    {
      // Each tick goes on from the one before it, so the last one tells of all.
      invariant: 'I10', sentence: 'a stream has spent the sum of its ticks, within its deposit, and their numbers have no gap',
      over: 'stream',
      sql: (within) => `
        SELECT s.id || ': ' || s.tick_count || ' ticks for ' || s.spent || ', the last says ' || coalesce(l.cumulative, 0) AS row
          FROM stream s LEFT JOIN stream_tick l ON l.stream_id = s.id AND l.seq = s.tick_count
         WHERE ${within('s')} AND (s.spent <> coalesce(l.cumulative, 0) OR (l.seq IS NULL) <> (s.tick_count = 0) OR s.spent > s.deposit
            OR EXISTS (SELECT FROM stream_tick x WHERE x.stream_id = s.id AND x.seq > s.tick_count))`,
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
        SELECT t.stream_id || ' ' || t.seq AS row FROM stream_tick t LEFT JOIN stream s ON s.id = t.stream_id
         WHERE ${within('t')} AND (s.id IS NULL OR (t.ticked_by = 'seller' AND t.amount > s.price_per_tick))`,
    },
    {
      invariant: 'I13', sentence: 'each change of a stream has one event', over: 'stream',
      sql: (within) => `
        SELECT s.id || ' at version ' || s.version || ', events: ' || o.events AS row FROM stream s
         CROSS JOIN LATERAL (
           SELECT count(*) AS events, count(*) FILTER (WHERE x.topic = 'stream.opened') AS opened,
                  count(*) FILTER (WHERE x.topic = 'stream.closed') AS closed,
                  count(*) FILTER (WHERE x.topic = 'stream.stale_closed') AS stale
             FROM outbox x WHERE x.ref = s.id AND x.topic LIKE 'stream.%' AND x.topic NOT LIKE 'call.%') o
         WHERE ${within('s')} AND (s.version <> o.events OR o.opened <> 1 OR o.closed <> (s.status = 'closed')::integer
            OR o.stale <> (s.status = 'stale_closed')::integer)`,
    },
  ],
};
