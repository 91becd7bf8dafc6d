-- The steps of a pipeline. Locks: pipeline, call, session, idempotency key, hold, account.

-- Takes an idempotency key for a pipeline. NULL: it is ours now. Otherwise the id of what the first request with this key was about;
-- the caller then changes nothing and answers with that. Waits while the first request is under way. Raises idempotency_mismatch.
CREATE OR REPLACE FUNCTION idempotency_take(p_agent text, p_key text, p_hash text, p_resource text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v_hash text; v_resource text;
BEGIN
  IF p_key IS NULL THEN RETURN NULL; END IF;
  INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (p_agent, p_key, p_hash, p_resource)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN RETURN NULL; END IF;
  SELECT request_hash, resource_id INTO v_hash, v_resource FROM idempotency WHERE agent_address = p_agent AND key = p_key;
  IF v_hash IS NULL THEN PERFORM refuse('idempotency_in_progress'); END IF;
  IF v_hash <> p_hash THEN PERFORM refuse('idempotency_mismatch'); END IF;
  RETURN v_resource;
END $$;

-- Notes that the workflow of a pipeline has something to hear, and informs the outside by an event, both with the change itself.
CREATE OR REPLACE FUNCTION pipeline_moved(p_id text, p_version integer, p_topic text, p_data jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p_id, 'pipeline', p_version)
  ON CONFLICT (payment_id) DO UPDATE SET version = excluded.version, noted_at = excluded.noted_at;
  INSERT INTO outbox (topic, ref, data) VALUES ('pipeline.' || p_topic, p_id, p_data);
$$;

-- Accepts a pipeline: writes it with all its steps and reserves the sum of their prices. The first step is accepted at once, for the
-- process that asks. outcome: accepted, replay (same key and request: existing_id), or the code of the refusal, which frees the key.
-- Raises idempotency_mismatch.
CREATE OR REPLACE FUNCTION pipeline_open(p json, p_driver text, p_lease_ms integer)
RETURNS TABLE (outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  s meter; v_id text := p ->> 'id'; v_count integer; v_sum bigint; v_most bigint; v_in_window integer;
  v_now timestamptz := clock_timestamp();
BEGIN
  -- The session before the key, as where calls are accepted: otherwise the two could wait for each other.
  SELECT * INTO s FROM meter WHERE id = p ->> 'sessionId' FOR NO KEY UPDATE;
  existing_id := idempotency_take(p ->> 'buyer', p ->> 'key', p ->> 'hash', v_id);
  remaining := s.capacity - s.used - s.reserved;
  IF existing_id IS NOT NULL THEN outcome := 'replay'; RETURN NEXT; RETURN; END IF;
  SELECT count(*), sum(x.price), max(x.price) INTO v_count, v_sum, v_most FROM json_to_recordset(p -> 'steps') AS x(price bigint);
  v_in_window := CASE WHEN s.window_started_at > v_now - interval '1 minute' THEN s.window_uses ELSE 0 END;
  outcome := CASE
    WHEN s.id IS NULL OR s.single_use THEN 'not_found'
    WHEN s.owner <> p ->> 'buyer' THEN 'forbidden'
    WHEN s.closes_at <= v_now THEN 'session_expired'
    WHEN NOT s.open THEN 'session_closed'
    WHEN v_in_window + v_count > s.uses_per_minute THEN 'rate_limited'
    WHEN v_sum > remaining OR v_most > s.price_max THEN 'budget_exceeded'
    ELSE 'accepted' END;
  IF outcome <> 'accepted' THEN
    DELETE FROM idempotency i WHERE i.agent_address = p ->> 'buyer' AND i.key = p ->> 'key';
    RETURN NEXT; RETURN;
  END IF;
  PERFORM spend_reserve(array_fill(s.id, ARRAY[v_count]),
                        (SELECT array_agg(x.price) FROM json_to_recordset(p -> 'steps') AS x(price bigint)), v_now);
  INSERT INTO pipeline (id, session_id, buyer, tenant_id, steps, all_or_nothing, held, workflow_id, workflow_started, created_at,
                        updated_at)
  VALUES (v_id, s.id, s.owner, p ->> 'tenantId', v_count, (p ->> 'allOrNothing')::boolean, v_sum, p ->> 'workflowId',
          (p ->> 'workflowStarted')::boolean, v_now, v_now);
  INSERT INTO gateway_call (id, session_id, buyer, service_type, params, candidates, reserved, fee_bps, seller, service_id, service_name,
                            workflow_id, accepted_at, pipeline_id, step_index, refundable, compensation, undo_state, state, driver,
                            lease_until)
  SELECT x.id, s.id, s.owner, x.service_type, x.params, x.candidates, x.price, (p ->> 'feeBps')::integer, x.seller, x.service_id,
         x.service_name, p ->> 'workflowId', v_now, v_id, x.pos, x.refundable, x.compensation,
         CASE WHEN x.compensation IS NOT NULL THEN 'registered' END,
         CASE WHEN x.pos = 0 THEN 'accepted' ELSE 'planned' END, CASE WHEN x.pos = 0 THEN p_driver END,
         CASE WHEN x.pos = 0 THEN v_now + p_lease_ms * interval '1 millisecond' END
    FROM json_to_recordset(p -> 'steps') AS x(pos integer, id text, service_type text, params text, candidates jsonb, price bigint,
                                              seller text, service_id text, service_name text, refundable boolean, compensation text);
  PERFORM pipeline_moved(v_id, 1, 'created');
  remaining := remaining - v_sum;
  RETURN NEXT;
END $$;

-- Lets a planned step begin, with the parameters that the step before it has completed; the process that asks drives it.
-- outcome: started (also when this process had begun it and did not hear so), stopped (the pipeline goes no further), elsewhere (the
-- step has begun before, or those before it have not delivered).
CREATE OR REPLACE FUNCTION pipeline_start_step(p_id text, p_step integer, p_params text, p_driver text, p_lease_ms integer) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v pipeline; v_now timestamptz := clock_timestamp();
BEGIN
  SELECT * INTO v FROM pipeline WHERE id = p_id FOR NO KEY UPDATE;
  IF v.id IS NULL THEN PERFORM refuse('not_found'); END IF;
  IF v.state <> 'running' THEN RETURN 'stopped'; END IF;
  UPDATE gateway_call c SET state = 'accepted', params = p_params, driver = p_driver, accepted_at = v_now,
         lease_until = v_now + p_lease_ms * interval '1 millisecond'
   WHERE c.pipeline_id = p_id AND c.step_index = p_step AND c.state = 'planned'
     AND EXISTS (SELECT 1 FROM gateway_call b
                  WHERE b.pipeline_id = p_id AND b.step_index = p_step - 1 AND b.state IN ('settled', 'delivered'));
  IF NOT FOUND THEN
    RETURN CASE WHEN EXISTS (SELECT 1 FROM gateway_call c WHERE c.pipeline_id = p_id AND c.step_index = p_step AND c.state = 'accepted'
                                AND c.driver = p_driver AND c.drives = 1)
                THEN 'started' ELSE 'elsewhere' END;
  END IF;
  UPDATE pipeline SET updated_at = v_now WHERE id = p_id;
  RETURN 'started';
END $$;

-- Pays the delivered steps of a pipeline, all of which keep their price in one session.
CREATE OR REPLACE FUNCTION pipeline_pay(p_id text, p_session text, p_fee_owner text) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_ids text[]; v_sellers text[]; v_prices bigint[]; v_fees bigint[]; v_sum bigint;
BEGIN
  WITH paid AS (
    UPDATE gateway_call c SET state = 'settled', price = c.reserved, fee = fee_of(c.reserved, c.fee_bps), reserved = 0,
           finished_at = clock_timestamp()
     WHERE c.pipeline_id = p_id AND c.state = 'delivered' RETURNING c.id, c.seller, c.price, c.fee
  ) SELECT array_agg(id ORDER BY id), array_agg(seller ORDER BY id), array_agg(price ORDER BY id), array_agg(fee ORDER BY id), sum(price)
      INTO v_ids, v_sellers, v_prices, v_fees, v_sum FROM paid;
  IF v_ids IS NULL THEN RETURN; END IF;
  UPDATE meter SET used = used + v_sum, reserved = reserved - v_sum, uses = uses + cardinality(v_ids), last_used_at = clock_timestamp()
   WHERE id = p_session;
  PERFORM spend_pay(array_fill(p_session, ARRAY[cardinality(v_ids)]), v_ids, v_ids, v_sellers, v_prices, v_fees, p_fee_owner,
                    'call.settled');
END $$;

-- Gives back what the steps of a pipeline have kept and will not pay: planned ones, and refundable ones that had delivered.
CREATE OR REPLACE FUNCTION pipeline_give_back(p_id text, p_session text) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_ids text[]; v_amounts bigint[];
BEGIN
  WITH given AS (
    UPDATE gateway_call c SET state = 'released', finished_at = clock_timestamp(), error_code = 'pipeline_failed',
           error_message = CASE c.state WHEN 'planned' THEN 'The pipeline ended before this step.'
                                        ELSE 'Given back: the pipeline did not complete.' END
     WHERE c.pipeline_id = p_id AND c.state IN ('planned', 'delivered') RETURNING c.id, c.reserved
  ) SELECT array_agg(id ORDER BY id), array_agg(reserved ORDER BY id) INTO v_ids, v_amounts FROM given;
  IF v_ids IS NULL THEN RETURN; END IF;
  UPDATE meter SET reserved = reserved - (SELECT sum(a) FROM unnest(v_amounts) a) WHERE id = p_session;
  INSERT INTO outbox (topic, ref) SELECT 'call.released', u.id FROM unnest(v_ids) AS u(id);
END $$;

-- Informs the outside of a state that the pipeline has reached by itself. One that has ended before a start was sent needs no workflow.
CREATE OR REPLACE FUNCTION pipeline_reached(v pipeline) RETURNS void LANGUAGE sql AS $$
  INSERT INTO outbox (topic, ref, data)
  VALUES ('pipeline.' || v.state, v.id, jsonb_build_object('version', v.version, 'paid', v.total_paid::text));
  DELETE FROM workflow_notice WHERE payment_id = v.id AND v.ended_at IS NOT NULL AND NOT v.workflow_started;
$$;

-- Ends a pipeline if its steps say so: all delivered → the kept ones are paid, completed. One given up, or cancelled → what is not paid
-- goes back, and compensations are due for the steps that delivered, or may have. While a step is under way, or still to begin, it
-- changes nothing. p_step, p_message: a step that cannot even begin, and why.
CREATE OR REPLACE FUNCTION pipeline_finish(p_id text, p_fee_owner text, p_step integer DEFAULT NULL, p_message text DEFAULT NULL)
RETURNS SETOF pipeline LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v pipeline; c record; f gateway_call; v_undo boolean; v_state text;
BEGIN
  SELECT * INTO v FROM pipeline WHERE id = p_id FOR NO KEY UPDATE;
  IF v.id IS NULL THEN PERFORM refuse('not_found'); END IF;
  IF v.state NOT IN ('running', 'cancelling') THEN RETURN NEXT v; RETURN; END IF;
  PERFORM 1 FROM gateway_call g WHERE g.pipeline_id = p_id ORDER BY g.id FOR NO KEY UPDATE;
  SELECT bool_or(g.state = 'accepted') AS under_way, bool_or(g.state = 'planned') AS planned, bool_or(g.state = 'released') AS given_up
    INTO c FROM gateway_call g WHERE g.pipeline_id = p_id;
  IF c.under_way OR (v.state = 'running' AND c.planned AND NOT c.given_up AND p_step IS NULL) THEN RETURN NEXT v; RETURN; END IF;
  PERFORM 1 FROM meter m WHERE m.id = v.session_id FOR NO KEY UPDATE;

  IF v.state = 'running' AND NOT c.given_up AND p_step IS NULL THEN
    PERFORM pipeline_pay(p_id, v.session_id, p_fee_owner);
    v_state := 'completed';
  ELSE
    -- At most one step was given up: those after it have not begun.
    SELECT * INTO f FROM gateway_call g WHERE g.pipeline_id = p_id AND g.state = 'released';
    -- Undone is what delivered, paid or not, and what may have been done although no answer came.
    UPDATE gateway_call g SET undo_since = clock_timestamp(), undo_due_at = clock_timestamp(),
           undo_state = CASE WHEN g.state IN ('settled', 'delivered') OR g.error_code = 'execution_unknown'
             OR EXISTS (SELECT 1 FROM jsonb_array_elements(g.attempts) a WHERE a ->> 'outcome' IN ('timeout', 'reset'))
             THEN 'pending' ELSE 'not_needed' END
     WHERE g.pipeline_id = p_id AND g.compensation IS NOT NULL;
    PERFORM pipeline_give_back(p_id, v.session_id);
    SELECT bool_or(g.undo_state = 'pending') INTO v_undo FROM gateway_call g WHERE g.pipeline_id = p_id;
    UPDATE gateway_call g SET error_message = p_message WHERE g.pipeline_id = p_id AND g.step_index = p_step;
    v.ends_as := CASE v.state WHEN 'cancelling' THEN 'cancelled' ELSE 'failed' END;
    v_state := CASE WHEN v_undo THEN 'undoing' ELSE v.ends_as END;
  END IF;
  UPDATE gateway_call g SET undo_state = 'not_needed'
   WHERE v_state = 'completed' AND g.pipeline_id = p_id AND g.undo_state = 'registered';
  UPDATE pipeline p SET state = v_state, ends_as = v.ends_as, version = p.version + 1, updated_at = clock_timestamp(),
         ended_at = CASE WHEN v_state <> 'undoing' THEN clock_timestamp() END,
         total_paid = (SELECT coalesce(sum(g.price), 0) FROM gateway_call g WHERE g.pipeline_id = p_id AND g.state = 'settled'),
         failed_step = coalesce(p_step, f.step_index),
         error_code = CASE WHEN p_step IS NOT NULL THEN 'pipeline_failed' ELSE f.error_code END,
         error_message = coalesce(p_message, f.error_message)
   WHERE p.id = p_id RETURNING p.* INTO v;
  PERFORM pipeline_reached(v);
  RETURN NEXT v;
END $$;

-- Settles a delivered step (p as in gateway_settle) and goes on in the same transaction: begins step p_next with these parameters, or ends
-- the pipeline where there is none. next: as pipeline_start_step answers. ended: the pipeline. Both NULL where the delivery came too late.
CREATE OR REPLACE FUNCTION pipeline_pass(p json, p_fee_owner text, p_id text, p_next integer, p_params text, p_driver text,
                                         p_lease_ms integer)
RETURNS TABLE (outcome text, spent bigint, remaining bigint, request_count integer, next text, ended pipeline) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE r record;
BEGIN
  -- The pipeline before its calls, as everywhere.
  PERFORM 1 FROM pipeline v WHERE v.id = p_id FOR NO KEY UPDATE;
  SELECT * INTO r FROM gateway_settle(p, p_fee_owner);
  outcome := r.outcome; spent := r.spent; remaining := r.remaining; request_count := r.request_count;
  IF r.outcome IN ('settled', 'delivered') THEN
    IF p_next IS NULL THEN
      SELECT * INTO ended FROM pipeline_finish(p_id, p_fee_owner);
    ELSE
      next := pipeline_start_step(p_id, p_next, p_params, p_driver, p_lease_ms);
    END IF;
  END IF;
  RETURN NEXT;
END $$;

-- Stops a running pipeline after the step that is under way. p_by: who asked, which the rules have allowed (domain/pipeline-rules.ts).
-- No row: it was not running any more.
CREATE OR REPLACE FUNCTION pipeline_cancel(p_id text, p_by text) RETURNS SETOF pipeline LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v pipeline;
BEGIN
  UPDATE pipeline p SET state = 'cancelling', version = p.version + 1, updated_at = clock_timestamp()
   WHERE p.id = p_id AND p.state = 'running' RETURNING p.* INTO v;
  IF v.id IS NULL THEN RETURN; END IF;
  PERFORM pipeline_moved(p_id, v.version, 'cancelling', jsonb_build_object('version', v.version, 'by', p_by));
  RETURN NEXT v;
END $$;

-- Has the compensations that were given up called again, from now on for as long as the first time; a pipeline that has ended is being
-- undone once more. No row: there is none to call again, or the pipeline is not that far.
CREATE OR REPLACE FUNCTION pipeline_retry_undo(p_id text, p_by text) RETURNS SETOF pipeline LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v pipeline; v_now timestamptz := clock_timestamp();
BEGIN
  SELECT * INTO v FROM pipeline WHERE id = p_id FOR NO KEY UPDATE;
  IF v.state IS NULL OR v.state NOT IN ('undoing', 'failed', 'cancelled') THEN RETURN; END IF;
  UPDATE gateway_call g SET undo_state = 'pending', undo_since = v_now, undo_due_at = v_now
   WHERE g.pipeline_id = p_id AND g.undo_state = 'failed';
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE pipeline p SET state = 'undoing', version = p.version + 1, updated_at = v_now, ended_at = NULL
   WHERE p.id = p_id RETURNING p.* INTO v;
  PERFORM pipeline_moved(p_id, v.version, 'undo_retried', jsonb_build_object('version', v.version, 'by', p_by));
  RETURN NEXT v;
END $$;

-- Takes the lease of a compensation that is due: one process at a time calls it. outcome: claimed (age_ms: since when it is to be undone),
-- later (wait_ms: until it is due, or the lease of another process ends), over (it is not to be undone any more).
CREATE OR REPLACE FUNCTION pipeline_claim_undo(p_id text, p_step integer, p_driver text, p_lease_ms integer)
RETURNS TABLE (outcome text, wait_ms bigint, age_ms bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE g gateway_call; v_now timestamptz := clock_timestamp(); v_free timestamptz;
BEGIN
  SELECT * INTO g FROM gateway_call c WHERE c.pipeline_id = p_id AND c.step_index = p_step FOR NO KEY UPDATE;
  outcome := 'over'; wait_ms := 0; age_ms := 0;
  IF g.undo_state = 'pending' THEN
    v_free := greatest(g.undo_due_at, g.lease_until);
    outcome := CASE WHEN v_free <= v_now THEN 'claimed' ELSE 'later' END;
    wait_ms := ceil(greatest(0, extract(epoch FROM v_free - v_now)) * 1000);
    age_ms := floor(extract(epoch FROM v_now - g.undo_since) * 1000);
  END IF;
  IF outcome = 'claimed' THEN
    UPDATE gateway_call c SET driver = p_driver, lease_until = v_now + p_lease_ms * interval '1 millisecond' WHERE c.id = g.id;
  END IF;
  RETURN NEXT;
END $$;

-- Notes a try to compensate a step, with an event for each. The pipeline ends with its last compensation. p_pause_ms: until the next try;
-- NULL: there will be none. Two processes may have tried at the same moment when a lease ran out: the try of the one that lost it counts
-- only if it was good, and what is settled is not noted twice.
CREATE OR REPLACE FUNCTION pipeline_note_undo(p_id text, p_step integer, p_driver text, p_done boolean, p_pause_ms bigint, p_error text)
RETURNS SETOF pipeline LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v pipeline; v_attempt integer; v_topic text; v_due timestamptz; v_now timestamptz := clock_timestamp();
BEGIN
  SELECT * INTO v FROM pipeline WHERE id = p_id FOR NO KEY UPDATE;
  IF v.id IS NULL THEN PERFORM refuse('not_found'); END IF;
  UPDATE gateway_call g SET undo_attempts = g.undo_attempts + 1, undo_error = p_error, lease_until = NULL,
         undo_due_at = v_now + p_pause_ms * interval '1 millisecond',
         undo_state = CASE WHEN p_done THEN 'done' WHEN p_pause_ms IS NULL THEN 'failed' ELSE 'pending' END
   WHERE g.pipeline_id = p_id AND g.step_index = p_step AND g.undo_state = 'pending' AND (p_done OR g.driver = p_driver)
  RETURNING g.undo_attempts INTO v_attempt;
  IF v_attempt IS NULL THEN RETURN NEXT v; RETURN; END IF;
  -- Until the next try is due nobody expects a sign of life.
  SELECT min(g.undo_due_at) INTO v_due FROM gateway_call g WHERE g.pipeline_id = p_id AND g.undo_state = 'pending';
  UPDATE pipeline p SET version = p.version + 1, updated_at = greatest(v_now, v_due) WHERE p.id = p_id RETURNING p.* INTO v;
  v_topic := CASE WHEN p_done THEN 'step_undone' WHEN p_pause_ms IS NULL THEN 'undo_failed' ELSE 'undo_tried' END;
  INSERT INTO outbox (topic, ref, data) VALUES ('pipeline.' || v_topic, p_id,
    jsonb_build_object('version', v.version, 'stepIndex', p_step, 'attempt', v_attempt)
      || CASE WHEN p_error IS NULL THEN '{}' ELSE jsonb_build_object('error', p_error) END);
  IF v.state = 'undoing' AND v_due IS NULL THEN
    UPDATE pipeline p SET state = p.ends_as, version = p.version + 1, ended_at = v_now WHERE p.id = p_id RETURNING p.* INTO v;
    PERFORM pipeline_reached(v);
  END IF;
  RETURN NEXT v;
END $$;
