-- How calls of the gateway go on and end. Locks: call, session, idempotency key, hold, account.

-- Settles delivered calls, many at once: the reserved price goes from the session's hold to the seller, the row keeps the answer.
-- A refundable step of a pipeline keeps answer and reservation until its pipeline ends: outcome delivered.
-- outcome: settled, delivered, or the state that was there before (settled again → already_settled, released), or superseded when another
-- driver has moved on to another seller.
CREATE OR REPLACE FUNCTION gateway_settle(p json, p_fee_owner text)
RETURNS TABLE (pos integer, outcome text, spent bigint, remaining bigint, request_count integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_items gateway_delivery_item[]; r record; v_ids text[] := '{}'; v_sessions text[] := '{}'; v_sellers text[] := '{}'; v_prices bigint[] := '{}';
  v_fees bigint[] := '{}'; v_pos integer[] := '{}'; v_seen text := ''; v_single text[]; v_kept integer[] := '{}';
BEGIN
  SELECT array_agg(x) INTO v_items FROM json_populate_recordset(NULL::gateway_delivery_item, p) x;
  FOR r IN
    SELECT x.pos, x.attempt AS asked, c.id, c.state, c.attempt, c.session_id, c.seller, c.reserved, c.fee_bps, c.refundable
      FROM unnest(v_items) x JOIN gateway_call c ON c.id = x.id ORDER BY c.id FOR NO KEY UPDATE OF c
  LOOP
    IF r.state = 'accepted' AND r.attempt = r.asked AND r.id <> v_seen THEN
      v_seen := r.id;
      IF r.refundable THEN v_kept := v_kept || r.pos; CONTINUE; END IF;
      v_pos := v_pos || r.pos; v_ids := v_ids || r.id; v_sessions := v_sessions || r.session_id; v_sellers := v_sellers || r.seller;
      v_prices := v_prices || r.reserved; v_fees := v_fees || fee_of(r.reserved, r.fee_bps);
    ELSE
      pos := r.pos; outcome := CASE WHEN r.state = 'accepted' AND r.id <> v_seen THEN 'superseded' WHEN r.state = 'released' THEN 'released' ELSE 'already_settled' END;
      RETURN NEXT;
    END IF;
  END LOOP;
  IF cardinality(v_kept) > 0 THEN
    UPDATE gateway_call c SET state = 'delivered', http_status = x.http_status, response = x.response, latency_ms = x.latency_ms, attempts = c.attempts || x.log,
           finished_at = clock_timestamp(), lease_until = NULL
      FROM unnest(v_items) x WHERE c.id = x.id AND x.pos = ANY (v_kept);
    INSERT INTO outbox (topic, ref) SELECT 'call.delivered', x.id FROM unnest(v_items) x WHERE x.pos = ANY (v_kept);
    RETURN QUERY SELECT x.pos, 'delivered'::text, s.spent, s.max_total - s.spent - s.reserved, s.request_count
      FROM unnest(v_items) x JOIN gateway_call c ON c.id = x.id JOIN gateway_session s ON s.id = c.session_id WHERE x.pos = ANY (v_kept);
  END IF;
  IF cardinality(v_ids) = 0 THEN RETURN; END IF;

  UPDATE gateway_call c SET state = 'settled', price = c.reserved, fee = fee_of(c.reserved, c.fee_bps), reserved = 0, http_status = x.http_status,
         response = x.response, latency_ms = x.latency_ms, attempts = c.attempts || x.log, finished_at = clock_timestamp(), lease_until = NULL
    FROM unnest(v_items) x WHERE c.id = x.id AND x.pos = ANY (v_pos);
  PERFORM 1 FROM gateway_session s WHERE s.id = ANY (v_sessions) ORDER BY s.id FOR NO KEY UPDATE;
  WITH ended AS (
    UPDATE gateway_session s SET spent = s.spent + d.price, reserved = s.reserved - d.price, request_count = s.request_count + d.calls, updated_at = clock_timestamp(),
           status = CASE WHEN s.single_call THEN 'closed' ELSE s.status END, closed_at = CASE WHEN s.single_call THEN clock_timestamp() ELSE s.closed_at END
      FROM (SELECT u.session_id, sum(u.price)::bigint AS price, count(*)::integer AS calls FROM unnest(v_sessions, v_prices) AS u(session_id, price) GROUP BY u.session_id) d
     WHERE s.id = d.session_id RETURNING s.id, s.single_call
  ) SELECT array_agg(ended.id ORDER BY ended.id) INTO v_single FROM ended WHERE ended.single_call;
  PERFORM ledger_capture(v_sessions, v_ids, v_ids, v_sellers, v_prices, v_fees, p_fee_owner);
  -- The hold of a single call ends with it; what a cheaper seller left goes back.
  IF v_single IS NOT NULL THEN PERFORM ledger_close_hold(u.id, 0) FROM unnest(v_single) AS u(id); END IF;
  INSERT INTO outbox (topic, ref) SELECT 'call.settled', u.id FROM unnest(v_ids) AS u(id);
  RETURN QUERY SELECT u.pos, 'settled'::text, s.spent, s.max_total - s.spent - s.reserved, s.request_count
    FROM unnest(v_pos, v_sessions) AS u(pos, session_id) JOIN gateway_session s ON s.id = u.session_id;
END $$;

-- Gives up calls, many at once: the reservation ends, and in a session that has ended its money goes back to the buyer at once.
-- The idempotency key is free again: nothing was charged, so asking again is safe. outcome: released, or the state found.
CREATE OR REPLACE FUNCTION gateway_release(p json) RETURNS TABLE (pos integer, outcome text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE r record; v_ended boolean; v_holds text[]; v_freed text[] := '{}';
BEGIN
  FOR r IN
    SELECT x.pos, x.error_code, x.error_message, x.log, c.id, c.state, c.session_id, c.reserved
      FROM json_to_recordset(p) AS x(pos integer, id text, error_code text, error_message text, log jsonb)
      JOIN gateway_call c ON c.id = x.id ORDER BY c.id FOR NO KEY UPDATE OF c
  LOOP
    pos := r.pos; outcome := CASE r.state WHEN 'accepted' THEN 'released' WHEN 'settled' THEN 'already_settled' ELSE 'already_released' END;
    IF r.state = 'accepted' THEN v_freed := v_freed || r.id; END IF;
    RETURN NEXT;
  END LOOP;
  PERFORM 1 FROM gateway_session s WHERE s.id IN (SELECT c.session_id FROM gateway_call c JOIN json_to_recordset(p) AS x(id text) ON c.id = x.id) ORDER BY s.id FOR NO KEY UPDATE;
  -- Keys before holds and accounts, as everywhere.
  DELETE FROM idempotency WHERE resource_id = ANY (v_freed);
  -- In sessions that have ended, or end with their only call, money moves below, one session after the other. All their holds and
  -- accounts are locked first, in id order: a settlement that holds one account and waits for another must not meet us half-way.
  SELECT array_agg(DISTINCT s.id) INTO v_holds FROM gateway_session s JOIN gateway_call c ON c.session_id = s.id JOIN json_to_recordset(p) AS x(id text) ON c.id = x.id
   WHERE s.status <> 'active' OR s.single_call;
  IF v_holds IS NOT NULL THEN
    PERFORM 1 FROM hold WHERE id = ANY (v_holds) ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM account WHERE id IN (SELECT h.account_id FROM hold h WHERE h.id = ANY (v_holds)) ORDER BY id FOR NO KEY UPDATE;
  END IF;
  FOR r IN
    UPDATE gateway_call c SET state = 'released', error_code = x.error_code, error_message = x.error_message, attempts = c.attempts || coalesce(x.log, '[]'),
           finished_at = clock_timestamp(), lease_until = NULL
      FROM json_to_recordset(p) AS x(id text, error_code text, error_message text, log jsonb) WHERE c.id = x.id AND c.state = 'accepted'
    RETURNING c.id, c.session_id, c.reserved
  LOOP
    UPDATE gateway_session s SET reserved = s.reserved - r.reserved, updated_at = clock_timestamp() WHERE s.id = r.session_id
    RETURNING s.status <> 'active' INTO v_ended;
    IF v_ended THEN PERFORM ledger_release(ARRAY[r.session_id], ARRAY[r.id], ARRAY[r.id], ARRAY[r.reserved]); END IF;
    INSERT INTO outbox (topic, ref) VALUES ('call.released', r.id);
  END LOOP;
  PERFORM gateway_close_session(s.id, 'closed') FROM gateway_session s
    WHERE s.single_call AND s.status = 'active' AND s.id IN (SELECT c.session_id FROM gateway_call c JOIN json_to_recordset(p) AS x(id text) ON c.id = x.id);
END $$;

-- Moves a call on to its next seller, before that seller is asked: the reservation becomes the new price, the failed attempt is
-- noted. outcome: moved, superseded (another driver was quicker, or the call has ended), budget_exceeded.
CREATE OR REPLACE FUNCTION gateway_next_attempt(p_id text, p_from integer, p_to integer, p_log jsonb) RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE c gateway_call; s gateway_session; v_next jsonb; v_price bigint;
BEGIN
  SELECT * INTO c FROM gateway_call WHERE id = p_id FOR NO KEY UPDATE;
  IF c.state IS DISTINCT FROM 'accepted' OR c.attempt <> p_from THEN RETURN 'superseded'; END IF;
  v_next := c.candidates -> p_to;
  v_price := (v_next ->> 'priceMicros')::bigint;
  SELECT * INTO s FROM gateway_session WHERE id = c.session_id FOR NO KEY UPDATE;
  IF v_price - c.reserved > (CASE WHEN s.status = 'active' THEN s.max_total - s.spent - s.reserved ELSE 0 END) THEN RETURN 'budget_exceeded'; END IF;
  UPDATE gateway_session SET reserved = reserved + v_price - c.reserved, updated_at = clock_timestamp() WHERE id = s.id;
  -- In a session that has ended, what the cheaper seller does not need goes back now: nobody would give it back later.
  IF s.status <> 'active' AND v_price < c.reserved THEN
    PERFORM ledger_release(ARRAY[s.id], ARRAY[c.id], ARRAY[c.id || ':' || p_to], ARRAY[c.reserved - v_price]);
  END IF;
  UPDATE gateway_call SET attempt = p_to, reserved = v_price, seller = v_next ->> 'seller', service_id = v_next ->> 'serviceId',
         service_name = v_next ->> 'serviceName', attempts = attempts || p_log WHERE id = c.id;
  RETURN 'moved';
END $$;

-- Takes over calls whose driver has not been heard of. A call is driven by at most one process at a time while its lease holds.
CREATE OR REPLACE FUNCTION gateway_take_over(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF gateway_call LANGUAGE sql AS $$
  UPDATE gateway_call c SET driver = p_driver, drives = drives + 1, lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND lease_until < clock_timestamp() ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.*;
$$;

-- Keeps calls that are still being driven. Returns those that are really still ours.
CREATE OR REPLACE FUNCTION gateway_renew_leases(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF text LANGUAGE sql AS $$
  UPDATE gateway_call c SET lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND driver = p_driver ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.id;
$$;
