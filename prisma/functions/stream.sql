-- The steps and ticks of a stream.

-- When the stream is stale unless it ticks.
CREATE OR REPLACE FUNCTION stream_stale_at(s stream) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT coalesce(s.last_tick_at, s.created_at) + s.stale_timeout_ms * interval '1 millisecond';
$$;

-- How many ticks a stream can still count: their numbers are integers. Compared before anything is added to a number that is nearly the largest.
CREATE OR REPLACE FUNCTION stream_room(s stream) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT 2147483647 - s.tick_count;
$$;

-- The part that an address has in a stream; NULL for a stranger.
CREATE OR REPLACE FUNCTION stream_role(s stream, p_agent text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_agent WHEN s.buyer THEN 'buyer' WHEN s.seller THEN 'seller' END;
$$;

-- Holds the deposit and opens the stream. Raises insufficient_balance, idempotency_mismatch; a repeated key answers the first stream.
CREATE OR REPLACE FUNCTION stream_open(p_id text, p_buyer text, p_seller text, p_service_id text, p_tenant_id text, p_deposit bigint, p_price bigint, p_stale_ms bigint,
                            p_workflow_id text, p_key text, p_hash text) RETURNS TABLE (replayed boolean, s stream) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_earlier text := idempotency_take(p_buyer, p_key, p_hash, p_id); v_now timestamptz := date_trunc('milliseconds', clock_timestamp());
BEGIN
  replayed := v_earlier IS NOT NULL;
  IF replayed THEN
    SELECT * INTO s FROM stream WHERE id = v_earlier;
  ELSE
    PERFORM ledger_hold(p_id, p_buyer, 'USDC', p_deposit, 'pending', NULL, p_tenant_id);
    INSERT INTO stream (id, buyer, seller, service_id, tenant_id, deposit, price_per_tick, stale_timeout_ms, look_at, workflow_id, created_at, updated_at)
    VALUES (p_id, p_buyer, p_seller, p_service_id, p_tenant_id, p_deposit, p_price, p_stale_ms, v_now + p_stale_ms * interval '1 millisecond', p_workflow_id, v_now, v_now)
    RETURNING * INTO s;
    PERFORM payment_moved('stream', p_id, s.version, 'stream.opened', jsonb_build_object('deposit', p_deposit::text, 'pricePerTick', p_price::text));
  END IF;
  RETURN NEXT;
END $$;

-- What ticks have made of a stream is noted in it: at nine tenths that the deposit is low, and when nothing more can be paid that the
-- stream pauses. Each has its event, once. The caller writes the row.
CREATE OR REPLACE FUNCTION stream_after_ticks(s stream) RETURNS stream LANGUAGE plpgsql AS $$
DECLARE v_left bigint := s.deposit - s.spent;
BEGIN
  IF NOT s.low_told AND s.spent >= s.deposit - s.deposit / 10 THEN
    s.low_told := true; s.version := s.version + 1;
    PERFORM payment_moved('stream', s.id, s.version, 'stream.deposit_low', jsonb_build_object('remaining', v_left::text));
  END IF;
  IF NOT s.paused AND v_left < s.price_per_tick THEN
    s.paused := true; s.version := s.version + 1;
    PERFORM payment_moved('stream', s.id, s.version, 'stream.paused', jsonb_build_object('remaining', v_left::text));
  END IF;
  RETURN s;
END $$;

-- Records ticks of many streams; entry n is a tick of stream ids[n] by agents[n]. A seq that is given must be the next one, an amount
-- that is not given is the price. Ticks of one stream count in the order of their entries. Each gets one row with the stream as it is
-- after that tick, and an outcome: recorded, replay (same key), or the code of the refusal, which spoils nothing for the others. `moved`:
-- the stream got low or paused by this tick.
-- Where the number was recorded before, a second row `earlier` with the same pos shows that tick.
CREATE OR REPLACE FUNCTION stream_tick_many(p_ids text[], p_agents text[], p_seqs integer[], p_amounts bigint[], p_metadata text[], p_keys text[], p_hashes text[])
RETURNS TABLE (pos integer, outcome text, tick_seq integer, tick_amount bigint, tick_cumulative bigint, tick_metadata text, tick_by text, tick_at timestamptz, moved boolean, s stream)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  r record; v_now timestamptz; v_id text := ''; v_dirty boolean := false; v_changed stream[] := '{}'; v_ticks stream_tick[] := '{}'; v_tick stream_tick;
  v_hash text; v_resource text; v_seq integer; v_version integer; v_again_pos integer[] := '{}'; v_again_ids text[] := '{}'; v_again_seqs integer[] := '{}';
BEGIN
  PERFORM 1 FROM stream x WHERE x.id = ANY (p_ids) ORDER BY x.id FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  FOR r IN
    SELECT x.n, x.id, x.agent, x.seq, x.amount, x.metadata, x.key, x.hash, t AS found
      FROM unnest(p_ids, p_agents, p_seqs, p_amounts, p_metadata, p_keys, p_hashes) WITH ORDINALITY AS x(id, agent, seq, amount, metadata, key, hash, n)
      LEFT JOIN stream t ON t.id = x.id ORDER BY x.id, x.n
  LOOP
    IF r.id <> v_id THEN
      IF v_dirty THEN v_changed := v_changed || s; END IF;
      v_id := r.id; s := r.found; v_dirty := false;
    END IF;
    pos := r.n - 1; tick_seq := CASE WHEN stream_room(s) > 0 THEN s.tick_count + 1 END; tick_amount := coalesce(r.amount, s.price_per_tick); tick_cumulative := s.spent + tick_amount;
    tick_metadata := r.metadata; tick_by := stream_role(s, r.agent); tick_at := v_now; moved := false; v_resource := NULL; v_seq := r.seq;
    IF r.key IS NOT NULL THEN
      SELECT i.request_hash, i.resource_id INTO v_hash, v_resource FROM idempotency i WHERE i.agent_address = r.agent AND i.key = r.key;
    END IF;
    IF v_resource IS NOT NULL AND v_hash = r.hash THEN v_seq := split_part(v_resource, ':', 2)::integer; END IF;
    outcome := CASE
      WHEN s.id IS NULL THEN 'not_found'
      WHEN tick_by IS NULL THEN 'unauthorized'
      WHEN v_resource IS NOT NULL THEN CASE WHEN v_hash = r.hash THEN 'replay' ELSE 'idempotency_mismatch' END
      WHEN s.status <> 'open' THEN 'stream_closed'
      WHEN r.seq - 1 <> s.tick_count THEN 'sequence_mismatch'
      WHEN tick_seq IS NULL THEN 'stream_full'
      WHEN tick_by = 'seller' AND tick_amount > s.price_per_tick THEN 'invalid_amount'
      WHEN tick_cumulative > s.deposit THEN 'hold_exhausted'
      ELSE 'recorded' END;
    IF outcome = 'recorded' THEN
      IF r.key IS NOT NULL THEN
        INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (r.agent, r.key, r.hash, r.id || ':' || tick_seq) ON CONFLICT DO NOTHING;
        -- A twin on another connection was quicker; asking again finds what it did.
        IF NOT FOUND THEN PERFORM refuse('idempotency_in_progress'); END IF;
      END IF;
      v_dirty := true;
      s.spent := tick_cumulative; s.tick_count := tick_seq; s.last_tick_at := v_now; s.updated_at := v_now;
      v_version := s.version;
      s := stream_after_ticks(s);
      moved := s.version > v_version;
      -- Column by column: a row that is written as a whole fits the table no longer when a migration has added a column.
      v_tick.stream_id := r.id; v_tick.seq := tick_seq; v_tick.amount := tick_amount; v_tick.cumulative := tick_cumulative;
      v_tick.metadata := r.metadata; v_tick.ticked_by := tick_by; v_tick.created_at := v_now;
      v_ticks := v_ticks || v_tick;
    ELSIF outcome IN ('replay', 'sequence_mismatch', 'stream_closed') AND v_seq BETWEEN 1 AND s.tick_count THEN
      v_again_pos := v_again_pos || pos; v_again_ids := v_again_ids || r.id; v_again_seqs := v_again_seqs || v_seq;
    END IF;
    RETURN NEXT;
  END LOOP;
  IF v_dirty THEN v_changed := v_changed || s; END IF;

  IF cardinality(v_ticks) > 0 THEN
    UPDATE stream x SET spent = c.spent, tick_count = c.tick_count, last_tick_at = c.last_tick_at, updated_at = c.updated_at, paused = c.paused,
                        low_told = c.low_told, version = c.version FROM unnest(v_changed) c WHERE x.id = c.id;
    INSERT INTO stream_tick (stream_id, seq, amount, cumulative, metadata, ticked_by, created_at)
    SELECT t.stream_id, t.seq, t.amount, t.cumulative, t.metadata, t.ticked_by, t.created_at FROM unnest(v_ticks) t;
  END IF;
  IF cardinality(v_again_pos) > 0 THEN
    RETURN QUERY SELECT w.pos, 'earlier'::text, t.seq, t.amount, t.cumulative, t.metadata, t.ticked_by, t.created_at, false, NULL::stream
      FROM unnest(v_again_pos, v_again_ids, v_again_seqs) AS w(pos, id, seq) JOIN stream_tick t ON t.stream_id = w.id AND t.seq = w.seq;
  END IF;
END $$;

-- Records many ticks of one stream, all or none. amounts NULL: each at the price. outcome as in stream_tick_many; `affordable` says how
-- many from the front the rest of the deposit could pay.
CREATE OR REPLACE FUNCTION stream_tick_batch(p_id text, p_agent text, p_from integer, p_count integer, p_amounts bigint[], p_metadata text[], p_key text, p_hash text)
RETURNS TABLE (outcome text, first_seq integer, last_seq integer, affordable integer, moved boolean, s stream) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_by text; v_now timestamptz; v_hash text; v_resource text; v_amounts bigint[]; v_total numeric; v_largest bigint; v_version integer;
BEGIN
  SELECT * INTO s FROM stream WHERE id = p_id FOR NO KEY UPDATE;
  v_by := stream_role(s, p_agent);
  v_now := clock_timestamp();
  moved := false; v_version := s.version;
  IF stream_room(s) >= p_count THEN first_seq := s.tick_count + 1; last_seq := s.tick_count + p_count; END IF;
  IF p_key IS NOT NULL THEN
    SELECT i.request_hash, i.resource_id INTO v_hash, v_resource FROM idempotency i WHERE i.agent_address = p_agent AND i.key = p_key;
  END IF;
  v_amounts := CASE WHEN p_amounts IS NULL THEN array_fill(s.price_per_tick, ARRAY[p_count]) ELSE (SELECT array_agg(coalesce(x.amount, s.price_per_tick) ORDER BY x.n) FROM unnest(p_amounts) WITH ORDINALITY AS x(amount, n)) END;
  SELECT sum(x.amount), max(x.amount), count(*) FILTER (WHERE x.running <= s.deposit - s.spent) INTO v_total, v_largest, affordable
    FROM (SELECT u.amount, sum(u.amount) OVER (ORDER BY u.n) AS running FROM unnest(v_amounts) WITH ORDINALITY AS u(amount, n)) x;
  outcome := CASE
    WHEN s.id IS NULL THEN 'not_found'
    WHEN v_by IS NULL THEN 'unauthorized'
    WHEN v_resource IS NOT NULL THEN CASE WHEN v_hash = p_hash THEN 'replay' ELSE 'idempotency_mismatch' END
    WHEN s.status <> 'open' THEN 'stream_closed'
    WHEN p_from - 1 <> s.tick_count THEN 'sequence_mismatch'
    WHEN first_seq IS NULL THEN 'stream_full'
    WHEN v_by = 'seller' AND v_largest > s.price_per_tick THEN 'invalid_amount'
    WHEN v_total > s.deposit - s.spent THEN 'hold_exhausted'
    ELSE 'recorded' END;
  IF outcome = 'replay' THEN
    first_seq := split_part(v_resource, ':', 2)::integer; last_seq := split_part(v_resource, ':', 3)::integer;
  END IF;
  IF outcome = 'recorded' THEN
    IF p_key IS NOT NULL THEN
      INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (p_agent, p_key, p_hash, concat_ws(':', p_id, first_seq, last_seq)) ON CONFLICT DO NOTHING;
      IF NOT FOUND THEN PERFORM refuse('idempotency_in_progress'); END IF;
    END IF;
    INSERT INTO stream_tick (stream_id, seq, amount, cumulative, metadata, ticked_by, created_at)
    SELECT p_id, s.tick_count + x.n, x.amount, s.spent + sum(x.amount) OVER (ORDER BY x.n), x.metadata, v_by, v_now
      FROM unnest(v_amounts, p_metadata) WITH ORDINALITY AS x(amount, metadata, n);
    s.spent := s.spent + v_total; s.tick_count := last_seq; s.last_tick_at := v_now; s.updated_at := v_now;
    s := stream_after_ticks(s);
    moved := s.version > v_version;
    UPDATE stream x SET spent = s.spent, tick_count = s.tick_count, last_tick_at = v_now, updated_at = v_now, paused = s.paused, low_told = s.low_told, version = s.version
     WHERE x.id = p_id;
  END IF;
  RETURN NEXT;
END $$;

-- Ends an open stream whose row the caller has locked: what was ticked is paid, the rest goes back.
CREATE OR REPLACE FUNCTION stream_end(s stream, p_status text, p_reason text, p_by text) RETURNS stream LANGUAGE plpgsql AS $$
BEGIN
  IF s.spent > 0 THEN PERFORM ledger_capture(ARRAY[s.id], ARRAY[s.id], ARRAY[s.id], ARRAY[s.seller], ARRAY[s.spent], ARRAY[0]::bigint[], NULL); END IF;
  PERFORM ledger_close_hold(s.id, 0);
  UPDATE stream SET status = p_status, close_reason = p_reason, paused = false, closed_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
   WHERE id = s.id RETURNING * INTO s;
  PERFORM payment_moved('stream', s.id, s.version, 'stream.' || p_status, jsonb_build_object('by', p_by, 'reason', p_reason, 'spent', s.spent::text, 'returned', (s.deposit - s.spent)::text));
  RETURN s;
END $$;

-- Ends a stream for one of its parties; p_agent may also be the word `buyer` or `seller`, for operators who act for one.
-- Raises not_found, unauthorized, already_closed, idempotency_mismatch.
CREATE OR REPLACE FUNCTION stream_close(p_id text, p_agent text, p_reason text, p_key text, p_hash text) RETURNS TABLE (replayed boolean, s stream) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_by text;
BEGIN
  SELECT * INTO s FROM stream WHERE id = p_id FOR NO KEY UPDATE;
  IF s.id IS NULL THEN PERFORM refuse('not_found', 'There is no such stream.'); END IF;
  v_by := CASE WHEN p_agent IN ('buyer', 'seller') THEN p_agent ELSE stream_role(s, p_agent) END;
  IF v_by IS NULL THEN PERFORM refuse('unauthorized', 'Only the buyer and the seller of a stream may close it.'); END IF;
  replayed := idempotency_take(p_agent, p_key, p_hash, p_id) IS NOT NULL;
  IF NOT replayed THEN
    IF s.status <> 'open' THEN PERFORM refuse('already_closed', 'The stream was closed before.'); END IF;
    s := stream_end(s, 'closed', p_reason, v_by);
  END IF;
  RETURN NEXT;
END $$;

-- Adds to the deposit; a paused stream goes on when another tick can be paid. Raises not_found, unauthorized, stream_closed,
-- invalid_amount, insufficient_balance, idempotency_mismatch.
CREATE OR REPLACE FUNCTION stream_top_up(p_id text, p_agent text, p_amount bigint, p_deposit_max bigint, p_key text, p_hash text) RETURNS TABLE (replayed boolean, s stream) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  SELECT * INTO s FROM stream WHERE id = p_id FOR NO KEY UPDATE;
  IF s.id IS NULL THEN PERFORM refuse('not_found', 'There is no such stream.'); END IF;
  IF s.buyer <> p_agent THEN PERFORM refuse('unauthorized', 'Only the buyer of a stream may top it up.'); END IF;
  replayed := idempotency_take(p_agent, p_key, p_hash, p_id) IS NOT NULL;
  IF NOT replayed THEN
    IF s.status <> 'open' THEN PERFORM refuse('stream_closed', 'The stream has ended.'); END IF;
    IF s.deposit > p_deposit_max - p_amount THEN PERFORM refuse('invalid_amount', 'The deposit would be larger than one payment can be.'); END IF;
    PERFORM ledger_increase_hold(p_id, p_id || ':topup:' || s.top_ups + 1, p_amount);
    s.deposit := s.deposit + p_amount; s.top_ups := s.top_ups + 1; s.version := s.version + 1; s.low_told := false;
    PERFORM payment_moved('stream', p_id, s.version, 'stream.topped_up', jsonb_build_object('amount', p_amount::text, 'deposit', s.deposit::text));
    IF s.paused AND s.deposit - s.spent >= s.price_per_tick THEN
      s.paused := false; s.version := s.version + 1;
      PERFORM payment_moved('stream', p_id, s.version, 'stream.resumed', jsonb_build_object('remaining', (s.deposit - s.spent)::text));
    END IF;
    UPDATE stream x SET deposit = s.deposit, top_ups = s.top_ups, version = s.version, low_told = s.low_told, paused = s.paused, updated_at = clock_timestamp()
     WHERE x.id = p_id RETURNING x.* INTO s;
  END IF;
  RETURN NEXT;
END $$;

-- Does what the clock demands: a stream that has not ticked for too long ends. Asked too early, it notes when to look again.
-- ended: this look has ended it. No row: no such stream.
CREATE OR REPLACE FUNCTION stream_look(p_id text) RETURNS TABLE (ended boolean, s stream) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_stale_at timestamptz;
BEGIN
  SELECT * INTO s FROM stream WHERE id = p_id FOR NO KEY UPDATE;
  IF s.id IS NULL THEN RETURN; END IF;
  v_stale_at := stream_stale_at(s);
  ended := s.status = 'open' AND v_stale_at <= clock_timestamp();
  IF ended THEN
    s := stream_end(s, 'stale_closed', 'stale_timeout', 'clock');
  ELSIF s.status = 'open' AND s.look_at <> v_stale_at THEN
    UPDATE stream SET look_at = v_stale_at WHERE id = p_id RETURNING * INTO s;
  END IF;
  RETURN NEXT;
END $$;
