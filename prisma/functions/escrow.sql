-- The steps of an escrow. The row's lock and the database's clock decide every race.

-- A refusal that tells where the escrow stands, so that the answer can say where the money is.
CREATE OR REPLACE FUNCTION escrow_refuse(e escrow, p_code text, p_sentence text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'SURTY', MESSAGE = p_code, DETAIL = p_sentence, HINT = e.status;
END $$;

-- Holds the money and writes the row. outcome: done, or replay of an earlier request with the same key.
-- Raises insufficient_balance, idempotency_mismatch.
CREATE OR REPLACE FUNCTION escrow_create(p json) RETURNS TABLE (outcome text, e escrow) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_id text := p ->> 'id'; v_known text; v_amount bigint := (p ->> 'amount')::bigint; v_now timestamptz := clock_timestamp();
BEGIN
  v_known := idempotency_take(p ->> 'buyer', p ->> 'key', p ->> 'hash', v_id);
  IF v_known IS NOT NULL THEN
    outcome := 'replay';
    SELECT * INTO e FROM escrow x WHERE x.id = v_known;
    RETURN NEXT; RETURN;
  END IF;
  PERFORM ledger_hold(v_id, p ->> 'buyer', 'USDC', v_amount, 'escrowed', NULL);
  INSERT INTO escrow (id, buyer, seller, arbiter, amount, service_id, buyer_may_cancel, review_window_ms, ruling_window_ms, delivery_deadline, deadline,
                      workflow_id, tenant_id, created_at, updated_at)
  VALUES (v_id, p ->> 'buyer', p ->> 'seller', p ->> 'arbiter', v_amount, p ->> 'serviceId', (p ->> 'buyerMayCancel')::boolean, (p ->> 'reviewMs')::bigint,
          (p ->> 'rulingMs')::bigint, v_now + (p ->> 'deliveryMs')::bigint * interval '1 millisecond', v_now + (p ->> 'deliveryMs')::bigint * interval '1 millisecond',
          p ->> 'workflowId', p ->> 'tenantId', v_now, v_now)
  RETURNING * INTO e;
  PERFORM payment_moved('escrow', v_id, 1, 'escrow.created', jsonb_build_object('by', e.buyer, 'amountMicros', e.amount::text));
  outcome := 'done';
  RETURN NEXT;
END $$;

-- The end of an escrow: p_released goes to the seller, the rest back to the buyer. The caller holds the row's lock.
CREATE OR REPLACE FUNCTION escrow_end(e escrow, p_released bigint, p_resolution text, p_by text) RETURNS escrow LANGUAGE plpgsql AS $$
DECLARE v_now timestamptz := clock_timestamp();
BEGIN
  PERFORM ledger_end_hold(e.id, e.id, e.seller, p_released);
  UPDATE escrow x SET status = CASE WHEN p_released > 0 THEN 'released' ELSE 'refunded' END, released = p_released, refunded = x.amount - p_released,
         resolution = p_resolution, resolved_at = v_now, deadline = NULL, version = x.version + 1, updated_at = v_now
   WHERE x.id = e.id RETURNING * INTO e;
  PERFORM payment_moved('escrow', e.id, e.version, 'escrow.' || e.status,
    jsonb_build_object('by', p_by, 'resolution', p_resolution, 'releasedMicros', e.released::text, 'refundedMicros', e.refunded::text));
  RETURN e;
END $$;

-- What the clock decides when nobody has: undelivered goes back, delivered and not disputed is paid, disputed and not ruled goes back.
CREATE OR REPLACE FUNCTION escrow_end_by_clock(e escrow) RETURNS escrow LANGUAGE sql AS $$
  SELECT CASE e.status WHEN 'pending'   THEN escrow_end(e, 0, 'delivery_expired', 'clock')
                       WHEN 'delivered' THEN escrow_end(e, e.amount, 'auto_released', 'clock')
                       ELSE escrow_end(e, 0, 'ruling_expired', 'clock') END;
$$;

-- Does what the clock demands, if it is really due by the clock of the database, and returns the row and whether this look has ended it.
-- No row: no such escrow.
CREATE OR REPLACE FUNCTION escrow_look(p_id text) RETURNS TABLE (ended boolean, e escrow) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  SELECT * INTO e FROM escrow x WHERE x.id = p_id FOR NO KEY UPDATE;
  IF e.id IS NULL THEN RETURN; END IF;
  ended := coalesce(e.deadline <= clock_timestamp(), false);
  IF ended THEN e := escrow_end_by_clock(e); END IF;
  RETURN NEXT;
END $$;

-- May this role take this step at all? Raises unauthorized, forbidden. The state is another question.
CREATE OR REPLACE FUNCTION escrow_check_role(e escrow, p_step text, p_role text, p jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_named text := p ->> 'arbiter'; v_may boolean;
BEGIN
  v_may := CASE WHEN p_step IN ('deliver', 'decline') THEN p_role = 'seller'
                WHEN p_step IN ('confirm', 'dispute', 'cancel') THEN p_role = 'buyer'
                WHEN p_step IN ('evidence', 'arbitrate') THEN p_role IN ('buyer', 'seller')
                -- Without a named arbiter the platform is the arbiter.
                WHEN p_step = 'resolve' THEN p_role = 'arbiter' OR (p_role = 'platform' AND e.arbiter IS NULL) END;
  IF v_may IS NOT TRUE THEN
    PERFORM refuse('unauthorized', CASE
      WHEN p_role IS NULL THEN 'You are no party of this escrow.'
      WHEN p_step IN ('deliver', 'decline') THEN 'Only the seller may do that.'
      WHEN p_step IN ('confirm', 'dispute', 'cancel') THEN 'Only the buyer may do that.'
      WHEN p_step IN ('evidence', 'arbitrate') THEN 'Only buyer and seller may do that.'
      WHEN e.arbiter IS NULL THEN 'Only the platform may rule on this escrow: no arbiter was named when it was made.'
      ELSE 'Only the arbiter who was named when the escrow was made may rule.' END);
  END IF;
  IF p_step = 'cancel' AND NOT e.buyer_may_cancel THEN
    PERFORM escrow_refuse(e, 'forbidden', 'The terms of this escrow do not let the buyer cancel (buyerMayCancel). The seller may decline it.');
  END IF;
  IF p_step = 'arbitrate' AND v_named IS NOT NULL AND v_named IS DISTINCT FROM e.arbiter THEN
    PERFORM refuse('unauthorized', CASE WHEN v_named IN (e.buyer, e.seller) THEN 'A party of the escrow cannot be its arbiter.'
      ELSE 'An arbiter is named when the escrow is made (arbitratorAddr) and cannot be chosen afterwards. Leave the field out to call in the arbiter.' END);
  END IF;
END $$;

-- One step of a party. p_by: the address that acts, NULL for an operator, who acts as p_as (buyer, seller, arbiter, platform).
-- outcome: done; replay of an earlier request with the same key; late: the time was up, so the clock has decided instead.
-- Raises not_found, unauthorized, forbidden, invalid_state, invalid_amount, evidence_limit, idempotency_mismatch.
CREATE OR REPLACE FUNCTION escrow_step(p_id text, p_step text, p_by text, p_as text, p jsonb, p_key text, p_hash text)
RETURNS TABLE (outcome text, e escrow) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE v_role text; v_by text; v_now timestamptz;
BEGIN
  SELECT * INTO e FROM escrow x WHERE x.id = p_id FOR NO KEY UPDATE;
  IF e.id IS NULL THEN PERFORM refuse('not_found', 'There is no such escrow.'); END IF;
  IF p_key IS NOT NULL AND idempotency_take(coalesce(p_by, p_as), p_key, p_hash, p_id) IS NOT NULL THEN
    outcome := 'replay';
    RETURN NEXT; RETURN;
  END IF;
  v_role := CASE WHEN p_by = e.arbiter THEN 'arbiter' WHEN p_as IS NOT NULL THEN p_as WHEN p_by = e.buyer THEN 'buyer' WHEN p_by = e.seller THEN 'seller' END;
  v_by := CASE v_role WHEN 'buyer' THEN e.buyer WHEN 'seller' THEN e.seller WHEN 'arbiter' THEN coalesce(e.arbiter, 'platform') ELSE 'platform' END;
  PERFORM escrow_check_role(e, p_step, v_role, p);

  -- Read after the row is ours: whoever had to wait for the lock is judged by the time at which the wait was over.
  v_now := clock_timestamp();
  IF e.deadline <= v_now THEN
    e := escrow_end_by_clock(e);
    DELETE FROM idempotency WHERE agent_address = coalesce(p_by, p_as) AND key = p_key;
    outcome := 'late';
    RETURN NEXT; RETURN;
  END IF;
  IF e.status <> ALL (CASE p_step
    WHEN 'deliver'   THEN ARRAY['pending']                WHEN 'cancel'    THEN ARRAY['pending']
    WHEN 'dispute'   THEN ARRAY['pending', 'delivered']   WHEN 'confirm'   THEN ARRAY['pending', 'delivered', 'disputed']
    WHEN 'arbitrate' THEN ARRAY['disputed']               WHEN 'decline'   THEN ARRAY['pending', 'delivered', 'disputed', 'arbitrating']
    WHEN 'resolve'   THEN ARRAY['disputed', 'arbitrating'] WHEN 'evidence' THEN ARRAY['disputed', 'arbitrating'] END) THEN
    PERFORM escrow_refuse(e, 'invalid_state', format('The escrow is %s, and then it is not possible to %s.', e.status,
      CASE p_step WHEN 'evidence' THEN 'submit evidence' WHEN 'arbitrate' THEN 'call in the arbiter' ELSE p_step END));
  END IF;

  CASE p_step
    WHEN 'confirm' THEN e := escrow_end(e, e.amount, 'buyer_confirmed', v_by);
    WHEN 'cancel'  THEN e := escrow_end(e, 0, 'cancelled', v_by);
    WHEN 'decline' THEN e := escrow_end(e, 0, CASE e.status WHEN 'pending' THEN 'declined' ELSE 'given_back' END, v_by);
    WHEN 'resolve' THEN e := escrow_rule(e, p ->> 'ruling', (p ->> 'amount')::bigint, p ->> 'reason', v_by);
    WHEN 'evidence' THEN e := escrow_note(e, v_by, p ->> 'content', v_now);
    ELSE e := escrow_go_on(e, p_step, v_by, p ->> 'reason', v_now);
  END CASE;
  outcome := 'done';
  RETURN NEXT;
END $$;

-- Steps that move no money: deliver, dispute, arbitrate. Each gives the new state its own deadline.
CREATE OR REPLACE FUNCTION escrow_go_on(e escrow, p_step text, p_by text, p_reason text, p_now timestamptz) RETURNS escrow LANGUAGE plpgsql AS $$
DECLARE v_review timestamptz := p_now + e.review_window_ms * interval '1 millisecond'; v_ruling timestamptz := p_now + e.ruling_window_ms * interval '1 millisecond';
BEGIN
  CASE p_step
    WHEN 'deliver' THEN
      -- Delivering early must not shorten the buyer's time below what the delivery deadline promised.
      v_review := greatest(v_review, e.delivery_deadline);
      UPDATE escrow x SET status = 'delivered', delivered_at = p_now, review_until = v_review, deadline = v_review, version = x.version + 1, updated_at = p_now
       WHERE x.id = e.id RETURNING * INTO e;
    WHEN 'dispute' THEN
      INSERT INTO escrow_evidence (escrow_id, submitted_by, content, submitted_at) VALUES (e.id, p_by, p_reason, p_now);
      UPDATE escrow x SET status = 'disputed', dispute_reason = p_reason, ruling_until = v_ruling, deadline = v_ruling, version = x.version + 1, updated_at = p_now
       WHERE x.id = e.id RETURNING * INTO e;
    WHEN 'arbitrate' THEN
      UPDATE escrow x SET status = 'arbitrating', ruling_until = v_ruling, deadline = v_ruling, version = x.version + 1, updated_at = p_now
       WHERE x.id = e.id RETURNING * INTO e;
  END CASE;
  PERFORM payment_moved('escrow', e.id, e.version, 'escrow.' || e.status, jsonb_build_object('by', p_by));
  RETURN e;
END $$;

-- The ruling of the arbiter: all to the seller, all to the buyer, or a part to each.
CREATE OR REPLACE FUNCTION escrow_rule(e escrow, p_ruling text, p_amount bigint, p_reason text, p_by text) RETURNS escrow LANGUAGE plpgsql AS $$
BEGIN
  IF p_ruling = 'partial' AND (p_amount IS NULL OR p_amount <= 0 OR p_amount >= e.amount) THEN
    PERFORM escrow_refuse(e, 'invalid_amount', 'A partial ruling gives the seller more than nothing and less than the whole amount.');
  END IF;
  RETURN escrow_end(e, CASE p_ruling WHEN 'release' THEN e.amount WHEN 'refund' THEN 0 WHEN 'partial' THEN p_amount END,
                    'arbitration_' || p_ruling || coalesce(': ' || p_reason, ''), p_by);
END $$;

-- Evidence changes no state, so the workflow need not hear of it and the version stays.
CREATE OR REPLACE FUNCTION escrow_note(e escrow, p_by text, p_content text, p_now timestamptz) RETURNS escrow LANGUAGE plpgsql AS $$
DECLARE v_seen integer; v_max CONSTANT integer := 20;
BEGIN
  SELECT count(*) INTO v_seen FROM escrow_evidence n WHERE n.escrow_id = e.id AND n.submitted_by = p_by;
  IF v_seen >= v_max THEN
    PERFORM escrow_refuse(e, 'evidence_limit', format('Each party may submit %s pieces of evidence, the reason of the dispute included.', v_max));
  END IF;
  INSERT INTO escrow_evidence (escrow_id, submitted_by, content, submitted_at) VALUES (e.id, p_by, p_content, p_now);
  UPDATE escrow x SET updated_at = p_now WHERE x.id = e.id RETURNING * INTO e;
  INSERT INTO outbox (topic, ref, data) VALUES ('escrow.evidence', e.id, jsonb_build_object('by', p_by));
  RETURN e;
END $$;
