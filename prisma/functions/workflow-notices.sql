-- Notices for workflows, and idempotency keys: what payments share that a workflow of their own follows.

-- Notes that the workflow of a payment must be notified, and writes the event for the outside, both with the change itself.
CREATE OR REPLACE FUNCTION payment_moved(p_kind text, p_id text, p_version integer, p_topic text, p_data jsonb DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO workflow_notice (payment_id, kind, version) VALUES (p_id, p_kind, p_version)
  ON CONFLICT (payment_id) DO UPDATE SET version = excluded.version, noted_at = excluded.noted_at;
  INSERT INTO outbox (topic, ref, data) VALUES (p_topic, p_id, p_data);
$$;

-- Forgets notices whose workflow knows that version. One that somebody is writing anew is left alone: a transaction may write the
-- notices of several payments, and waiting for it row by row could wait in a ring.
CREATE OR REPLACE FUNCTION workflow_told(p_ids text[], p_versions integer[]) RETURNS void LANGUAGE sql AS $$
  DELETE FROM workflow_notice WHERE payment_id IN (
    SELECT n.payment_id FROM unnest(p_ids, p_versions) AS t(id, version) JOIN workflow_notice n ON n.payment_id = t.id
     WHERE n.version <= t.version FOR UPDATE OF n SKIP LOCKED);
$$;

-- Takes an idempotency key for a payment. NULL: it is ours now. Otherwise the id of what the first request with this key was about;
-- the caller then changes nothing and answers with that. Waits while the first request is under way. Raises idempotency_mismatch.
CREATE OR REPLACE FUNCTION idempotency_take(p_agent text, p_key text, p_hash text, p_resource text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v_hash text; v_resource text;
BEGIN
  IF p_key IS NULL THEN RETURN NULL; END IF;
  INSERT INTO idempotency (agent_address, key, request_hash, resource_id) VALUES (p_agent, p_key, p_hash, p_resource)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN RETURN NULL; END IF;
  SELECT request_hash, resource_id INTO v_hash, v_resource FROM idempotency WHERE agent_address = p_agent AND key = p_key;
  IF v_hash IS NULL THEN PERFORM refuse('idempotency_in_progress'); END IF;
  IF v_hash <> p_hash THEN PERFORM refuse('idempotency_mismatch'); END IF;
  RETURN v_resource;
END $$;
