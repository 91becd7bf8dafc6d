-- The steps of a multistep escrow.

-- The escrow with its plan, as the store reads it. Amounts are text: JSON numbers lose digits on their way into JavaScript.
CREATE OR REPLACE FUNCTION multistep_shown(p_id text) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_build_object(
    'id', e.id, 'buyer', e.buyer, 'tenantId', e.tenant_id, 'total', e.total::text, 'spent', e.spent::text, 'refunded', e.refunded::text,
    'totalSteps', e.total_steps, 'confirmedSteps', e.confirmed_steps, 'status', e.status, 'resolution', e.resolution, 'deadline', e.deadline,
    'version', e.version, 'workflowId', e.workflow_id, 'createdAt', e.created_at, 'updatedAt', e.updated_at, 'endedAt', e.ended_at,
    'steps', (SELECT json_agg(json_build_object('stepIndex', s.step_index, 'seller', s.seller, 'amount', s.amount::text, 'confirmedAt', s.confirmed_at) ORDER BY s.step_index)
                FROM multistep_step s WHERE s.escrow_id = e.id))
    FROM multistep_escrow e WHERE e.id = p_id;
$$;

-- What a step answers: the escrow as it is now, and whether the idempotency key had been used for this before.
CREATE OR REPLACE FUNCTION multistep_answer(p_id text, p_replayed boolean) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_build_object('escrow', multistep_shown(p_id), 'replayed', p_replayed);
$$;

-- Holds the total and writes the plan. p: {id, buyer, tenantId, total, expiresInMs, workflowId, steps: [{seller, amount}]}.
-- Raises agent_not_found (a seller that is no agent), insufficient_balance, idempotency_mismatch.
CREATE OR REPLACE FUNCTION multistep_create(p json, p_key text, p_hash text) RETURNS json LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_id text := p ->> 'id';
  v_known text := idempotency_take(p ->> 'buyer', p_key, p_hash, p ->> 'id');
  -- Whole milliseconds, so that a workflow's timer and this row mean the same moment.
  v_deadline timestamptz := date_trunc('milliseconds', clock_timestamp()) + (p ->> 'expiresInMs')::bigint * interval '1 millisecond';
  v_stranger record;
BEGIN
  IF v_known IS NOT NULL THEN RETURN multistep_answer(v_known, true); END IF;
  SELECT s.step ->> 'seller' AS seller, s.n - 1 AS step_index INTO v_stranger FROM json_array_elements(p -> 'steps') WITH ORDINALITY AS s(step, n)
   WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.address = s.step ->> 'seller' AND a.deleted_at IS NULL) ORDER BY s.n LIMIT 1;
  IF FOUND THEN
    PERFORM refuse('agent_not_found', format('There is no agent %s, the seller of step %s.', v_stranger.seller, v_stranger.step_index));
  END IF;
  PERFORM ledger_hold(v_id, p ->> 'buyer', 'USDC', (p ->> 'total')::bigint, 'escrowed', v_deadline, p ->> 'tenantId');
  INSERT INTO multistep_escrow (id, buyer, tenant_id, total, total_steps, deadline, workflow_id)
  VALUES (v_id, p ->> 'buyer', p ->> 'tenantId', (p ->> 'total')::bigint, json_array_length(p -> 'steps'), v_deadline, p ->> 'workflowId');
  INSERT INTO multistep_step (escrow_id, step_index, seller, amount)
  SELECT v_id, s.n - 1, s.step ->> 'seller', (s.step ->> 'amount')::bigint FROM json_array_elements(p -> 'steps') WITH ORDINALITY AS s(step, n);
  PERFORM payment_moved('multistep', v_id, 1, 'multistep.created', jsonb_build_object('buyer', p ->> 'buyer', 'amount', p ->> 'total', 'steps', json_array_length(p -> 'steps')));
  RETURN multistep_answer(v_id, false);
END $$;

-- The row, locked, if p_caller may act on it. p_caller NULL: the platform itself, for the buyer. Raises not_found, unauthorized.
CREATE OR REPLACE FUNCTION multistep_locked(p_id text, p_caller text) RETURNS multistep_escrow LANGUAGE plpgsql AS $$
DECLARE e multistep_escrow;
BEGIN
  SELECT * INTO e FROM multistep_escrow WHERE id = p_id FOR NO KEY UPDATE;
  IF e.id IS NULL THEN PERFORM refuse('not_found', 'There is no such multistep escrow.'); END IF;
  IF p_caller <> e.buyer THEN PERFORM refuse('unauthorized', 'Only the buyer of this escrow may do that.'); END IF;
  RETURN e;
END $$;

-- Pays one step to its seller; the last one completes the escrow. Seller and amount must be those of the plan; NULL takes the plan's.
-- Raises not_found, unauthorized, invalid_state, step_out_of_range, duplicate_step, step_mismatch, idempotency_mismatch, in this order.
CREATE OR REPLACE FUNCTION multistep_confirm_step(p_id text, p_caller text, p_step bigint, p_seller text, p_amount bigint, p_key text, p_hash text)
RETURNS json LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_known text := idempotency_take(coalesce(p_caller, p_id), p_key, p_hash, p_id);
  e multistep_escrow; s multistep_step; v_last boolean;
BEGIN
  IF v_known IS NOT NULL THEN RETURN multistep_answer(v_known, true); END IF;
  e := multistep_locked(p_id, p_caller);
  IF e.status <> 'open' THEN PERFORM refuse('invalid_state', format('The escrow is %s; none of its steps can be confirmed any more.', e.status)); END IF;
  -- After the wait for the lock, not when the transaction began.
  IF e.deadline <= clock_timestamp() THEN PERFORM refuse('invalid_state', 'The deadline has passed; what was not confirmed goes back to the buyer.'); END IF;
  IF p_step < 0 OR p_step >= e.total_steps THEN PERFORM refuse('step_out_of_range', format('The plan has the steps 0 to %s.', e.total_steps - 1)); END IF;
  SELECT * INTO s FROM multistep_step WHERE escrow_id = p_id AND step_index = p_step;
  IF s.confirmed_at IS NOT NULL THEN PERFORM refuse('duplicate_step', format('Step %s was confirmed and paid before.', p_step)); END IF;
  IF p_seller <> s.seller OR p_amount <> s.amount THEN PERFORM refuse('step_mismatch', format('Step %s is planned with another seller or amount.', p_step)); END IF;

  v_last := e.confirmed_steps + 1 = e.total_steps;
  PERFORM ledger_capture(ARRAY[p_id], ARRAY[p_id], ARRAY[p_id || ':step:' || p_step], ARRAY[s.seller], ARRAY[s.amount], ARRAY[0::bigint], NULL);
  UPDATE multistep_step SET confirmed_at = clock_timestamp() WHERE escrow_id = p_id AND step_index = p_step;
  UPDATE multistep_escrow SET spent = spent + s.amount, confirmed_steps = confirmed_steps + 1, version = version + 1, updated_at = clock_timestamp(),
                              status = CASE WHEN v_last THEN 'completed' ELSE 'open' END, ended_at = CASE WHEN v_last THEN clock_timestamp() END
   WHERE id = p_id;
  PERFORM payment_moved('multistep', p_id, e.version + 1, 'multistep.step_confirmed', jsonb_build_object('stepIndex', p_step, 'seller', s.seller, 'amount', s.amount::text));
  IF v_last THEN
    -- The steps add up to the total, so nothing is left of the hold.
    PERFORM ledger_close_hold(p_id, 0);
    INSERT INTO outbox (topic, ref) VALUES ('multistep.completed', p_id);
  END IF;
  RETURN multistep_answer(p_id, false);
END $$;

-- Gives what was not confirmed back to the buyer. The row is locked by the caller.
CREATE OR REPLACE FUNCTION multistep_abort(e multistep_escrow, p_resolution text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_rest bigint := ledger_close_hold(e.id, 0);
BEGIN
  UPDATE multistep_escrow SET status = 'aborted', resolution = p_resolution, refunded = v_rest, version = version + 1, updated_at = clock_timestamp(), ended_at = clock_timestamp()
   WHERE id = e.id;
  PERFORM payment_moved('multistep', e.id, e.version + 1, 'multistep.aborted', jsonb_build_object('resolution', p_resolution, 'refunded', v_rest::text));
END $$;

-- The buyer takes the rest back. Raises not_found, unauthorized, invalid_state, idempotency_mismatch.
CREATE OR REPLACE FUNCTION multistep_refund(p_id text, p_caller text, p_key text, p_hash text) RETURNS json LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_known text := idempotency_take(coalesce(p_caller, p_id), p_key, p_hash, p_id);
  e multistep_escrow;
BEGIN
  IF v_known IS NOT NULL THEN RETURN multistep_answer(v_known, true); END IF;
  e := multistep_locked(p_id, p_caller);
  IF e.status <> 'open' THEN PERFORM refuse('invalid_state', format('The escrow is %s; nothing of it can be refunded any more.', e.status)); END IF;
  PERFORM multistep_abort(e, 'buyer_refund');
  RETURN multistep_answer(p_id, false);
END $$;

-- Does what the clock demands, if it is due by this clock, and answers with the escrow; `replayed` unless this look has ended it. Again
-- changes nothing. Raises not_found.
CREATE OR REPLACE FUNCTION multistep_look(p_id text) RETURNS json LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE e multistep_escrow := multistep_locked(p_id, NULL); v_due boolean := e.status = 'open' AND e.deadline <= clock_timestamp();
BEGIN
  IF v_due THEN PERFORM multistep_abort(e, 'expired'); END IF;
  RETURN multistep_answer(p_id, NOT v_due);
END $$;
