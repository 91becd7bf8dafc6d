-- How calls of the gateway are accepted. A call draws on the meter of its session, or on one of its own. Locks: meter, idempotency key,
-- hold, account.

-- Accepts calls, many at once: writes the call row and reserves its price in the session's budget. From this commit on the
-- platform owes the call an end. outcome: accepted, replay (same key and body: existing_id), or the code of the refusal.
CREATE OR REPLACE FUNCTION gateway_accept(p json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE
  v_items gateway_call_item[]; v_meters text[]; v_keyed boolean; v_taken text[] := '{}';
  r record; v_session text := ''; v_left bigint; v_count integer; v_now timestamptz := clock_timestamp();
  v_ok integer[] := '{}'; v_ok_sessions text[] := '{}'; v_ok_prices bigint[] := '{}'; v_refused text[] := '{}';
BEGIN
  SELECT array_agg(x), array_agg(DISTINCT x.session_id), bool_or(x.key IS NOT NULL AND x.key_taken IS NOT TRUE)
    INTO v_items, v_meters, v_keyed FROM json_populate_recordset(NULL::gateway_call_item, p) x;
  PERFORM 1 FROM meter m WHERE m.id = ANY (v_meters) ORDER BY m.id FOR NO KEY UPDATE;
  -- Keys are taken in sorted order and only after the meters are locked, so two batches cannot wait for each other in a ring.
  IF v_keyed THEN
    WITH taken AS (
      INSERT INTO idempotency (agent_address, key, request_hash, resource_id)
      SELECT x.buyer, x.key, x.hash, x.id FROM unnest(v_items) x WHERE x.key IS NOT NULL AND x.key_taken IS NOT TRUE ORDER BY x.buyer, x.key
      ON CONFLICT DO NOTHING RETURNING resource_id
    ) SELECT coalesce(array_agg(resource_id), '{}') INTO v_taken FROM taken;
  END IF;

  FOR r IN
    SELECT x.pos, x.id, x.session_id, x.buyer, x.price, x.key, x.hash, m.owner, m.open, m.closes_at, m.price_max,
           m.capacity - m.used - m.reserved AS left_now, m.uses_per_minute AS per_minute,
           CASE WHEN m.window_started_at > v_now - interval '1 minute' THEN m.window_uses ELSE 0 END AS in_window,
           x.key IS NOT NULL AND x.key_taken IS NOT TRUE AND x.id <> ALL (v_taken) AS repeated
      FROM unnest(v_items) x LEFT JOIN meter m ON m.id = x.session_id
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
      WHEN r.owner IS NULL THEN 'not_found'
      WHEN r.owner <> r.buyer THEN 'forbidden'
      WHEN r.closes_at <= v_now THEN 'session_expired'
      WHEN NOT r.open THEN 'session_closed'
      WHEN v_count > r.per_minute THEN 'rate_limited'
      WHEN r.price > v_left OR r.price > r.price_max THEN 'budget_exceeded'
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
  PERFORM spend_reserve(v_ok_sessions, v_ok_prices, v_now);
  INSERT INTO gateway_call (id, session_id, buyer, service_type, params, candidates, idempotency_key, reserved, fee_bps, seller, service_id,
                            service_name, driver, lease_until, workflow_id, accepted_at)
  SELECT x.id, x.session_id, x.buyer, x.service_type, x.params, x.candidates, x.key, x.price, x.fee_bps, x.seller, x.service_id,
         x.service_name, p_driver, v_now + p_lease_ms * interval '1 millisecond', x.workflow_id, v_now
    FROM unnest(v_items) x WHERE x.pos = ANY (v_ok);
END $$;

-- One paid call with a hold and a meter of its own: p_limit is held, with the call, in one transaction. A call that is refused leaves
-- nothing behind. outcome as in gateway_accept; a repeated key answers before anything is held. The call must come as `key_taken`.
CREATE OR REPLACE FUNCTION gateway_call_once(p_limit bigint, p_asset text, p_call json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE c json := p_call -> 0; v_hash text; a record;
BEGIN
  -- The key before the money, as everywhere: an escrow of this buyer that has the key and waits for the account, while we have the account
  -- and wait for the key, would wait for ever. The insert waits while the first request with this key is under way.
  IF c ->> 'key' IS NOT NULL THEN
    INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (c ->> 'buyer', c ->> 'key', c ->> 'hash', c ->> 'id')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT i.request_hash, i.resource_id INTO v_hash, existing_id FROM idempotency i
       WHERE i.agent_address = c ->> 'buyer' AND i.key = c ->> 'key';
      pos := 0; remaining := 0;
      -- Not there any more: the first request was refused and has just freed the key; the caller asks again.
      outcome := CASE WHEN v_hash IS NULL THEN 'idempotency_in_progress' WHEN v_hash = c ->> 'hash' THEN 'replay'
                      ELSE 'idempotency_mismatch' END;
      RETURN NEXT; RETURN;
    END IF;
  END IF;
  IF NOT spend_begin(c ->> 'session_id', c ->> 'session_id', c ->> 'buyer', p_asset, p_limit, 'pending', NULL) THEN
    PERFORM refuse('insufficient_balance');
  END IF;
  INSERT INTO meter (id, owner, capacity, price_max, last_used_at, single_use)
  VALUES (c ->> 'session_id', c ->> 'buyer', p_limit, p_limit, clock_timestamp(), true);
  SELECT * INTO a FROM gateway_accept(p_call, p_driver, p_lease_ms);
  -- Raised, so that key, hold and meter go with it.
  IF a.outcome <> 'accepted' THEN PERFORM refuse(a.outcome); END IF;
  pos := a.pos; outcome := a.outcome; existing_id := NULL; remaining := a.remaining;
  RETURN NEXT;
END $$;
