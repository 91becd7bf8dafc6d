/** What must hold of multistep escrows and their steps. */
import type { RuleSet } from './rule.ts';

/** The steps of an escrow, added up. */
const steps = `
  LATERAL (SELECT count(*) AS steps, max(x.step_index) AS last, sum(x.amount)::bigint AS planned, count(x.confirmed_at) AS confirmed,
                  coalesce(sum(x.amount) FILTER (WHERE x.confirmed_at IS NOT NULL), 0)::bigint AS paid
             FROM multistep_step x WHERE x.escrow_id = e.id) s`;
const ofStep = `p.ref = s.escrow_id || ':step:' || s.step_index AND p.kind = 'capture'`;

export const multistepRules: RuleSet = {
  overdue: [{ counts: 'stuckEscrows', sql: (before) =>
    `SELECT id AS row FROM multistep_escrow WHERE status = 'open' AND deadline < ${before}` }],
  explains: (p) => `EXISTS (SELECT FROM multistep_escrow e WHERE e.id = ${p}.payment_id AND e.id = ${p}.hold_id)`,
  keeps: (h) => `EXISTS (SELECT FROM multistep_escrow e WHERE e.id = ${h}.id AND (e.status = 'open' OR ${h}.closed_at IS NOT NULL))`,
  rules: [
    {
      invariant: 'I4', sentence: 'a confirmed step has one capture, any other step has none', over: 'multistep_step',
      sql: (within) => `SELECT s.escrow_id || ' step ' || s.step_index AS row FROM multistep_step s LEFT JOIN posting p ON ${ofStep}
                         WHERE ${within('s')} AND (s.confirmed_at IS NOT NULL) <> (p.id IS NOT NULL)`,
    },
    {
      invariant: 'I5', sentence: 'the capture of a step is what was planned for it and reached its seller', over: 'multistep_step',
      sql: (within) => `
        SELECT s.escrow_id || ' step ' || s.step_index AS row FROM multistep_step s JOIN posting p ON ${ofStep}
          JOIN account a ON a.id = p.credit_account WHERE ${within('s')} AND (p.amount <> s.amount OR a.owner <> s.seller)`,
    },
    {
      invariant: 'I6', sentence: 'the hold of a multistep escrow keeps exactly what its open steps need', over: 'multistep_escrow',
      sql: (within) => `
        SELECT e.id AS row FROM multistep_escrow e LEFT JOIN hold h ON h.id = e.id
         WHERE ${within('e')} AND (h.id IS NULL OR h.bucket <> 'escrowed' OR h.amount <> e.total OR h.captured <> e.spent
            OR h.released <> e.refunded OR (h.closed_at IS NULL) <> (e.status = 'open')
            OR h.amount - h.captured - h.released <> CASE e.status WHEN 'open' THEN e.total - e.spent ELSE 0 END)`,
    },
    {
      invariant: 'I11', over: 'multistep_escrow',
      sentence: 'what a multistep escrow locked is what it paid and gave back once it has ended, and its steps add up to it',
      sql: (within) => `
        SELECT e.id || ' is ' || e.status AS row FROM multistep_escrow e CROSS JOIN ${steps}
         WHERE ${within('e')} AND ((s.steps, s.last + 1, s.planned, s.confirmed, s.paid)
               IS DISTINCT FROM (e.total_steps::bigint, e.total_steps, e.total, e.confirmed_steps::bigint, e.spent)
            OR CASE e.status WHEN 'open' THEN e.refunded <> 0 OR e.confirmed_steps = e.total_steps
                             WHEN 'completed' THEN e.spent <> e.total OR e.refunded <> 0
                             ELSE e.spent + e.refunded <> e.total OR e.refunded = 0 END)`,
    },
    {
      invariant: 'I11', sentence: 'what went back to the buyer of a multistep escrow has one posting', over: 'multistep_escrow',
      sql: (within) => `SELECT e.id AS row FROM multistep_escrow e LEFT JOIN posting p ON p.ref = e.id AND p.kind = 'release'
                         WHERE ${within('e')} AND coalesce(p.amount, 0) <> e.refunded`,
    },
    {
      invariant: 'I13', sentence: 'each change of a multistep escrow has one event', over: 'multistep_escrow',
      sql: (within) => `
        SELECT e.id || ' at version ' || e.version AS row FROM multistep_escrow e
         CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE x.topic = 'multistep.created') AS created,
                  count(DISTINCT x.data ->> 'stepIndex') FILTER (WHERE x.topic = 'multistep.step_confirmed') AS steps,
                  count(*) FILTER (WHERE x.topic = 'multistep.step_confirmed') AS confirmed,
                  count(*) FILTER (WHERE x.topic = 'multistep.completed') AS completed,
                  count(*) FILTER (WHERE x.topic = 'multistep.aborted') AS aborted
             FROM outbox x WHERE x.ref = e.id AND x.topic LIKE 'multistep.%' AND x.topic NOT LIKE 'call.%') o
         WHERE ${within('e')} AND ((o.created, o.confirmed, o.steps, o.completed, o.aborted)
               IS DISTINCT FROM (1::bigint, e.confirmed_steps::bigint, e.confirmed_steps::bigint, (e.status = 'completed')::integer::bigint,
                                 (e.status = 'aborted')::integer::bigint)
            OR e.version <> 1 + e.confirmed_steps + (e.status = 'aborted')::integer)`,
    },
  ],
};
