/** What must hold of payments on the engine, whatever their kind. Their rules are in domain/; here only the books are asked. */
import type { RuleSet } from './rule.ts';

/** What the events of a payment add up to. */
const moved = `
  LATERAL (SELECT count(*) AS events, max(x.version) AS last, sum(x.held)::bigint AS held, sum(x.paid)::bigint AS paid,
                  sum(x.returned)::bigint AS returned, (array_agg(x.state ORDER BY x.version DESC))[1] AS state
             FROM payment_event x WHERE x.payment_id = p.id) e`;
/** Its postings: under its own id, and those of its parts. */
const posted = `
  LATERAL (SELECT coalesce(sum(x.amount) FILTER (WHERE x.kind = 'hold'), 0)::bigint AS held,
                  coalesce(sum(x.amount) FILTER (WHERE x.kind IN ('capture', 'fee')), 0)::bigint AS paid,
                  coalesce(sum(x.amount) FILTER (WHERE x.kind = 'release'), 0)::bigint AS returned
             FROM (SELECT kind, amount FROM posting WHERE ref = p.id
                   UNION ALL SELECT kind, amount FROM posting WHERE payment_id = p.id AND payment_id <> ref) x) b`;
/** Those of the hold's movements, with the payee of the part that each pays. */
const moves = `
  LATERAL (SELECT x.kind, x.asset, x.debit_account, x.credit_account, y.payee
             FROM (SELECT ref, kind, asset, debit_account, credit_account FROM posting WHERE ref = p.id
                   UNION ALL SELECT ref, kind, asset, debit_account, credit_account FROM posting
                              WHERE payment_id = p.id AND payment_id <> ref) x
             LEFT JOIN payment_part y ON y.payment_id = p.id AND x.ref = p.id || ':part:' || y.part_index
            WHERE x.kind IN ('hold', 'capture', 'release')) x`;
/** What its hold has paid so far: what the row says, or what calls have settled by themselves, which the row names at its end. */
const paidSoFar = `CASE WHEN p.kind = 'session' THEN (SELECT m.used FROM meter m WHERE m.id = p.id) ELSE p.paid END`;
/** Where every state but the last has a deadline, at which the clock decides without anybody. */
const late = (condition: string) => (before: string) => `SELECT id AS row FROM payment WHERE deadline < ${before} AND ${condition}`;

export const paymentRules: RuleSet = {
  overdue: [
    { counts: 'stuckEscrows', sql: late(`kind IN ('escrow', 'multistep')`) }, { counts: 'staleStreams', sql: late(`kind = 'stream'`) },
    { sql: late(`kind NOT IN ('escrow', 'multistep', 'stream')`) },
  ],
  explains: (p) => `EXISTS (SELECT FROM payment y WHERE y.id = ${p}.payment_id AND y.id = ${p}.hold_id)`,
  keeps: (h) => `EXISTS (SELECT FROM payment y WHERE y.id = ${h}.id AND (y.deadline IS NOT NULL OR ${h}.closed_at IS NOT NULL))`,
  rules: [
    {
      invariant: 'I4', sentence: 'a payment has postings for exactly what its events say was held, paid and returned', over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p CROSS JOIN ${moved} CROSS JOIN ${posted}
         WHERE ${within('p')} AND ((p.held, p.paid, p.returned) IS DISTINCT FROM (e.held, e.paid, e.returned)
            OR (p.held, p.returned) IS DISTINCT FROM (b.held, b.returned) OR (p.paid <> b.paid AND p.kind <> 'session'))`,
    },
    {
      invariant: 'I5', sentence: 'what a payment paid reached its payees, and what it returned reached its buyer', over: 'payment',
      sql: (within) => `
        SELECT DISTINCT p.id AS row FROM payment p CROSS JOIN ${moves}
          LEFT JOIN account f ON f.id = x.debit_account LEFT JOIN account t ON t.id = x.credit_account
         WHERE ${within('p')} AND (f.owner IS DISTINCT FROM p.buyer OR x.asset <> p.asset
            OR t.owner IS DISTINCT FROM CASE x.kind WHEN 'capture' THEN coalesce(x.payee, p.seller) ELSE p.buyer END)`,
    },
    {
      invariant: 'I6', sentence: 'the hold of a payment keeps what was neither paid nor returned, until the end and not longer',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p LEFT JOIN hold h ON h.id = p.id
         WHERE ${within('p')} AND (h.id IS NULL OR h.amount <> p.held OR h.captured <> ${paidSoFar} OR h.released <> p.returned
            OR h.asset <> p.asset OR (h.closed_at IS NULL) <> (p.deadline IS NOT NULL))`,
    },
    {
      invariant: 'I11', sentence: 'what a payment held is paid or returned at its end', over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state AS row FROM payment p
         WHERE ${within('p')} AND CASE WHEN p.deadline IS NULL THEN p.paid + p.returned <> p.held ELSE p.paid + p.returned > p.held END`,
    },
    {
      invariant: 'I13', sentence: 'each version of a payment has one event, the last of which tells its state, and one in the outbox',
      over: 'payment',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state || ', version ' || p.version AS row FROM payment p CROSS JOIN ${moved}
          CROSS JOIN LATERAL (SELECT count(*) AS published FROM outbox x
                               WHERE x.ref = p.id AND x.topic NOT LIKE 'call.%' AND x.data ? 'version') o
         WHERE ${within('p')} AND (e.events, e.last, e.state, o.published)
               IS DISTINCT FROM (p.version::bigint, p.version, p.state, p.version::bigint)`,
    },
  ],
};
