/** What must hold of pipelines. Their steps are gateway calls, for which the rules of the gateway hold as well. */
import type { RuleSet } from './rule.ts';

export const pipelineRules: RuleSet = {
  // Each step has its own time; a pipeline that goes on gives a sign of life with each.
  overdue: (before) => `SELECT id AS row FROM pipeline WHERE ended_at IS NULL AND updated_at < ${before}`,
  rules: [
    {
      invariant: 'I4', sentence: 'a completed pipeline has paid every step, and one that ended otherwise keeps money for none',
      sql: `SELECT p.id || ' is ' || p.state || ', step ' || c.step_index || ' is ' || c.state AS row FROM pipeline p JOIN gateway_call c ON c.pipeline_id = p.id
             WHERE p.state = 'completed' AND c.state <> 'settled' OR p.state IN ('undoing', 'failed', 'cancelled') AND c.state NOT IN ('settled', 'released')`,
    },
    {
      invariant: 'I4', sentence: 'a pipeline that did not complete has paid no refundable step',
      sql: `SELECT c.id AS row FROM pipeline p JOIN gateway_call c ON c.pipeline_id = p.id WHERE p.state <> 'completed' AND c.refundable AND c.state = 'settled'`,
    },
    {
      invariant: 'I4', sentence: 'a pipeline has all the steps of its plan, of its buyer and in its session, and each begins after the one before has delivered',
      sql: `SELECT p.id AS row FROM pipeline p
              LEFT JOIN (SELECT pipeline_id, count(*) AS steps, min(step_index) AS first, max(step_index) AS last, min(buyer) AS buyer, max(buyer) AS buyer2, min(session_id) AS session, max(session_id) AS session2,
                                min(step_index) FILTER (WHERE state NOT IN ('settled', 'delivered') AND http_status IS NULL) AS stuck, max(step_index) FILTER (WHERE http_status IS NOT NULL) AS latest
                           FROM gateway_call WHERE pipeline_id IS NOT NULL GROUP BY pipeline_id) c ON c.pipeline_id = p.id
             WHERE (c.steps, c.first, c.last, c.buyer, c.buyer2, c.session, c.session2) IS DISTINCT FROM (p.steps::bigint, 0, p.steps - 1, p.buyer, p.buyer, p.session_id, p.session_id) OR c.latest > c.stuck`,
    },
    {
      invariant: 'I4', sentence: 'compensations are due only while a pipeline is being undone, and then at least one is',
      sql: `SELECT p.id || ' is ' || p.state AS row FROM pipeline p LEFT JOIN gateway_call c ON c.pipeline_id = p.id AND c.undo_state = 'pending'
             GROUP BY p.id HAVING (p.state = 'undoing') <> (count(c.id) > 0)`,
    },
    {
      invariant: 'I5', sentence: 'what a pipeline says it paid is what its paid steps cost, and no more than was held for it unless a dearer seller stood in',
      sql: `SELECT p.id AS row FROM pipeline p JOIN (SELECT pipeline_id, coalesce(sum(price) FILTER (WHERE state = 'settled'), 0) AS paid, max(attempt) AS attempt FROM gateway_call
             WHERE pipeline_id IS NOT NULL GROUP BY pipeline_id) c ON c.pipeline_id = p.id
             WHERE p.state NOT IN ('running', 'cancelling') AND p.total_paid <> c.paid OR p.total_paid > p.held AND c.attempt = 0`,
    },
    {
      invariant: 'I13', sentence: 'a pipeline has one event for its beginning, one for each change of its state, and one for each try to undo a step',
      sql: `SELECT p.id || ' is ' || p.state || ', version ' || p.version || ', events: ' || count(o.id) AS row
              FROM pipeline p LEFT JOIN outbox o ON o.ref = p.id AND o.topic LIKE 'pipeline.%' AND o.topic NOT LIKE 'call.%'
             GROUP BY p.id HAVING count(o.id) <> p.version OR count(*) FILTER (WHERE o.topic = 'pipeline.created') <> 1
                OR p.state <> 'running' AND count(*) FILTER (WHERE o.topic = 'pipeline.' || p.state)
                   NOT BETWEEN 1 AND 1 + count(*) FILTER (WHERE o.topic = 'pipeline.undo_retried')
                OR count(*) FILTER (WHERE o.topic IN ('pipeline.step_undone', 'pipeline.undo_failed', 'pipeline.undo_tried'))
                   <> (SELECT coalesce(sum(c.undo_attempts), 0) FROM gateway_call c WHERE c.pipeline_id = p.id)`,
    },
  ],
};
