-- Ticks of streams. Thousands of them come a second, so they are not decided by the rules of domain/ and applied afterwards: they are
-- judged and counted in one statement, on the meter. `tickOutcome` (domain/stream.ts) says the same rule, and a property compares them.
-- No ledger row is touched: the money is held already. The row of the payment is read after its meter is ours, so that what has closed the
-- meter, or filled it up, is in it.

-- Says once until the next top-up, by an event, that nine tenths of the deposit are used, and that the rest cannot pay another tick.
-- Returns the meter with what was said; the caller writes it.
CREATE OR REPLACE FUNCTION stream_note_rest(m meter, p_now timestamptz) RETURNS meter LANGUAGE plpgsql AS $$
DECLARE v_left jsonb := jsonb_build_object('remaining', (m.capacity - m.used)::text);
BEGIN
  IF NOT m.low_noted AND m.used >= m.capacity - m.capacity / 10 THEN
    m.low_noted := true;
    INSERT INTO outbox (topic, ref, created_at, data) VALUES ('stream.deposit_low', m.id, p_now, v_left);
  END IF;
  IF NOT m.empty_noted AND m.capacity - m.used < m.price_max THEN
    m.empty_noted := true;
    INSERT INTO outbox (topic, ref, created_at, data) VALUES ('stream.paused', m.id, p_now, v_left);
  END IF;
  RETURN m;
END $$;

-- What becomes of a tick, or of a batch of them that counts as a whole: recorded, replay where its key was used for just this, or the code
-- of the refusal. p_from: the number that the caller has given to the first; p_last: that of the last, NULL where no number is left.
CREATE OR REPLACE FUNCTION stream_tick_outcome(m meter, p_by text, p_key_used boolean, p_is_same boolean, p_from integer, p_last integer,
                                               p_largest bigint, p_total numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN m.id IS NULL THEN 'not_found'
    WHEN p_by IS NULL THEN 'unauthorized'
    WHEN p_key_used THEN CASE WHEN p_is_same THEN 'replay' ELSE 'idempotency_mismatch' END
    WHEN NOT m.open THEN 'stream_closed'
    WHEN p_from - 1 <> m.uses THEN 'sequence_mismatch'
    WHEN p_last IS NULL THEN 'stream_full'
    WHEN p_by = 'seller' AND p_largest > m.price_max THEN 'invalid_amount'
    WHEN p_total > m.capacity - m.used THEN 'hold_exhausted'
    ELSE 'recorded' END;
$$;

-- Records ticks of many streams; entry n is a tick of stream ids[n] by agents[n]. A seq that is given must be the next one, an amount
-- that is not given is the price. Ticks of one stream count in the order of their entries. Each gets one row with the stream and its meter
-- as they are after that tick, and an outcome: recorded, replay (same key), or the code of the refusal, which spoils nothing for the
-- others. Where the number was recorded before, a second row `earlier` with the same pos shows that tick.
CREATE OR REPLACE FUNCTION stream_tick_many(p_ids text[], p_agents text[], p_seqs integer[], p_amounts bigint[], p_metadata text[],
                                            p_keys text[], p_hashes text[])
RETURNS TABLE (pos integer, outcome text, tick_seq integer, tick_amount bigint, tick_cumulative bigint, tick_metadata text, tick_by text,
               tick_at timestamptz, p payment, m meter) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE
  r record; v_now timestamptz; v_id text := ''; v_dirty boolean := false; v_changed meter[] := '{}'; v_tick stream_tick;
  v_ticks stream_tick[] := '{}'; v_hash text; v_resource text; v_seq integer;
  v_again_pos integer[] := '{}'; v_again_ids text[] := '{}'; v_again_seqs integer[] := '{}';
BEGIN
  PERFORM 1 FROM meter x WHERE x.id = ANY (p_ids) ORDER BY x.id FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  FOR r IN
    SELECT x.n, x.id, x.agent, x.seq, x.amount, x.metadata, x.key, x.hash, y AS stream, t AS counts
      FROM unnest(p_ids, p_agents, p_seqs, p_amounts, p_metadata, p_keys, p_hashes)
             WITH ORDINALITY AS x(id, agent, seq, amount, metadata, key, hash, n)
      LEFT JOIN payment y ON y.id = x.id AND y.kind = 'stream' LEFT JOIN meter t ON t.id = y.id ORDER BY x.id, x.n
  LOOP
    IF r.id <> v_id THEN
      IF v_dirty THEN v_changed := v_changed || m; END IF;
      v_id := r.id; p := r.stream; m := r.counts; v_dirty := false;
    END IF;
    -- Compared before anything is added to a number that is nearly the largest.
    pos := r.n - 1; tick_seq := CASE WHEN m.uses < 2147483647 THEN m.uses + 1 END; tick_amount := coalesce(r.amount, m.price_max);
    tick_cumulative := m.used + tick_amount; tick_metadata := r.metadata; tick_at := v_now; v_resource := NULL; v_seq := r.seq;
    tick_by := CASE r.agent WHEN p.buyer THEN 'buyer' WHEN p.seller THEN 'seller' END;
    IF r.key IS NOT NULL THEN
      SELECT i.request_hash, i.resource_id INTO v_hash, v_resource FROM idempotency i WHERE i.agent_address = r.agent AND i.key = r.key;
    END IF;
    IF v_resource IS NOT NULL AND v_hash = r.hash THEN v_seq := split_part(v_resource, ':', 2)::integer; END IF;
    outcome := stream_tick_outcome(m, tick_by, v_resource IS NOT NULL, v_hash = r.hash, r.seq, tick_seq, tick_amount, tick_amount);
    IF outcome = 'recorded' THEN
      IF r.key IS NOT NULL THEN
        INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (r.agent, r.key, r.hash, r.id || ':' || tick_seq)
        ON CONFLICT DO NOTHING;
        -- A twin on another connection was quicker; asking again finds what it did.
        IF NOT FOUND THEN PERFORM refuse('idempotency_in_progress'); END IF;
      END IF;
      v_dirty := true;
      m.used := tick_cumulative; m.uses := tick_seq; m.last_used_at := v_now;
      -- Asked here, so that most ticks call no function.
      IF m.capacity - m.used < greatest(m.price_max, m.capacity / 10 + 1) THEN m := stream_note_rest(m, v_now); END IF;
      -- Column by column: a row that is written as a whole fits the table no longer when a migration has added a column.
      v_tick.stream_id := r.id; v_tick.seq := tick_seq; v_tick.amount := tick_amount; v_tick.cumulative := tick_cumulative;
      v_tick.metadata := r.metadata; v_tick.ticked_by := tick_by; v_tick.created_at := v_now;
      v_ticks := v_ticks || v_tick;
    ELSIF outcome IN ('replay', 'sequence_mismatch', 'stream_closed') AND v_seq BETWEEN 1 AND m.uses THEN
      v_again_pos := v_again_pos || pos; v_again_ids := v_again_ids || r.id; v_again_seqs := v_again_seqs || v_seq;
    END IF;
    RETURN NEXT;
  END LOOP;
  IF v_dirty THEN v_changed := v_changed || m; END IF;

  IF cardinality(v_ticks) > 0 THEN
    UPDATE meter x SET used = c.used, uses = c.uses, last_used_at = c.last_used_at, low_noted = c.low_noted, empty_noted = c.empty_noted
      FROM unnest(v_changed) c WHERE x.id = c.id;
    INSERT INTO stream_tick (stream_id, seq, amount, cumulative, metadata, ticked_by, created_at)
    SELECT t.stream_id, t.seq, t.amount, t.cumulative, t.metadata, t.ticked_by, t.created_at FROM unnest(v_ticks) t;
  END IF;
  IF cardinality(v_again_pos) > 0 THEN
    RETURN QUERY SELECT w.pos, 'earlier'::text, t.seq, t.amount, t.cumulative, t.metadata, t.ticked_by, t.created_at,
                        NULL::payment, NULL::meter
      FROM unnest(v_again_pos, v_again_ids, v_again_seqs) AS w(pos, id, seq) JOIN stream_tick t ON t.stream_id = w.id AND t.seq = w.seq;
  END IF;
END $$;

-- Records many ticks of one stream, all or none. amounts NULL: each at the price. outcome as in stream_tick_many; `affordable` says how
-- many from the front the rest of the deposit could pay.
CREATE OR REPLACE FUNCTION stream_tick_batch(p_id text, p_agent text, p_from integer, p_count integer, p_amounts bigint[],
                                             p_metadata text[], p_key text, p_hash text)
RETURNS TABLE (outcome text, first_seq integer, last_seq integer, affordable integer, p payment, m meter) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE v_by text; v_now timestamptz; v_hash text; v_resource text; v_amounts bigint[]; v_total numeric; v_largest bigint;
BEGIN
  PERFORM 1 FROM meter x WHERE x.id = p_id FOR NO KEY UPDATE;
  SELECT * INTO p FROM payment x WHERE x.id = p_id AND x.kind = 'stream';
  SELECT * INTO m FROM meter x WHERE x.id = p.id;
  v_by := CASE p_agent WHEN p.buyer THEN 'buyer' WHEN p.seller THEN 'seller' END;
  v_now := clock_timestamp();
  IF 2147483647 - m.uses >= p_count THEN first_seq := m.uses + 1; last_seq := m.uses + p_count; END IF;
  IF p_key IS NOT NULL THEN
    SELECT i.request_hash, i.resource_id INTO v_hash, v_resource FROM idempotency i WHERE i.agent_address = p_agent AND i.key = p_key;
  END IF;
  v_amounts := CASE WHEN p_amounts IS NULL THEN array_fill(m.price_max, ARRAY[p_count])
                    ELSE (SELECT array_agg(coalesce(x.amount, m.price_max) ORDER BY x.n)
                            FROM unnest(p_amounts) WITH ORDINALITY AS x(amount, n)) END;
  SELECT sum(x.amount), max(x.amount), count(*) FILTER (WHERE x.running <= m.capacity - m.used) INTO v_total, v_largest, affordable
    FROM (SELECT u.amount, sum(u.amount) OVER (ORDER BY u.n) AS running FROM unnest(v_amounts) WITH ORDINALITY AS u(amount, n)) x;
  outcome := stream_tick_outcome(m, v_by, v_resource IS NOT NULL, v_hash = p_hash, p_from, last_seq, v_largest, v_total);
  IF outcome = 'replay' THEN
    first_seq := split_part(v_resource, ':', 2)::integer; last_seq := split_part(v_resource, ':', 3)::integer;
  END IF;
  IF outcome = 'recorded' THEN
    IF p_key IS NOT NULL THEN
      INSERT INTO idempotency (agent_address, key, request_hash, resource_id)
      VALUES (p_agent, p_key, p_hash, concat_ws(':', p_id, first_seq, last_seq)) ON CONFLICT DO NOTHING;
      IF NOT FOUND THEN PERFORM refuse('idempotency_in_progress'); END IF;
    END IF;
    INSERT INTO stream_tick (stream_id, seq, amount, cumulative, metadata, ticked_by, created_at)
    SELECT p_id, m.uses + x.n, x.amount, m.used + sum(x.amount) OVER (ORDER BY x.n), x.metadata, v_by, v_now
      FROM unnest(v_amounts, p_metadata) WITH ORDINALITY AS x(amount, metadata, n);
    m.used := m.used + v_total; m.uses := last_seq; m.last_used_at := v_now;
    m := stream_note_rest(m, v_now);
    UPDATE meter x SET used = m.used, uses = m.uses, last_used_at = v_now, low_noted = m.low_noted, empty_noted = m.empty_noted
     WHERE x.id = p_id;
  END IF;
  RETURN NEXT;
END $$;
