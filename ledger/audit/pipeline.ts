/** What must hold of pipelines. Their steps are gateway calls, for which the rules of the gateway hold as well. */
import type { RuleSet } from './rule.ts';

const ofPipeline = 'FROM gateway_call c WHERE c.pipeline_id = p.id';

export const pipelineRules: RuleSet = {
  // Each step has its own time; a pipeline that goes on gives a sign of life with each.
  overdue: [{ sql: (before) => `SELECT id AS row FROM pipeline WHERE ended_at IS NULL AND updated_at < ${before}` }],
  rules: [
    {
      invariant: 'I4', sentence: 'a completed pipeline has paid every step, and one that ended otherwise keeps money for none',
      over: 'pipeline',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state || ', step ' || c.step_index || ' is ' || c.state AS row
          FROM pipeline p JOIN gateway_call c ON c.pipeline_id = p.id
         WHERE ${within('p')} AND (p.state = 'completed' AND c.state <> 'settled'
            OR p.state IN ('undoing', 'failed', 'cancelled') AND c.state NOT IN ('settled', 'released'))`,
    },
    {
      invariant: 'I4', sentence: 'a pipeline that did not complete has paid no refundable step', over: 'pipeline',
      sql: (within) => `SELECT c.id AS row FROM pipeline p JOIN gateway_call c ON c.pipeline_id = p.id
                         WHERE ${within('p')} AND p.state <> 'completed' AND c.refundable AND c.state = 'settled'`,
    },
    {
      invariant: 'I4', over: 'pipeline',
      sentence:
        'a pipeline has all the steps of its plan, of its buyer and in its session, and each begins after the one before has delivered',
      sql: (within) => `
        SELECT p.id AS row FROM pipeline p
         CROSS JOIN LATERAL (
           SELECT count(*) AS steps, min(c.step_index) AS first, max(c.step_index) AS last, min(c.buyer) AS buyer, max(c.buyer) AS buyer2,
                  min(c.session_id) AS session, max(c.session_id) AS session2,
                  min(c.step_index) FILTER (WHERE c.state NOT IN ('settled', 'delivered') AND c.http_status IS NULL) AS stuck,
                  max(c.step_index) FILTER (WHERE c.http_status IS NOT NULL) AS latest ${ofPipeline}) s
         WHERE ${within('p')} AND ((s.steps, s.first, s.last, s.buyer, s.buyer2, s.session, s.session2)
               IS DISTINCT FROM (p.steps::bigint, 0, p.steps - 1, p.buyer, p.buyer, p.session_id, p.session_id) OR s.latest > s.stuck)`,
    },
    {
      invariant: 'I4', sentence: 'compensations are due only while a pipeline is being undone, and then at least one is', over: 'pipeline',
      sql: (within) => `SELECT p.id || ' is ' || p.state AS row FROM pipeline p
                         WHERE ${within('p')} AND (p.state = 'undoing') <> EXISTS (SELECT ${ofPipeline} AND c.undo_state = 'pending')`,
    },
    {
      invariant: 'I5', over: 'pipeline',
      sentence:
        'what a pipeline says it paid is what its paid steps cost, and no more than was held for it unless a dearer seller stood in',
      sql: (within) => `
        SELECT p.id AS row FROM pipeline p
         CROSS JOIN LATERAL (SELECT coalesce(sum(c.price) FILTER (WHERE c.state = 'settled'), 0) AS paid,
                             max(c.attempt) AS attempt ${ofPipeline}) s
         WHERE ${within('p')} AND (p.state NOT IN ('running', 'cancelling') AND p.total_paid <> s.paid
            OR p.total_paid > p.held AND s.attempt = 0)`,
    },
    {
      invariant: 'I13', over: 'pipeline',
      sentence: 'a pipeline has one event for its beginning, one for each change of its state, and one for each try to undo a step',
      sql: (within) => `
        SELECT p.id || ' is ' || p.state || ', version ' || p.version || ', events: ' || o.events AS row FROM pipeline p
         CROSS JOIN LATERAL (
           SELECT count(*) AS events, count(*) FILTER (WHERE x.topic = 'pipeline.created') AS created,
                  count(*) FILTER (WHERE x.topic = 'pipeline.' || p.state) AS current,
                  count(*) FILTER (WHERE x.topic = 'pipeline.undo_retried') AS retried,
                  count(*) FILTER (WHERE x.topic IN ('pipeline.step_undone', 'pipeline.undo_failed', 'pipeline.undo_tried')) AS undone
             FROM outbox x WHERE x.ref = p.id AND x.topic LIKE 'pipeline.%' AND x.topic NOT LIKE 'call.%') o
         WHERE ${within('p')} AND (o.events <> p.version OR o.created <> 1
            OR p.state <> 'running' AND o.current NOT BETWEEN 1 AND 1 + o.retried
            OR o.undone <> (SELECT coalesce(sum(c.undo_attempts), 0) ${ofPipeline}))`,
    },
  ],
};
