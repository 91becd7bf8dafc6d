-- How calls of the gateway go on and end.
-- `drained`: the session that is closing and has waited for nothing but this; whoever hears so has it finished.

-- Settles delivered calls, many at once: the reserved price goes from the hold to the seller, the row keeps the answer.
-- A refundable step of a pipeline keeps answer and reservation until its pipeline ends: outcome delivered.
-- outcome: settled, delivered, or the state that was there before (settled again → already_settled, released), or superseded when another
-- driver has moved on to another seller.
CREATE OR REPLACE FUNCTION gateway_settle(p json, p_fee_owner text)
RETURNS TABLE (pos integer, outcome text, spent bigint, remaining bigint, request_count integer, drained text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE
  v_items gateway_delivery_item[]; r record; v_ids text[] := '{}'; v_meters text[] := '{}'; v_sellers text[] := '{}';
  v_prices bigint[] := '{}'; v_fees bigint[] := '{}'; v_pos integer[] := '{}'; v_seen text := ''; v_single text[];
  v_kept integer[] := '{}';
BEGIN
  SELECT array_agg(x) INTO v_items FROM json_populate_recordset(NULL::gateway_delivery_item, p) x;
  FOR r IN
    SELECT x.pos, x.attempt AS asked, c.id, c.state, c.attempt, c.session_id, c.seller, c.reserved, c.fee_bps, c.refundable
      FROM unnest(v_items) x JOIN gateway_call c ON c.id = x.id ORDER BY c.id FOR NO KEY UPDATE OF c
  LOOP
    IF r.state = 'accepted' AND r.attempt = r.asked AND r.id <> v_seen THEN
      v_seen := r.id;
      IF r.refundable THEN v_kept := v_kept || r.pos; CONTINUE; END IF;
      v_pos := v_pos || r.pos; v_ids := v_ids || r.id; v_meters := v_meters || r.session_id; v_sellers := v_sellers || r.seller;
      v_prices := v_prices || r.reserved; v_fees := v_fees || fee_of(r.reserved, r.fee_bps);
    ELSE
      pos := r.pos; drained := NULL;
      outcome := CASE WHEN r.state = 'accepted' AND r.id <> v_seen THEN 'superseded' WHEN r.state = 'released' THEN 'released'
                      ELSE 'already_settled' END;
      RETURN NEXT;
    END IF;
  END LOOP;
  IF cardinality(v_kept) > 0 THEN
    UPDATE gateway_call c SET state = 'delivered', http_status = x.http_status, response = x.response, latency_ms = x.latency_ms,
           attempts = c.attempts || x.log, finished_at = clock_timestamp(), lease_until = NULL
      FROM unnest(v_items) x WHERE c.id = x.id AND x.pos = ANY (v_kept);
    INSERT INTO outbox (topic, ref) SELECT 'call.delivered', x.id FROM unnest(v_items) x WHERE x.pos = ANY (v_kept);
    RETURN QUERY SELECT x.pos, 'delivered'::text, m.used, m.capacity - m.used - m.reserved, m.uses, NULL::text
      FROM unnest(v_items) x JOIN gateway_call c ON c.id = x.id JOIN meter m ON m.id = c.session_id WHERE x.pos = ANY (v_kept);
  END IF;
  IF cardinality(v_ids) = 0 THEN RETURN; END IF;

  UPDATE gateway_call c SET state = 'settled', price = c.reserved, fee = fee_of(c.reserved, c.fee_bps), reserved = 0,
         http_status = x.http_status, response = x.response, latency_ms = x.latency_ms, attempts = c.attempts || x.log,
         finished_at = clock_timestamp(), lease_until = NULL
    FROM unnest(v_items) x WHERE c.id = x.id AND x.pos = ANY (v_pos);
  PERFORM 1 FROM meter m WHERE m.id = ANY (v_meters) ORDER BY m.id FOR NO KEY UPDATE;
  WITH counted AS (
    UPDATE meter m SET used = m.used + d.price, reserved = m.reserved - d.price, uses = m.uses + d.calls, last_used_at = clock_timestamp(),
           open = m.open AND NOT m.single_use
      FROM (SELECT u.id, sum(u.price)::bigint AS price, count(*)::integer AS calls FROM unnest(v_meters, v_prices) AS u(id, price)
             GROUP BY u.id) d
     WHERE m.id = d.id RETURNING m.id, m.single_use
  ) SELECT array_agg(counted.id ORDER BY counted.id) INTO v_single FROM counted WHERE counted.single_use;
  PERFORM spend_pay(v_meters, v_ids, v_ids, v_sellers, v_prices, v_fees, p_fee_owner, 'call.settled');
  -- The hold of a single call ends with it; what a cheaper seller left goes back.
  IF v_single IS NOT NULL THEN PERFORM ledger_close_hold(u.id, 0) FROM unnest(v_single) AS u(id); END IF;
  RETURN QUERY SELECT u.pos, 'settled'::text, m.used, m.capacity - m.used - m.reserved, m.uses, meter_drained(m)
    FROM unnest(v_pos, v_meters) AS u(pos, id) JOIN meter m ON m.id = u.id;
END $$;

-- Gives up calls, many at once: their reservations end, and the hold of a single call with it. The idempotency key is free again: nothing
-- was charged, so asking again is safe. outcome: released, or the state found.
CREATE OR REPLACE FUNCTION gateway_release(p json) RETURNS TABLE (pos integer, outcome text, drained text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE
  r record; v_pos integer[] := '{}'; v_freed text[] := '{}'; v_meters text[] := '{}'; v_single text[];
BEGIN
  FOR r IN
    SELECT x.pos, c.id, c.state, c.session_id
      FROM json_to_recordset(p) AS x(pos integer, id text) JOIN gateway_call c ON c.id = x.id ORDER BY c.id FOR NO KEY UPDATE OF c
  LOOP
    IF r.state = 'accepted' AND r.id <> ALL (v_freed) THEN
      v_pos := v_pos || r.pos; v_freed := v_freed || r.id; v_meters := v_meters || r.session_id; CONTINUE;
    END IF;
    pos := r.pos; drained := NULL;
    outcome := CASE r.state WHEN 'accepted' THEN 'released' WHEN 'settled' THEN 'already_settled' ELSE 'already_released' END;
    RETURN NEXT;
  END LOOP;
  IF cardinality(v_freed) = 0 THEN RETURN; END IF;
  PERFORM 1 FROM meter m WHERE m.id = ANY (v_meters) ORDER BY m.id FOR NO KEY UPDATE;
  -- Keys before holds and accounts, as everywhere.
  DELETE FROM idempotency WHERE resource_id = ANY (v_freed);
  WITH given AS (
    UPDATE gateway_call c SET state = 'released', error_code = x.error_code, error_message = x.error_message,
           attempts = c.attempts || coalesce(x.log, '[]'), finished_at = clock_timestamp(), lease_until = NULL
      FROM json_to_recordset(p) AS x(pos integer, id text, error_code text, error_message text, log jsonb)
     WHERE c.id = x.id AND x.pos = ANY (v_pos) RETURNING c.session_id, c.reserved
  ), counted AS (
    UPDATE meter m SET reserved = m.reserved - g.reserved, open = m.open AND NOT m.single_use
      FROM (SELECT session_id, sum(reserved)::bigint AS reserved FROM given GROUP BY session_id) g
     WHERE m.id = g.session_id RETURNING m.id, m.single_use
  ) SELECT array_agg(counted.id ORDER BY counted.id) INTO v_single FROM counted WHERE counted.single_use;
  IF v_single IS NOT NULL THEN
    -- All holds and accounts first, in id order: a settlement that holds one account and waits for another must not meet us half-way.
    PERFORM 1 FROM hold WHERE id = ANY (v_single) ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM account WHERE id IN (SELECT h.account_id FROM hold h WHERE h.id = ANY (v_single)) ORDER BY id FOR NO KEY UPDATE;
    PERFORM ledger_close_hold(u.id, 0) FROM unnest(v_single) AS u(id);
  END IF;
  INSERT INTO outbox (topic, ref) SELECT 'call.released', u.id FROM unnest(v_freed) AS u(id);
  RETURN QUERY SELECT u.pos, 'released'::text, meter_drained(m) FROM unnest(v_pos, v_meters) AS u(pos, id) JOIN meter m ON m.id = u.id;
END $$;

-- The id of a session that is closing, with nothing under way any more; NULL for all others.
CREATE OR REPLACE FUNCTION meter_drained(m meter) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN NOT m.open AND NOT m.single_use AND m.reserved = 0 THEN m.id END;
$$;

-- The same for a session by its id; volatile, so that it sees what the statement that asks has just written.
CREATE OR REPLACE FUNCTION session_drained(p_id text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT meter_drained(m) FROM meter m WHERE m.id = p_id);
END $$;

-- Notes of calls that their seller of this attempt is about to be asked, one that does not promise to work only once. Returns the positions
-- of those that are really open, at that attempt, and this driver's: nobody may ask for the others.
CREATE OR REPLACE FUNCTION gateway_note_asking(p json, p_driver text) RETURNS SETOF integer LANGUAGE sql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
  WITH ours AS (
    SELECT x.pos, c.id FROM json_to_recordset(p) AS x(pos integer, id text, attempt integer) JOIN gateway_call c ON c.id = x.id
     WHERE c.state = 'accepted' AND c.attempt = x.attempt AND c.driver = p_driver ORDER BY c.id FOR NO KEY UPDATE OF c
  ), noted AS (UPDATE gateway_call c SET asked = c.attempt FROM ours WHERE c.id = ours.id)
  SELECT pos FROM ours;
$$;

-- Moves a call on to its next seller, before that seller is asked: the reservation becomes the new price, the failed attempt is
-- noted. outcome: moved, superseded (another driver was quicker, or the call has ended), budget_exceeded.
CREATE OR REPLACE FUNCTION gateway_next_attempt(p_id text, p_from integer, p_to integer, p_log jsonb) RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE c gateway_call; m meter; v_next jsonb; v_price bigint;
BEGIN
  SELECT * INTO c FROM gateway_call WHERE id = p_id FOR NO KEY UPDATE;
  IF c.state IS DISTINCT FROM 'accepted' OR c.attempt <> p_from THEN RETURN 'superseded'; END IF;
  v_next := c.candidates -> p_to;
  v_price := (v_next ->> 'priceMicros')::bigint;
  SELECT * INTO m FROM meter WHERE id = c.session_id FOR NO KEY UPDATE;
  -- In a session that is closing nothing more is promised; what a cheaper seller does not need goes back when it has closed.
  IF v_price - c.reserved > (CASE WHEN m.open THEN m.capacity - m.used - m.reserved ELSE 0 END) THEN RETURN 'budget_exceeded'; END IF;
  UPDATE meter SET reserved = reserved + v_price - c.reserved, last_used_at = clock_timestamp() WHERE id = m.id;
  UPDATE gateway_call SET attempt = p_to, reserved = v_price, seller = v_next ->> 'seller', service_id = v_next ->> 'serviceId',
         service_name = v_next ->> 'serviceName', attempts = attempts || p_log WHERE id = c.id;
  RETURN 'moved';
END $$;

-- Takes over calls whose driver has not been heard of. A call is driven by at most one process at a time while its lease holds. Until the
-- server has run for a whole lease, silence means nothing: those who live have had no chance to renew.
CREATE OR REPLACE FUNCTION gateway_take_over(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF gateway_call LANGUAGE sql AS $$
  UPDATE gateway_call c SET driver = p_driver, drives = drives + 1, lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND lease_until < clock_timestamp()
                     AND pg_postmaster_start_time() < clock_timestamp() - p_lease_ms * interval '1 millisecond'
                   ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.*;
$$;

-- Keeps calls that are still being driven. Returns those that are really still ours.
CREATE OR REPLACE FUNCTION gateway_renew_leases(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF text LANGUAGE sql AS $$
  UPDATE gateway_call c SET lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND driver = p_driver
                   ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.id;
$$;
