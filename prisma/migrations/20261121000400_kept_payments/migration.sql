-- What all payments share that are kept in a row and followed by a workflow of their own: escrows, pipelines, streams.

-- Details of an event that its row does not keep, such as who acted.
ALTER TABLE outbox ADD COLUMN data jsonb;
-- For the timeline of one payment. Calls, of which there are thousands a second, keep their own times and do without.
CREATE INDEX outbox_by_ref ON outbox (ref, id) WHERE topic NOT LIKE 'call.%';

-- A change of a payment's row that its workflow has not been told of yet. Written with the change, deleted when the workflow knows;
-- what a crash leaves here is told by the sweeper. `version` is that of the row, so a later change is never taken for told.
CREATE TABLE workflow_notice (
  payment_id text PRIMARY KEY,
  -- Which shape of payment, as the keys of `taskQueues`.
  kind       text NOT NULL,
  version    integer NOT NULL,
  noted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Notes that the workflow of a payment must be told, and tells the outside by an event, both with the change itself.
CREATE FUNCTION payment_moved(p_kind text, p_id text, p_version integer, p_topic text, p_data jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p_id, p_kind, p_version)
  ON CONFLICT (payment_id) DO UPDATE SET version = excluded.version, noted_at = excluded.noted_at;
  INSERT INTO outbox (topic, ref, data) VALUES (p_topic, p_id, p_data);
$$;

-- Forgets notices whose workflow knows that version. One that somebody is writing anew is left alone: a transaction may write the
-- notices of several payments, and waiting for it row by row could wait in a ring.
CREATE FUNCTION workflow_told(p_ids text[], p_versions integer[]) RETURNS void LANGUAGE sql AS $$
  DELETE FROM workflow_notice WHERE payment_id IN (
    SELECT n.payment_id FROM unnest(p_ids, p_versions) AS t(id, version) JOIN workflow_notice n ON n.payment_id = t.id WHERE n.version <= t.version
       FOR UPDATE OF n SKIP LOCKED);
$$;

-- Takes an idempotency key for a payment. NULL: it is ours now. Otherwise the id of what the first request with this key was about;
-- the caller then changes nothing and answers with that. Waits while the first request is under way. Raises idempotency_mismatch.
CREATE FUNCTION idempotency_take(p_agent text, p_key text, p_hash text, p_resource text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v_hash text; v_resource text;
BEGIN
  IF p_key IS NULL THEN RETURN NULL; END IF;
  INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (p_agent, p_key, p_hash, p_resource) ON CONFLICT DO NOTHING;
  IF FOUND THEN RETURN NULL; END IF;
  SELECT request_hash, resource_id INTO v_hash, v_resource FROM idempotency WHERE agent_address = p_agent AND key = p_key;
  IF v_hash IS NULL THEN PERFORM refuse('idempotency_in_progress'); END IF;
  IF v_hash <> p_hash THEN PERFORM refuse('idempotency_mismatch'); END IF;
  RETURN v_resource;
END $$;

-- Adds to a hold what its owner has available: a top-up. p_ref makes it unique. Raises insufficient_balance, already_closed.
CREATE FUNCTION ledger_increase_hold(p_id text, p_ref text, p_amount bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE h hold;
BEGIN
  SELECT * INTO h FROM hold WHERE id = p_id FOR NO KEY UPDATE;
  IF h.id IS NULL OR h.closed_at IS NOT NULL THEN PERFORM refuse('already_closed'); END IF;
  UPDATE account SET available = available - p_amount,
                     pending  = pending  + CASE h.bucket WHEN 'pending'  THEN p_amount ELSE 0 END,
                     escrowed = escrowed + CASE h.bucket WHEN 'escrowed' THEN p_amount ELSE 0 END,
                     updated_at = now()
   WHERE id = h.account_id AND available >= p_amount;
  IF NOT FOUND THEN PERFORM refuse('insufficient_balance'); END IF;
  UPDATE hold SET amount = amount + p_amount WHERE id = p_id;
  INSERT INTO posting (ref, kind, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
  VALUES (p_ref, 'hold', h.asset, h.account_id, 'available', h.account_id, h.bucket, p_amount);
END $$;
