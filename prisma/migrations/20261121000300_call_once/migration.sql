-- One paid call with a session of its own: hold, session and call in one transaction. A call that is refused leaves nothing behind.
-- outcome as in gateway_accept; a repeated key answers before anything is held.
CREATE FUNCTION gateway_call_once(p_session json, p_call json, p_driver text, p_lease_ms integer)
RETURNS TABLE (pos integer, outcome text, existing_id text, remaining bigint) LANGUAGE plpgsql AS $$
DECLARE c json := p_call -> 0; v_hash text; a record;
BEGIN
  IF c ->> 'key' IS NOT NULL THEN
    SELECT i.request_hash, i.resource_id INTO v_hash, existing_id FROM idempotency i WHERE i.agent_address = c ->> 'buyer' AND i.key = c ->> 'key';
    IF FOUND THEN
      pos := 0; remaining := 0;
      outcome := CASE WHEN v_hash = c ->> 'hash' THEN 'replay' ELSE 'idempotency_mismatch' END;
      RETURN NEXT; RETURN;
    END IF;
  END IF;
  PERFORM gateway_open_session(p_session);
  SELECT * INTO a FROM gateway_accept(p_call, p_driver, p_lease_ms);
  -- Raised, so that hold and session go with it. A twin that came in between makes the caller ask again and be answered above.
  IF a.outcome = 'replay' THEN PERFORM refuse('idempotency_in_progress'); END IF;
  IF a.outcome <> 'accepted' THEN PERFORM refuse(a.outcome); END IF;
  pos := a.pos; outcome := a.outcome; existing_id := NULL; remaining := a.remaining;
  RETURN NEXT;
END $$;

CALL plan_once('gateway_accept(json, text, integer)', 'gateway_settle(json, text)', 'gateway_release(json)',
               'gateway_open_session(json)', 'gateway_close_session(text, text)', 'gateway_call_once(json, json, text, integer)',
               'gateway_next_attempt(text, integer, integer, jsonb)');
