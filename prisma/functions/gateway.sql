-- Gateway sessions, and how calls are accepted. Locks: session, idempotency key, hold, account.

-- Holds the whole budget and opens the session, in one step. With an idempotency key the answer is kept with it.
-- Raises insufficient_balance, idempotency_mismatch; answers the earlier session's id and stored answer for a repeated key.
CREATE OR REPLACE FUNCTION gateway_open_session(p json) RETURNS TABLE (session_id text, replayed boolean) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_hash text; v_known text; v_id text := p ->> 'id';
BEGIN
  IF p ->> 'idempotencyKey' IS NOT NULL THEN
    INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (p ->> 'agent', p ->> 'idempotencyKey', p ->> 'requestHash', v_id)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT request_hash, resource_id INTO v_hash, v_known FROM idempotency WHERE agent_address = p ->> 'agent' AND key = p ->> 'idempotencyKey';
      IF v_hash <> p ->> 'requestHash' THEN PERFORM refuse('idempotency_mismatch'); END IF;
      RETURN QUERY SELECT v_known, true; RETURN;
    END IF;
  END IF;
  PERFORM ledger_hold(v_id, p ->> 'agent', 'USDC', (p ->> 'maxTotal')::bigint, 'pending', (p ->> 'expiresAt')::timestamptz, p ->> 'tenantId');
  INSERT INTO gateway_session (id, agent_address, tenant_id, max_total, max_per_request, strategy, allowed_types, warn_at_percent,
                               max_requests_per_minute, single_call, workflow_id, expires_at)
  VALUES (v_id, p ->> 'agent', p ->> 'tenantId', (p ->> 'maxTotal')::bigint, (p ->> 'maxPerRequest')::bigint, p ->> 'strategy',
          coalesce((SELECT array_agg(t) FROM json_array_elements_text(p -> 'allowedTypes') t), '{}'), (p ->> 'warnAtPercent')::integer,
          (p ->> 'maxRequestsPerMinute')::integer, coalesce((p ->> 'singleCall')::boolean, false), p ->> 'workflowId', (p ->> 'expiresAt')::timestamptz);
  INSERT INTO outbox (topic, ref) VALUES ('session.created', v_id);
  RETURN QUERY SELECT v_id, false;
END $$;

-- Ends a session: what no call under way needs goes back to the buyer now, the rest when those calls end. Once; a second time
-- changes nothing. Returns false when there is no such session.
CREATE OR REPLACE FUNCTION gateway_close_session(p_id text, p_status text) RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE s gateway_session;
BEGIN
  SELECT * INTO s FROM gateway_session WHERE id = p_id FOR NO KEY UPDATE;
  IF s.id IS NULL THEN RETURN false; END IF;
  IF s.status <> 'active' THEN RETURN true; END IF;
  UPDATE gateway_session SET status = p_status, closed_at = now(), updated_at = now() WHERE id = p_id;
  PERFORM ledger_close_hold(p_id, s.reserved);
  INSERT INTO outbox (topic, ref) VALUES ('session.' || p_status, p_id);
  RETURN true;
END $$;

-- Accepts calls, many at once: writes the call row and reserves its price in the session's budget. From this commit on the
-- platform owes the call an end. outcome: accepted, replay (same key and body: existing_id), or the code of the refusal.
CREATE OR REPLACE FUNCTION gateway_accept(p json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_items gateway_call_item[]; v_sessions text[]; v_keyed boolean; v_taken text[] := '{}';
  r record; v_session text := ''; v_left bigint; v_count integer; v_now timestamptz := clock_timestamp();
  v_ok integer[] := '{}'; v_ok_sessions text[] := '{}'; v_ok_prices bigint[] := '{}'; v_refused text[] := '{}';
BEGIN
  SELECT array_agg(x), array_agg(DISTINCT x.session_id), bool_or(x.key IS NOT NULL AND x.key_taken IS NOT TRUE) INTO v_items, v_sessions, v_keyed FROM json_populate_recordset(NULL::gateway_call_item, p) x;
  PERFORM 1 FROM gateway_session s WHERE s.id = ANY (v_sessions) ORDER BY s.id FOR NO KEY UPDATE;
  -- Keys are taken in sorted order and only after the sessions are locked, so two batches cannot wait for each other in a ring.
  IF v_keyed THEN
    WITH taken AS (
      INSERT INTO idempotency (agent_address, key, request_hash, resource_id)
      SELECT x.buyer, x.key, x.hash, x.id FROM unnest(v_items) x WHERE x.key IS NOT NULL AND x.key_taken IS NOT TRUE ORDER BY x.buyer, x.key
      ON CONFLICT DO NOTHING RETURNING resource_id
    ) SELECT coalesce(array_agg(resource_id), '{}') INTO v_taken FROM taken;
  END IF;

  FOR r IN
    SELECT x.pos, x.id, x.session_id, x.buyer, x.price, x.key, x.hash, s.id AS found, s.status, s.agent_address, s.expires_at, s.max_per_request,
           s.max_total - s.spent - s.reserved AS left_now, s.max_requests_per_minute AS rpm,
           CASE WHEN s.window_started_at > v_now - interval '1 minute' THEN s.window_count ELSE 0 END AS in_window,
           x.key IS NOT NULL AND x.key_taken IS NOT TRUE AND x.id <> ALL (v_taken) AS repeated
      FROM unnest(v_items) x LEFT JOIN gateway_session s ON s.id = x.session_id
     ORDER BY x.session_id, x.pos
  LOOP
    IF r.session_id <> v_session THEN
      v_session := r.session_id; v_left := r.left_now; v_count := r.in_window;
    END IF;
    pos := r.pos; existing_id := NULL; remaining := v_left;
    IF r.repeated THEN
      SELECT CASE WHEN i.request_hash = r.hash THEN 'replay' ELSE 'idempotency_mismatch' END, i.resource_id INTO outcome, existing_id
        FROM idempotency i WHERE i.agent_address = r.buyer AND i.key = r.key;
      -- The first request with this key was refused and has just freed it: the caller asks again.
      outcome := coalesce(outcome, 'idempotency_in_progress');
      RETURN NEXT; CONTINUE;
    END IF;
    v_count := v_count + 1;
    outcome := CASE
      WHEN r.found IS NULL THEN 'not_found'
      WHEN r.agent_address <> r.buyer THEN 'forbidden'
      WHEN r.status = 'expired' OR (r.status = 'active' AND r.expires_at <= v_now) THEN 'session_expired'
      WHEN r.status <> 'active' THEN 'session_closed'
      WHEN v_count > r.rpm THEN 'rate_limited'
      WHEN r.price > v_left OR r.price > r.max_per_request THEN 'budget_exceeded'
      ELSE 'accepted' END;
    IF outcome = 'accepted' THEN
      v_left := v_left - r.price; remaining := v_left;
      v_ok := v_ok || r.pos; v_ok_sessions := v_ok_sessions || r.session_id; v_ok_prices := v_ok_prices || r.price;
    ELSIF r.key IS NOT NULL THEN
      v_refused := v_refused || r.id;
    END IF;
    RETURN NEXT;
  END LOOP;

  IF cardinality(v_refused) > 0 THEN DELETE FROM idempotency WHERE resource_id = ANY (v_refused); END IF;
  IF cardinality(v_ok) = 0 THEN RETURN; END IF;
  UPDATE gateway_session s SET reserved = s.reserved + d.price, updated_at = v_now,
         window_count = d.calls + CASE WHEN s.window_started_at > v_now - interval '1 minute' THEN s.window_count ELSE 0 END,
         window_started_at = CASE WHEN s.window_started_at > v_now - interval '1 minute' THEN s.window_started_at ELSE v_now END
    FROM (SELECT u.session_id, sum(u.price)::bigint AS price, count(*)::integer AS calls FROM unnest(v_ok_sessions, v_ok_prices) AS u(session_id, price) GROUP BY u.session_id) d
   WHERE s.id = d.session_id;
  INSERT INTO gateway_call (id, session_id, buyer, service_type, params, candidates, idempotency_key, reserved, fee_bps, seller, service_id, service_name,
                            driver, lease_until, workflow_id, accepted_at)
  SELECT x.id, x.session_id, x.buyer, x.service_type, x.params, x.candidates, x.key, x.price, x.fee_bps, x.seller, x.service_id, x.service_name,
         p_driver, v_now + p_lease_ms * interval '1 millisecond', x.workflow_id, v_now
    FROM unnest(v_items) x WHERE x.pos = ANY (v_ok);
END $$;

-- One paid call with a session of its own: hold, session and call in one transaction. A call that is refused leaves nothing behind.
-- outcome as in gateway_accept; a repeated key answers before anything is held. The call must come as `key_taken`.
CREATE OR REPLACE FUNCTION gateway_call_once(p_session json, p_call json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE c json := p_call -> 0; v_hash text; a record;
BEGIN
  -- The key before the money, as everywhere: an escrow of this buyer that has the key and waits for the account, while we have the account and
  -- wait for the key, would wait for ever. The insert waits while the first request with this key is under way.
  IF c ->> 'key' IS NOT NULL THEN
    INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (c ->> 'buyer', c ->> 'key', c ->> 'hash', c ->> 'id')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT i.request_hash, i.resource_id INTO v_hash, existing_id FROM idempotency i WHERE i.agent_address = c ->> 'buyer' AND i.key = c ->> 'key';
      pos := 0; remaining := 0;
      -- Not there any more: the first request was refused and has just freed the key; the caller asks again.
      outcome := CASE WHEN v_hash IS NULL THEN 'idempotency_in_progress' WHEN v_hash = c ->> 'hash' THEN 'replay' ELSE 'idempotency_mismatch' END;
      RETURN NEXT; RETURN;
    END IF;
  END IF;
  PERFORM gateway_open_session(p_session);
  SELECT * INTO a FROM gateway_accept(p_call, p_driver, p_lease_ms);
  -- Raised, so that key, hold and session go with it.
  IF a.outcome <> 'accepted' THEN PERFORM refuse(a.outcome); END IF;
  pos := a.pos; outcome := a.outcome; existing_id := NULL; remaining := a.remaining;
  RETURN NEXT;
END $$;
