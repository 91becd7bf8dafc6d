-- How a decision becomes true. These functions know no kind of payment and no rule: whoever calls has decided by the rules of domain/.

-- Applies decisions, each all or nothing, all in this one transaction. An item has:
--   pos           its number; answers come back with it
--   id, expect    the payment, and the version it was decided on; 0 opens it
--   due           what was assumed of its deadline (passed, not passed; NULL: either), checked by the clock of the database. One that ends
--                 for want of use is not over while its meter was used meanwhile.
--   postpone_ms   nothing is decided: the payment was used meanwhile, and its deadline moves on
--   attempt       names the attempt of a request, so that the same one comes to the same end however often and on whichever way it comes
--   not_after_ms  after this nothing happens any more
--   claim_*       the client's idempotency key: whose, which, and the hash of the request
--   step … note   the decision; without `step` there is only `refusal`, which is kept where `record` is true
--   meter         of a payment that has one: {closes: nothing may use it any more, drained: assumes that no use is under way}
-- Outcomes: done (`e` is what has happened); postponed; again (this very attempt was applied before); replay (an earlier request with the
-- same key; `p` is what that was about); refused (`refusal` says why); mismatch (the key, or the attempt, came with another request);
-- conflict (the payment, its meter or its clock has moved on: decide again).
-- Locks in the rank of spend.sql, groups rank by rank; openings come before it, by id.
-- The planner settings hold for the functions that it calls as well.
CREATE OR REPLACE FUNCTION payment_apply(p_items jsonb)
RETURNS TABLE (pos integer, outcome text, refusal jsonb, p payment, e payment_event, m meter) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET lock_timeout = '2s' AS $$
DECLARE i record; v_claims text[]; v_moved payment_event; v_resource text; v_hash text; v_now timestamptz; v_due boolean;
BEGIN
  IF p_items @? '$[*].opening' THEN
    PERFORM pg_advisory_xact_lock(hashtextextended(o.id, 0))
       FROM (SELECT DISTINCT x.id FROM jsonb_to_recordset(p_items) AS x(id text, expect integer) WHERE x.expect = 0 ORDER BY x.id) o;
  END IF;
  PERFORM 1 FROM payment y WHERE y.id IN (SELECT x ->> 'id' FROM jsonb_array_elements(p_items) x) ORDER BY y.id FOR NO KEY UPDATE;
  -- Most have no meter, most steps have no key, and many move nothing.
  IF p_items @? '$[*].meter' THEN
    PERFORM 1 FROM meter y WHERE y.id IN (SELECT x ->> 'id' FROM jsonb_array_elements(p_items) x) ORDER BY y.id FOR NO KEY UPDATE;
  END IF;
  IF p_items @? '$[*].claim_key' THEN v_claims := payment_take_claims(p_items); END IF;
  IF p_items @? '$[*].moves[*]' THEN PERFORM payment_lock_money(p_items); END IF;

  FOR i IN SELECT * FROM jsonb_to_recordset(p_items) AS x(
      pos integer, id text, expect integer, due boolean, postpone_ms bigint, attempt text, not_after_ms bigint, claim_owner text,
      claim_key text, claim_hash text, step text, refusal jsonb, record boolean, opening jsonb, role text, actor text, state text,
      deadline_ms bigint, moves jsonb, resolution text, details jsonb, note text, seller text, meter jsonb, workflow_started boolean)
    ORDER BY x.id, x.pos LOOP
    pos := i.pos; outcome := NULL; refusal := NULL; e := NULL;
    -- Read after the row is ours: whoever had to wait for the lock is judged by the time at which the wait was over.
    v_now := clock_timestamp();
    SELECT * INTO p FROM payment y WHERE y.id = i.id;
    SELECT * INTO m FROM meter y WHERE y.id = i.id;
    v_due := p.deadline <= v_now AND (m.idle_ms IS NULL OR m.last_used_at + m.idle_ms * interval '1 millisecond' <= v_now);

    IF i.attempt IS NOT NULL THEN
      SELECT r.refusal INTO refusal FROM payment_refusal r WHERE r.attempt = i.attempt;
      -- An operator may give another step the name of one that was taken: it must not hear that this one was.
      outcome := CASE WHEN refusal IS NOT NULL THEN 'refused' ELSE (
        SELECT CASE WHEN i.role <> 'clock' AND (x.step, x.note) IS DISTINCT FROM (i.step, i.note) THEN 'mismatch' ELSE 'again' END
          FROM payment_event x WHERE x.payment_id = i.id AND x.attempt = i.attempt) END;
    END IF;
    IF outcome IS NULL AND i.claim_key IS NOT NULL AND NOT coalesce(i.claim_owner || ' ' || i.claim_key = ANY (v_claims), false) THEN
      SELECT y.request_hash, y.resource_id INTO v_hash, v_resource FROM idempotency y
       WHERE y.agent_address = i.claim_owner AND y.key = i.claim_key;
      -- Nobody has used it: for a refusal none was taken, and a twin in this group may just have given it back.
      IF v_hash IS NULL THEN outcome := CASE WHEN i.step IS NULL THEN NULL ELSE 'conflict' END;
      ELSIF v_hash <> i.claim_hash THEN outcome := 'mismatch';
      ELSE
        outcome := 'replay';
        SELECT * INTO p FROM payment y WHERE y.id = v_resource;
      END IF;
    END IF;
    IF outcome IS NULL AND i.postpone_ms IS NOT NULL THEN
      UPDATE payment y SET deadline = timestamptz 'epoch' + i.postpone_ms * interval '1 millisecond'
       WHERE y.id = i.id AND y.version = i.expect AND y.deadline <= v_now RETURNING y.* INTO p;
      outcome := CASE WHEN p.id IS NULL THEN 'conflict' ELSE 'postponed' END;
    ELSIF outcome IS NULL AND i.step IS NULL THEN
      outcome := 'refused'; refusal := i.refusal;
    ELSIF outcome IS NULL AND i.not_after_ms < extract(epoch FROM v_now) * 1000 THEN
      outcome := 'refused';
      refusal := '{"code":"unavailable","message":"The request came too late to be carried out; nothing was changed."}';
    ELSIF outcome IS NULL AND (i.expect <> coalesce(p.version, 0) OR i.due <> v_due
                               OR (i.meter -> 'drained' = 'true' AND m.reserved > 0)) THEN
      outcome := 'conflict';
    END IF;

    IF outcome IS NULL THEN
      v_moved := payment_move_money(i.id, p, m, i.opening, i.moves, i.deadline_ms IS NULL);
      IF v_moved IS NULL THEN
        outcome := 'refused';
        refusal := '{"code":"insufficient_balance","message":"There is not enough available money for this."}';
      ELSE
        p := payment_write(i.id, p, i.opening, jsonb_build_object('state', i.state, 'deadline_ms', i.deadline_ms, 'details', i.details,
               'resolution', i.resolution, 'seller', i.seller, 'workflow_started', i.workflow_started), v_moved, v_now);
        IF i.meter -> 'closes' = 'true' THEN
          -- What is closed before its time was not closed by the time.
          UPDATE meter y SET open = false, closes_at = CASE WHEN y.closes_at <= v_now THEN y.closes_at END WHERE y.id = i.id AND y.open;
        END IF;
        e := payment_note(p, v_moved, i.step, i.role, i.actor, i.note, i.attempt, v_now);
        outcome := 'done';
        -- The clock has decided in the place of the step that was asked for: that one is refused.
        refusal := i.refusal;
      END IF;
    END IF;

    -- A key is never remembered for what was not done.
    IF i.claim_key IS NOT NULL AND i.claim_owner || ' ' || i.claim_key = ANY (v_claims) THEN
      IF outcome <> 'done' OR refusal IS NOT NULL THEN
        DELETE FROM idempotency y WHERE y.agent_address = i.claim_owner AND y.key = i.claim_key;
      END IF;
      v_claims := array_remove(v_claims, i.claim_owner || ' ' || i.claim_key);
    END IF;
    IF i.record AND i.attempt IS NOT NULL AND refusal IS NOT NULL THEN
      INSERT INTO payment_refusal (attempt, payment_id, refusal) VALUES (i.attempt, i.id, payment_apply.refusal) ON CONFLICT DO NOTHING;
    END IF;
    SELECT * INTO m FROM meter y WHERE y.id = p.id;
    RETURN NEXT;
  END LOOP;
END $$;

-- Takes the idempotency keys of all decisions at once, in one order. Waits while another transaction holds one of them. Returns which are
-- ours now.
CREATE OR REPLACE FUNCTION payment_take_claims(p_items jsonb) RETURNS text[] LANGUAGE sql AS $$
  WITH taken AS (
    INSERT INTO idempotency (agent_address, key, request_hash, resource_id)
    SELECT DISTINCT ON (x.claim_owner, x.claim_key) x.claim_owner, x.claim_key, x.claim_hash, x.id
      FROM jsonb_to_recordset(p_items) AS x(id text, pos integer, step text, claim_owner text, claim_key text, claim_hash text)
     WHERE x.claim_key IS NOT NULL AND x.step IS NOT NULL ORDER BY x.claim_owner, x.claim_key, x.id, x.pos
    ON CONFLICT DO NOTHING RETURNING agent_address || ' ' || key AS claim)
  SELECT array_agg(claim) FROM taken;
$$;

-- Locks every hold and account that the decisions may touch, and gives payees who have none an account.
CREATE OR REPLACE FUNCTION payment_lock_money(p_items jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_owners text[]; v_assets text[]; v_payees boolean[];
BEGIN
  PERFORM 1 FROM hold h WHERE h.id IN (SELECT x ->> 'id' FROM jsonb_array_elements(p_items) x) ORDER BY h.id FOR NO KEY UPDATE;
  WITH item AS (SELECT x ->> 'id' AS id, x -> 'opening' ->> 'buyer' AS buyer, x -> 'opening' ->> 'asset' AS asset, x -> 'moves' AS moves
                  FROM jsonb_array_elements(p_items) x WHERE jsonb_array_length(coalesce(nullif(x -> 'moves', 'null'), '[]')) > 0),
       side AS (SELECT coalesce(i.buyer, y.buyer) AS owner, coalesce(i.asset, y.asset) AS asset, false AS is_payee
                  FROM item i LEFT JOIN payment y ON y.id = i.id
                UNION SELECT t ->> 'to', coalesce(i.asset, y.asset), true
                  FROM item i LEFT JOIN payment y ON y.id = i.id, jsonb_array_elements(i.moves) t)
  SELECT array_agg(owner), array_agg(asset), array_agg(is_payee) INTO v_owners, v_assets, v_payees
    FROM side WHERE owner IS NOT NULL AND asset IS NOT NULL;
  IF v_owners IS NULL THEN RETURN; END IF;
  INSERT INTO account (owner, asset)
  SELECT DISTINCT s.owner, s.asset FROM unnest(v_owners, v_assets, v_payees) AS s(owner, asset, is_payee)
   WHERE s.is_payee AND NOT EXISTS (SELECT FROM account a WHERE a.owner = s.owner AND a.asset = s.asset) ORDER BY 1, 2
  ON CONFLICT (owner, asset) DO NOTHING;
  PERFORM 1 FROM account a
    WHERE a.id IN (SELECT b.id FROM unnest(v_owners, v_assets) AS s(owner, asset) JOIN account b ON b.owner = s.owner AND b.asset = s.asset)
    ORDER BY a.id FOR NO KEY UPDATE;
END $$;

-- Moves the money of one decision, in the order of its moves (domain/payment.ts, `Move`). `of` in place of an amount: `rest` is all that is
-- still held and promised to no use under way, `used` what the meter has counted. Returns what was held, paid and returned, as an event
-- has it; NULL when the buyer has not enough, and then nothing was moved. What moves at the end has the payment's id as its `ref`, what
-- moved before it the number of its version or part besides.
CREATE OR REPLACE FUNCTION payment_move_money(p_id text, p payment, u meter, p_opening jsonb, p_moves jsonb, p_ends boolean)
RETURNS payment_event LANGUAGE plpgsql AS $$
DECLARE m record; h hold; e payment_event; v_amount bigint; v_ref text;
BEGIN
  e.held := 0; e.paid := 0; e.returned := 0;
  FOR m IN SELECT * FROM ROWS FROM (jsonb_to_recordset(p_moves) AS (move text, amount bigint, "of" text, "to" text, part integer))
    WITH ORDINALITY AS x(move, amount, "of", "to", part, n) ORDER BY x.n LOOP
    IF m.move IN ('hold', 'increase') THEN
      IF NOT spend_begin(p_id, p_id || CASE m.move WHEN 'hold' THEN '' ELSE ':' || p.version + 1 END,
                         coalesce(p_opening ->> 'buyer', p.buyer), coalesce(p_opening ->> 'asset', p.asset), m.amount,
                         p_opening ->> 'bucket', p_opening ->> 'tenant_id') THEN
        RETURN NULL;
      END IF;
      e.held := e.held + m.amount;
      IF m.move = 'increase' THEN
        UPDATE meter x SET capacity = x.capacity + m.amount, low_noted = false, empty_noted = false WHERE x.id = p_id;
      END IF;
    ELSE
      SELECT * INTO h FROM hold x WHERE x.id = p_id AND x.closed_at IS NULL;
      IF h.id IS NULL THEN PERFORM refuse('already_closed'); END IF;
      v_amount := CASE m.of WHEN 'rest' THEN h.amount - h.captured - h.released - coalesce(u.reserved, 0)
                            WHEN 'used' THEN u.used - p.paid - e.paid ELSE m.amount END;
      IF m.move = 'count' THEN e.paid := e.paid + v_amount; CONTINUE; END IF;
      IF v_amount < 0 OR v_amount > h.amount - h.captured - h.released THEN PERFORM refuse('invalid_amount'); END IF;
      IF v_amount = 0 THEN CONTINUE; END IF;
      v_ref := p_id || coalesce(':part:' || m.part, CASE WHEN p_ends THEN '' ELSE ':' || p.version + 1 END);
      IF m.move = 'pay' THEN
        PERFORM spend_pay(ARRAY[p_id], ARRAY[p_id], ARRAY[v_ref], ARRAY[m."to"], ARRAY[v_amount], ARRAY[0::bigint], NULL, NULL);
        e.payee := m."to"; e.paid := e.paid + v_amount;
      ELSE
        PERFORM ledger_release(ARRAY[p_id], ARRAY[p_id], ARRAY[v_ref], ARRAY[v_amount]);
        e.returned := e.returned + v_amount;
      END IF;
      UPDATE payment_part x SET paid_at = clock_timestamp() WHERE x.payment_id = p_id AND x.part_index = m.part;
    END IF;
  END LOOP;
  IF p_ends THEN UPDATE hold x SET closed_at = clock_timestamp() WHERE x.id = p_id; END IF;
  RETURN e;
END $$;

-- Writes the row of a payment: a new one from its opening, or what a decision has made of it. Returns it as it is now.
CREATE OR REPLACE FUNCTION payment_write(p_id text, p_before payment, p_opening jsonb, d jsonb, m payment_event, p_now timestamptz)
RETURNS payment LANGUAGE plpgsql AS $$
DECLARE p payment; v_deadline timestamptz := timestamptz 'epoch' + (d ->> 'deadline_ms')::bigint * interval '1 millisecond';
BEGIN
  IF p_opening IS NOT NULL THEN
    INSERT INTO payment (id, kind, state, version, deadline, buyer, seller, arbiter, tenant_id, asset, held, resolution, terms, details,
                         lookup, parts, workflow_id, workflow_started, created_at, updated_at)
    VALUES (p_id, p_opening ->> 'kind', d ->> 'state', 1, v_deadline, p_opening ->> 'buyer', p_opening ->> 'seller',
            p_opening ->> 'arbiter', p_opening ->> 'tenant_id', p_opening ->> 'asset', m.held, NULL, p_opening -> 'terms', d -> 'details',
            p_opening ->> 'lookup', coalesce(jsonb_array_length(p_opening -> 'parts'), 0), p_opening ->> 'workflow_id',
            (d ->> 'workflow_started')::boolean,
            timestamptz 'epoch' + (p_opening ->> 'asked_at_ms')::bigint * interval '1 millisecond', p_now)
    RETURNING * INTO p;
    INSERT INTO payment_part (payment_id, part_index, payee, amount, created_at)
    SELECT p_id, x.n - 1, x.part ->> 'payee', (x.part ->> 'amount')::bigint, p.created_at
      FROM jsonb_array_elements(p_opening -> 'parts') WITH ORDINALITY AS x(part, n);
    INSERT INTO meter (id, owner, capacity, price_max, closes_at, idle_ms, last_used_at, uses_per_minute)
    SELECT p_id, p.buyer, p.held, x.price_max, CASE WHEN x.closes THEN v_deadline END, x.idle_ms, p.created_at, x.uses_per_minute
      FROM jsonb_to_record(p_opening -> 'meter') AS x(price_max bigint, closes boolean, idle_ms bigint, uses_per_minute integer)
     WHERE p_opening -> 'meter' IS NOT NULL;
    RETURN p;
  END IF;
  UPDATE payment x SET state = d ->> 'state', version = x.version + 1, deadline = v_deadline, seller = coalesce(d ->> 'seller', x.seller),
         held = x.held + m.held, paid = x.paid + m.paid, returned = x.returned + m.returned, resolution = d ->> 'resolution',
         details = d -> 'details', updated_at = p_now, ended_at = CASE WHEN v_deadline IS NULL THEN p_now END
   WHERE x.id = p_id AND x.version = p_before.version RETURNING * INTO p;
  RETURN p;
END $$;

-- Puts on record what was done, tells the outside by an event, and notes that the workflow must hear of it, unless none was ever needed.
CREATE OR REPLACE FUNCTION payment_note(p payment, m payment_event, p_step text, p_role text, p_actor text, p_note text, p_attempt text,
                                        p_now timestamptz)
RETURNS payment_event LANGUAGE plpgsql AS $$
DECLARE e payment_event;
BEGIN
  INSERT INTO payment_event (payment_id, version, step, role, actor, state, deadline, held, paid, returned, payee, resolution, note,
                             attempt, created_at)
  VALUES (p.id, p.version, p_step, p_role, p_actor, p.state, p.deadline, m.held, m.paid, m.returned, m.payee, p.resolution, p_note,
          p_attempt, p_now)
  RETURNING * INTO e;
  INSERT INTO outbox (topic, ref, data)
  VALUES (p.kind || '.' || p_step, p.id, jsonb_build_object('version', p.version, 'state', p.state, 'by', p_actor));
  IF p.ended AND NOT p.workflow_started THEN
    DELETE FROM workflow_notice WHERE payment_id = p.id;
  ELSE
    INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p.id, p.kind, p.version)
    ON CONFLICT (payment_id) DO UPDATE SET version = excluded.version, noted_at = excluded.noted_at;
  END IF;
  RETURN e;
END $$;

-- The parts of a payment in order; NULL where it has none. Amounts are text: JSON numbers lose digits on their way into JavaScript.
-- Volatile, so that it sees what the statement that asks has just written.
CREATE OR REPLACE FUNCTION payment_parts(p_id text, p_parts integer) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF coalesce(p_parts, 0) = 0 THEN RETURN NULL; END IF;
  RETURN (SELECT json_agg(json_build_object('index', x.part_index, 'payee', x.payee, 'amount', x.amount::text,
                                            'paidAtMs', floor(extract(epoch FROM x.paid_at) * 1000)) ORDER BY x.part_index)
            FROM payment_part x WHERE x.payment_id = p_id);
END $$;

-- Claims payments whose deadline passed more than p_grace_ms ago: who gets one has p_lease_ms to see to it, and others leave it alone
-- meanwhile. Without a lease nobody's claim counts: somebody wants it done now.
CREATE OR REPLACE FUNCTION payment_claim_overdue(p_kinds text[], p_grace_ms bigint, p_lease_ms bigint, p_limit integer)
RETURNS TABLE (id text, kind text) LANGUAGE sql AS $$
  UPDATE payment y SET claimed_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
   WHERE y.id = ANY (ARRAY(SELECT x.id FROM payment x WHERE x.deadline < clock_timestamp() - p_grace_ms * interval '1 millisecond'
                     AND x.kind = ANY (p_kinds) AND (p_lease_ms = 0 OR x.claimed_until IS NULL OR x.claimed_until < clock_timestamp())
                   ORDER BY x.deadline LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING y.id, y.kind;
$$;
