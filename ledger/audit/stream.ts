/** What must hold of metered streams and their ticks. */
import type { RuleSet } from './rule.ts';

export const streamRules: RuleSet = {
  overdue: (before) =>
    `SELECT id AS row FROM stream WHERE status = 'open' AND coalesce(last_tick_at, created_at) + stale_timeout_ms * interval '1 millisecond' < ${before}`,
  rules: [
    {
      invariant: 'I4', sentence: 'an ended stream that was ticked has one capture, any other stream has none',
      sql: `SELECT s.id || ' is ' || s.status AS row FROM stream s LEFT JOIN posting p ON p.ref = s.id AND p.kind = 'capture'
             WHERE (s.status <> 'open' AND s.spent > 0) <> (p.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'an ended stream paid its seller what was ticked and returned the rest to its buyer',
      sql: `SELECT s.id AS row FROM stream s LEFT JOIN posting p ON p.ref = s.id AND p.kind = 'capture' LEFT JOIN account payee ON payee.id = p.credit_account
              LEFT JOIN posting r ON r.ref = s.id AND r.kind = 'release' LEFT JOIN account payer ON payer.id = r.credit_account
             WHERE s.status <> 'open' AND (coalesce(p.amount, 0) <> s.spent OR coalesce(r.amount, 0) <> s.deposit - s.spent
                   OR coalesce(payee.owner, s.seller) <> s.seller OR coalesce(payer.owner, s.buyer) <> s.buyer)`,
    },
    {
      invariant: 'I6', sentence: 'a stream holds its whole deposit while it is open, and nothing when it has ended',
      sql: `SELECT s.id || ' is ' || s.status AS row FROM stream s LEFT JOIN hold h ON h.id = s.id LEFT JOIN account a ON a.id = h.account_id
             WHERE h.id IS NULL OR a.owner <> s.buyer OR h.amount <> s.deposit OR (h.closed_at IS NULL) <> (s.status = 'open')
                OR h.captured <> CASE WHEN s.status = 'open' THEN 0 ELSE s.spent END OR h.released <> CASE WHEN s.status = 'open' THEN 0 ELSE s.deposit - s.spent END`,
    },
    {
      invariant: 'I10', sentence: 'a stream has spent the sum of its ticks, within its deposit, and their numbers have no gap',
      // Numbers are above zero and unique, so as many as the largest of them means that none is missing.
      sql: `SELECT s.id || ': ' || s.tick_count || ' ticks for ' || s.spent || ', found ' || coalesce(t.ticks, 0) || ' for ' || coalesce(t.amount, 0) AS row
              FROM stream s LEFT JOIN (SELECT stream_id, count(*) AS ticks, max(seq) AS last, sum(amount) AS amount FROM stream_tick GROUP BY stream_id) t ON t.stream_id = s.id
             WHERE s.spent <> coalesce(t.amount, 0) OR s.tick_count <> coalesce(t.ticks, 0) OR s.tick_count <> coalesce(t.last, 0) OR s.spent > s.deposit`,
    },
    {
      invariant: 'I10', sentence: 'each tick says what was spent with it',
      sql: `SELECT stream_id || ' ' || seq AS row FROM (SELECT stream_id, seq, cumulative, sum(amount) OVER (PARTITION BY stream_id ORDER BY seq) AS running FROM stream_tick) t
             WHERE cumulative <> running`,
    },
    {
      invariant: 'I10', sentence: 'each tick belongs to a stream, and its seller asked at most the agreed price',
      sql: `SELECT t.stream_id || ' ' || t.seq AS row FROM stream_tick t LEFT JOIN stream s ON s.id = t.stream_id
             WHERE s.id IS NULL OR (t.ticked_by = 'seller' AND t.amount > s.price_per_tick)`,
    },
    {
      invariant: 'I13', sentence: 'each change of a stream has one event',
      sql: `SELECT s.id || ' at version ' || s.version || ', events: ' || coalesce(o.events, 0) AS row
              FROM stream s LEFT JOIN (SELECT ref, count(*) AS events, count(*) FILTER (WHERE topic = 'stream.opened') AS opened,
                                              count(*) FILTER (WHERE topic = 'stream.closed') AS closed, count(*) FILTER (WHERE topic = 'stream.stale_closed') AS stale
                                         FROM outbox WHERE topic LIKE 'stream.%' GROUP BY ref) o ON o.ref = s.id
             WHERE s.version <> coalesce(o.events, 0) OR o.opened <> 1 OR o.closed <> (s.status = 'closed')::integer OR o.stale <> (s.status = 'stale_closed')::integer`,
    },
  ],
};
