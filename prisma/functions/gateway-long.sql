-- Long calls. State and money are those of every call of the gateway and move by the same functions; what is long stands in long_call and
-- is written under the lock of the call. Locks: pipeline, call, long call, meter, idempotency key, hold, account.

-- Notes what has happened, as the next version of the call: its event, and that its workflow has something to hear. p_heard: an activity of
-- the workflow did this, which reports it. What has ended before a start was sent needs no workflow any more.
CREATE OR REPLACE FUNCTION long_call_note(p_id text, p_step text, p_role text, p_data jsonb, p_heard boolean) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE l long_call;
BEGIN
  UPDATE long_call SET version = version + 1 WHERE id = p_id RETURNING * INTO l;
  INSERT INTO long_call_event (call_id, version, step, role, data) VALUES (p_id, l.version, p_step, p_role, p_data);
  IF l.ended_at IS NOT NULL AND NOT l.workflow_started THEN
    DELETE FROM workflow_notice WHERE payment_id = p_id;
  ELSIF NOT p_heard THEN
    INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p_id, 'call', l.version)
    ON CONFLICT (payment_id) DO UPDATE SET version = excluded.version, noted_at = excluded.noted_at;
  END IF;
END $$;

-- Begins what is long about a call that was accepted in this transaction: nobody drives it from now on. p_wait_ms: until it is given back
-- even if nobody could be asked. @returns that moment.
CREATE OR REPLACE FUNCTION long_call_begin(p_id text, p_tenant text, p_base_url text, p_wait_ms bigint, p_started boolean)
RETURNS timestamptz LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_deadline timestamptz := clock_timestamp() + p_wait_ms * interval '1 millisecond';
BEGIN
  UPDATE gateway_call SET driver = NULL, lease_until = NULL WHERE id = p_id;
  INSERT INTO long_call (id, tenant_id, deadline, base_url, workflow_started) VALUES (p_id, p_tenant, v_deadline, p_base_url, p_started);
  INSERT INTO long_call_event (call_id, version, step, role) VALUES (p_id, 1, 'accepted', 'buyer');
  INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p_id, 'call', 1);
  RETURN v_deadline;
END $$;

-- Accepts a long call, in a session (p_limit NULL) or with a hold of its own. outcome: as gateway_accept and gateway_call_once answer.
CREATE OR REPLACE FUNCTION long_call_open(p_call json, p_limit bigint, p_asset text, p_tenant text, p_base_url text, p_wait_ms bigint,
                                          p_started boolean)
RETURNS TABLE (outcome text, existing_id text, remaining bigint, deadline timestamptz) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE a record;
BEGIN
  IF p_limit IS NULL THEN SELECT * INTO a FROM gateway_accept(p_call, '', 0);
  ELSE SELECT * INTO a FROM gateway_call_once(p_limit, p_asset, p_call, '', 0); END IF;
  outcome := a.outcome; existing_id := a.existing_id; remaining := a.remaining;
  IF a.outcome = 'accepted' THEN
    deadline := long_call_begin(p_call -> 0 ->> 'id', p_tenant, p_base_url, p_wait_ms, p_started);
  END IF;
  RETURN NEXT;
END $$;

-- Whether the seller of this attempt is to be asked now, and by this process; that it is asked is written before it is. p_patience_ms: what
-- a seller has that has declared no time of its own. p_lease_ms: how long nobody else asks.
-- outcome: ask · busy (another process is asking) · waits (its answer was lost, and it does not promise to work only once) · begun · over.
CREATE OR REPLACE FUNCTION long_call_ask(p_id text, p_patience_ms bigint, p_lease_ms bigint, p_heard boolean) RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE c gateway_call; l long_call; v_candidate jsonb; v_now timestamptz; v_deadline timestamptz;
BEGIN
  SELECT * INTO c FROM gateway_call WHERE id = p_id FOR NO KEY UPDATE;
  SELECT * INTO l FROM long_call WHERE id = p_id FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  IF c.state IS DISTINCT FROM 'accepted' OR l.id IS NULL OR l.deadline <= v_now THEN RETURN 'over'; END IF;
  IF l.begun_at IS NOT NULL THEN RETURN 'begun'; END IF;
  IF l.asking_until > v_now THEN RETURN 'busy'; END IF;
  v_candidate := c.candidates -> c.attempt;
  IF l.asked_at IS NOT NULL AND NOT (v_candidate ->> 'idempotent')::boolean THEN
    -- Whoever asked has died over it.
    IF l.asking_until IS NOT NULL THEN
      UPDATE long_call SET asking_until = NULL WHERE id = p_id;
      PERFORM long_call_note(p_id, 'answer_lost', 'platform', '{"outcome": "interrupted"}', p_heard);
    END IF;
    RETURN 'waits';
  END IF;
  -- Its time begins when it is asked for the first time.
  v_deadline := CASE WHEN l.asked_at IS NOT NULL THEN l.deadline
    ELSE v_now + coalesce((v_candidate ->> 'maxDurationSecs')::bigint * 1000, p_patience_ms) * interval '1 millisecond' END;
  UPDATE long_call SET asked_at = coalesce(asked_at, v_now), asking_until = v_now + p_lease_ms * interval '1 millisecond',
         deadline = v_deadline, asks = asks + 1 WHERE id = p_id;
  PERFORM long_call_note(p_id, CASE WHEN l.asked_at IS NULL THEN 'asked' ELSE 'asked_again' END, 'platform',
    jsonb_build_object('seller', c.seller, 'service', c.service_name, 'attempt', c.attempt), p_heard);
  RETURN 'ask';
END $$;

-- What a seller has answered that leaves the call open. p_step: begun, or answer_lost. Anything that comes too late changes nothing.
CREATE OR REPLACE FUNCTION long_call_answered(p_id text, p_attempt integer, p_step text, p_data jsonb, p_heard boolean) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE l long_call;
BEGIN
  PERFORM 1 FROM gateway_call WHERE id = p_id AND state = 'accepted' AND attempt = p_attempt FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT * INTO l FROM long_call WHERE id = p_id FOR NO KEY UPDATE;
  UPDATE long_call SET asking_until = NULL,
         begun_at = CASE WHEN p_step = 'begun' THEN coalesce(begun_at, clock_timestamp()) ELSE begun_at END
   WHERE id = p_id;
  IF l.begun_at IS NULL THEN PERFORM long_call_note(p_id, p_step, 'seller', p_data, p_heard); END IF;
END $$;

-- Moves the call on to its next seller, before anything has begun. outcome: as gateway_next_attempt answers.
CREATE OR REPLACE FUNCTION long_call_next(p_id text, p_from integer, p_to integer, p_log jsonb, p_wait_ms bigint, p_heard boolean)
RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE l long_call; v_outcome text;
BEGIN
  PERFORM 1 FROM gateway_call WHERE id = p_id FOR NO KEY UPDATE;
  SELECT * INTO l FROM long_call WHERE id = p_id FOR NO KEY UPDATE;
  IF l.begun_at IS NOT NULL THEN RETURN 'superseded'; END IF;
  v_outcome := gateway_next_attempt(p_id, p_from, p_to, p_log);
  IF v_outcome = 'moved' THEN
    UPDATE long_call SET asked_at = NULL, asking_until = NULL, asks = 0, deadline = clock_timestamp() + p_wait_ms * interval '1 millisecond'
     WHERE id = p_id;
    PERFORM long_call_note(p_id, 'failed_over', 'platform',
      (SELECT jsonb_build_object('seller', c.seller, 'service', c.service_name, 'attempt', c.attempt)
         FROM gateway_call c WHERE c.id = p_id),
      p_heard);
  END IF;
  RETURN v_outcome;
END $$;

-- A sign of life, with how far the seller is where it says so: it has begun. One that comes often leaves a line for each ten seconds only.
-- outcome: done · moved (the call is no longer what the decision was made on: it has ended, gone to another seller, or its time is up).
CREATE OR REPLACE FUNCTION long_call_progress(p_id text, p_attempt integer, p_percent integer, p_words text, p_heard boolean) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE l long_call; v_now timestamptz;
BEGIN
  PERFORM 1 FROM gateway_call WHERE id = p_id AND state = 'accepted' AND attempt = p_attempt FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN 'moved'; END IF;
  SELECT * INTO l FROM long_call WHERE id = p_id FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  IF l.deadline <= v_now THEN RETURN 'moved'; END IF;
  UPDATE long_call SET begun_at = coalesce(begun_at, v_now), percent = coalesce(p_percent, percent), note = coalesce(p_words, note)
   WHERE id = p_id;
  IF l.version < 100 OR (SELECT e.created_at FROM long_call_event e WHERE e.call_id = p_id AND e.version = l.version)
                        < v_now - interval '10 seconds' THEN
    PERFORM long_call_note(p_id, 'progress', 'seller',
      jsonb_strip_nulls(jsonb_build_object('percent', p_percent, 'note', p_words)), p_heard);
  END IF;
  RETURN 'done';
END $$;

-- Settles a call with what its seller has delivered (p_delivery as gateway_settle reads it), or gives it back (p_release as gateway_release
-- does), and notes the step that did it. p_guard: begun and not_begun hold the step to that, due to a deadline that has passed; every other
-- step comes before the deadline. outcome: settled, delivered, released · moved: the call is no longer what the decision was made on.
CREATE OR REPLACE FUNCTION long_call_end(p_id text, p_attempt integer, p_guard text, p_delivery json, p_release json, p_fee_owner text,
                                         p_step text, p_role text, p_data jsonb, p_heard boolean)
RETURNS TABLE (outcome text, drained text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE l long_call;
BEGIN
  PERFORM 1 FROM gateway_call WHERE id = p_id AND state = 'accepted' AND attempt = p_attempt FOR NO KEY UPDATE;
  IF NOT FOUND THEN outcome := 'moved'; RETURN NEXT; RETURN; END IF;
  SELECT * INTO l FROM long_call WHERE id = p_id FOR NO KEY UPDATE;
  IF (l.deadline <= clock_timestamp()) <> (p_guard = 'due') OR (p_guard = 'not_begun' AND l.begun_at IS NOT NULL) THEN
    outcome := 'moved'; RETURN NEXT; RETURN;
  END IF;
  IF p_delivery IS NOT NULL THEN SELECT s.outcome, s.drained INTO outcome, drained FROM gateway_settle(p_delivery, p_fee_owner) s;
  ELSE SELECT r.outcome, r.drained INTO outcome, drained FROM gateway_release(p_release) r; END IF;
  UPDATE long_call SET ended_at = clock_timestamp(), asking_until = NULL WHERE id = p_id;
  PERFORM long_call_note(p_id, p_step, p_role, p_data, p_heard);
  RETURN NEXT;
END $$;
