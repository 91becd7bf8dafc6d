-- Gateway sessions and calls. Lock order everywhere: call, session, hold, account; each in id order.

CREATE TABLE gateway_session (
  -- Also the id of the session's hold.
  id                      text PRIMARY KEY,
  agent_address           text NOT NULL,
  tenant_id               text,
  max_total               bigint NOT NULL CHECK (max_total > 0),
  max_per_request         bigint NOT NULL CHECK (max_per_request > 0),
  spent                   bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
  -- Promised to calls that are under way.
  reserved                bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  request_count           integer NOT NULL DEFAULT 0,
  strategy                text NOT NULL,
  allowed_types           text[] NOT NULL DEFAULT '{}',
  warn_at_percent         integer NOT NULL DEFAULT 0,
  max_requests_per_minute integer NOT NULL,
  window_started_at       timestamptz NOT NULL DEFAULT now(),
  window_count            integer NOT NULL DEFAULT 0,
  -- True for the session behind one POST /v1/gateway/call; it ends with its call.
  single_call             boolean NOT NULL DEFAULT false,
  status                  text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed', 'expired')),
  workflow_id             text NOT NULL,
  expires_at              timestamptz NOT NULL,
  created_at              timestamptz NOT NULL DEFAULT now(),
  updated_at              timestamptz NOT NULL DEFAULT now(),
  closed_at               timestamptz,
  CHECK (spent + reserved <= max_total)
) WITH (fillfactor = 60);
CREATE INDEX gateway_session_by_agent ON gateway_session (agent_address, created_at DESC, id DESC) WHERE NOT single_call;
CREATE INDEX gateway_session_open ON gateway_session (expires_at) WHERE status = 'active';

CREATE TABLE gateway_call (
  id              text PRIMARY KEY,
  session_id      text NOT NULL,
  buyer           text NOT NULL,
  service_type    text NOT NULL,
  -- JSON text, not jsonb: jsonb refuses strings that JSON allows.
  params          text NOT NULL DEFAULT '{}',
  -- The sellers chosen when the call was accepted, best first: [{serviceId, serviceName, seller, endpoint, priceMicros, idempotent}].
  candidates      jsonb NOT NULL DEFAULT '[]',
  -- Which candidate is being asked. Written before that seller is asked, so that a crash leaves no doubt whom to suspect.
  attempt         integer NOT NULL DEFAULT 0,
  attempts        jsonb NOT NULL DEFAULT '[]',
  idempotency_key text,
  -- planned: a step of a pipeline that waits for those before it. delivered: the answer of a refundable step is there, its price is
  -- kept until the pipeline ends.
  state           text NOT NULL DEFAULT 'accepted' CHECK (state IN ('planned', 'accepted', 'delivered', 'settled', 'released', 'refused')),
  -- Price of the current candidate; what a settlement moves. Nobody can settle for another amount.
  reserved        bigint NOT NULL DEFAULT 0,
  price           bigint NOT NULL DEFAULT 0,
  fee             bigint NOT NULL DEFAULT 0,
  fee_bps         integer NOT NULL DEFAULT 0,
  seller          text,
  service_id      text,
  service_name    text,
  http_status     integer,
  response        text,
  latency_ms      integer,
  error_code      text,
  error_message   text,
  -- Who drives the call, and until when nobody else may.
  driver          text,
  lease_until     timestamptz,
  drives          integer NOT NULL DEFAULT 1,
  workflow_id     text,
  -- The pipeline it is a step of, and which.
  pipeline_id     text,
  step_index      integer,
  -- Not paid before its pipeline has ended well.
  refundable      boolean NOT NULL DEFAULT false,
  -- How to undo the step: {endpoint, params} as JSON text. Written with the plan, before any seller is asked.
  compensation    text,
  undo_state      text CHECK (undo_state IN ('registered', 'pending', 'done', 'failed', 'not_needed')),
  undo_attempts   integer NOT NULL DEFAULT 0,
  undo_error      text,
  accepted_at     timestamptz NOT NULL DEFAULT now(),
  finished_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX gateway_call_by_session ON gateway_call (session_id, accepted_at DESC, id DESC);
CREATE INDEX gateway_call_open ON gateway_call (lease_until) WHERE state = 'accepted';
CREATE UNIQUE INDEX gateway_call_step ON gateway_call (pipeline_id, step_index) WHERE pipeline_id IS NOT NULL;

-- Holds the whole budget and opens the session, in one step. With an idempotency key the answer is kept with it.
-- Raises insufficient_balance, idempotency_mismatch; answers the earlier session's id and stored answer for a repeated key.
CREATE FUNCTION gateway_open_session(p json) RETURNS TABLE (session_id text, replayed boolean) LANGUAGE plpgsql AS $$
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
  PERFORM ledger_hold(v_id, p ->> 'agent', 'USDC', (p ->> 'maxTotal')::bigint, 'pending', (p ->> 'expiresAt')::timestamptz);
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
CREATE FUNCTION gateway_close_session(p_id text, p_status text) RETURNS boolean LANGUAGE plpgsql AS $$
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

-- What the process sends to have calls accepted. JSON is read once, into these.
CREATE TYPE gateway_call_item AS (
  pos integer, id text, session_id text, buyer text, service_type text, params text, candidates jsonb, key text, hash text, price bigint, fee_bps integer,
  seller text, service_id text, service_name text, workflow_id text
);

-- Accepts calls, many at once: writes the call row and reserves its price in the session's budget. From this commit on the
-- platform owes the call an end. outcome: accepted, replay (same key and body: existing_id), or the code of the refusal.
CREATE FUNCTION gateway_accept(p json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql AS $$
DECLARE
  v_items gateway_call_item[]; v_sessions text[]; v_keyed boolean; v_taken text[] := '{}';
  r record; v_session text := ''; v_left bigint; v_count integer; v_now timestamptz := clock_timestamp();
  v_ok integer[] := '{}'; v_ok_sessions text[] := '{}'; v_ok_prices bigint[] := '{}'; v_refused text[] := '{}';
BEGIN
  SELECT array_agg(x), array_agg(DISTINCT x.session_id), bool_or(x.key IS NOT NULL) INTO v_items, v_sessions, v_keyed FROM json_populate_recordset(NULL::gateway_call_item, p) x;
  PERFORM 1 FROM gateway_session s WHERE s.id = ANY (v_sessions) ORDER BY s.id FOR NO KEY UPDATE;
  -- Keys are taken in sorted order and only after the sessions are locked, so two batches cannot wait for each other in a ring.
  IF v_keyed THEN
    WITH taken AS (
      INSERT INTO idempotency (agent_address, key, request_hash, resource_id)
      SELECT x.buyer, x.key, x.hash, x.id FROM unnest(v_items) x WHERE x.key IS NOT NULL ORDER BY x.buyer, x.key
      ON CONFLICT DO NOTHING RETURNING resource_id
    ) SELECT coalesce(array_agg(resource_id), '{}') INTO v_taken FROM taken;
  END IF;

  FOR r IN
    SELECT x.pos, x.id, x.session_id, x.buyer, x.price, x.key, x.hash, s.id AS found, s.status, s.agent_address, s.expires_at, s.max_per_request,
           s.max_total - s.spent - s.reserved AS left_now, s.max_requests_per_minute AS rpm,
           CASE WHEN s.window_started_at > v_now - interval '1 minute' THEN s.window_count ELSE 0 END AS in_window,
           x.key IS NOT NULL AND x.id <> ALL (v_taken) AS repeated
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

CREATE TYPE gateway_delivery_item AS (pos integer, id text, attempt integer, http_status integer, response text, latency_ms integer, log jsonb);

-- Settles delivered calls, many at once: the reserved price goes from the session's hold to the seller, the row keeps the answer.
-- A refundable step of a pipeline keeps answer and reservation until its pipeline ends: outcome delivered.
-- outcome: settled, delivered, or the state that was there before (settled again → already_settled, released), or superseded when another
-- driver has moved on to another seller.
CREATE FUNCTION gateway_settle(p json, p_fee_owner text)
RETURNS TABLE (pos integer, outcome text, spent bigint, remaining bigint, request_count integer) LANGUAGE plpgsql AS $$
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
      v_prices := v_prices || r.reserved; v_fees := v_fees || r.reserved * r.fee_bps / 10000;
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

  UPDATE gateway_call c SET state = 'settled', price = c.reserved, fee = c.reserved * c.fee_bps / 10000, reserved = 0, http_status = x.http_status,
         response = x.response, latency_ms = x.latency_ms, attempts = c.attempts || x.log, finished_at = clock_timestamp(), lease_until = NULL
    FROM unnest(v_items) x WHERE c.id = x.id AND x.pos = ANY (v_pos);
  PERFORM 1 FROM gateway_session s WHERE s.id = ANY (v_sessions) ORDER BY s.id FOR NO KEY UPDATE;
  WITH ended AS (
    UPDATE gateway_session s SET spent = s.spent + d.price, reserved = s.reserved - d.price, request_count = s.request_count + d.calls, updated_at = clock_timestamp(),
           status = CASE WHEN s.single_call THEN 'closed' ELSE s.status END, closed_at = CASE WHEN s.single_call THEN clock_timestamp() ELSE s.closed_at END
      FROM (SELECT u.session_id, sum(u.price)::bigint AS price, count(*)::integer AS calls FROM unnest(v_sessions, v_prices) AS u(session_id, price) GROUP BY u.session_id) d
     WHERE s.id = d.session_id RETURNING s.id, s.single_call
  ) SELECT array_agg(ended.id ORDER BY ended.id) INTO v_single FROM ended WHERE ended.single_call;
  PERFORM ledger_capture(v_sessions, v_ids, v_sellers, v_prices, v_fees, p_fee_owner);
  -- The hold of a single call ends with it; what a cheaper seller left goes back.
  IF v_single IS NOT NULL THEN PERFORM ledger_close_hold(u.id, 0) FROM unnest(v_single) AS u(id); END IF;
  INSERT INTO outbox (topic, ref) SELECT 'call.settled', u.id FROM unnest(v_ids) AS u(id);
  RETURN QUERY SELECT u.pos, 'settled'::text, s.spent, s.max_total - s.spent - s.reserved, s.request_count
    FROM unnest(v_pos, v_sessions) AS u(pos, session_id) JOIN gateway_session s ON s.id = u.session_id;
END $$;

-- Gives up calls, many at once: the reservation ends, and in a session that has ended its money goes back to the buyer at once.
-- The idempotency key is free again: nothing was charged, so asking again is safe. outcome: released, or the state found.
CREATE FUNCTION gateway_release(p json) RETURNS TABLE (pos integer, outcome text) LANGUAGE plpgsql AS $$
DECLARE r record; v_ended boolean; v_holds text[];
BEGIN
  FOR r IN
    SELECT x.pos, x.error_code, x.error_message, x.log, c.id, c.state, c.session_id, c.reserved
      FROM json_to_recordset(p) AS x(pos integer, id text, error_code text, error_message text, log jsonb)
      JOIN gateway_call c ON c.id = x.id ORDER BY c.id FOR NO KEY UPDATE OF c
  LOOP
    pos := r.pos; outcome := CASE r.state WHEN 'accepted' THEN 'released' WHEN 'settled' THEN 'already_settled' ELSE 'already_released' END;
    RETURN NEXT;
  END LOOP;
  PERFORM 1 FROM gateway_session s WHERE s.id IN (SELECT c.session_id FROM gateway_call c JOIN json_to_recordset(p) AS x(id text) ON c.id = x.id) ORDER BY s.id FOR NO KEY UPDATE;
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
    IF v_ended THEN PERFORM ledger_release(ARRAY[r.session_id], ARRAY[r.id], ARRAY[r.reserved]); END IF;
    DELETE FROM idempotency WHERE resource_id = r.id;
    INSERT INTO outbox (topic, ref) VALUES ('call.released', r.id);
  END LOOP;
  PERFORM gateway_close_session(s.id, 'closed') FROM gateway_session s
    WHERE s.single_call AND s.status = 'active' AND s.id IN (SELECT c.session_id FROM gateway_call c JOIN json_to_recordset(p) AS x(id text) ON c.id = x.id);
END $$;

-- Moves a call on to its next seller, before that seller is asked: the reservation becomes the new price, the failed attempt is
-- noted. outcome: moved, superseded (another driver was quicker, or the call has ended), budget_exceeded.
CREATE FUNCTION gateway_next_attempt(p_id text, p_from integer, p_to integer, p_log jsonb) RETURNS text LANGUAGE plpgsql AS $$
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
    PERFORM ledger_release(ARRAY[s.id], ARRAY[c.id || ':' || p_to], ARRAY[c.reserved - v_price]);
  END IF;
  UPDATE gateway_call SET attempt = p_to, reserved = v_price, seller = v_next ->> 'seller', service_id = v_next ->> 'serviceId',
         service_name = v_next ->> 'serviceName', attempts = attempts || p_log WHERE id = c.id;
  RETURN 'moved';
END $$;

-- Takes over calls whose driver has not been heard of. A call is driven by at most one process at a time while its lease holds.
CREATE FUNCTION gateway_take_over(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF gateway_call LANGUAGE sql AS $$
  UPDATE gateway_call c SET driver = p_driver, drives = drives + 1, lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND lease_until < clock_timestamp() ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.*;
$$;

-- Keeps calls that are still being driven. Returns those that are really still ours.
CREATE FUNCTION gateway_renew_leases(p_ids text[], p_driver text, p_lease_ms integer) RETURNS SETOF text LANGUAGE sql AS $$
  UPDATE gateway_call c SET lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE c.id IN (SELECT id FROM gateway_call WHERE id = ANY (p_ids) AND state = 'accepted' AND driver = p_driver ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING c.id;
$$;
