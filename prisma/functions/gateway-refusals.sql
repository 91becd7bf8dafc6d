-- Calls of a session that found no seller. Locks: meter, call.

-- Counts such a call for the session's pace and notes it in the session's log: one row for each minute and reason, however many there were,
-- with the latest words. Nothing is written for a session that does not exist (a single call has none until it has found a seller).
-- outcome: noted, or why the session would not have taken the call at all: session_expired, session_closed, rate_limited.
CREATE OR REPLACE FUNCTION gateway_note_refusal(p_session text, p_service_type text, p_code text, p_message text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE m meter; v_now timestamptz := clock_timestamp(); v_fresh boolean; v_minute timestamptz := date_trunc('minute', v_now);
BEGIN
  SELECT * INTO m FROM meter WHERE id = p_session FOR NO KEY UPDATE;
  IF m.id IS NULL THEN RETURN 'noted'; END IF;
  IF m.closes_at <= v_now THEN RETURN 'session_expired'; END IF;
  IF NOT m.open THEN RETURN 'session_closed'; END IF;
  v_fresh := coalesce(m.window_started_at <= v_now - interval '1 minute', true);
  IF NOT v_fresh AND m.window_uses >= m.uses_per_minute THEN RETURN 'rate_limited'; END IF;
  UPDATE meter SET window_uses = CASE WHEN v_fresh THEN 1 ELSE window_uses + 1 END,
         window_started_at = CASE WHEN v_fresh THEN v_now ELSE window_started_at END WHERE id = p_session;
  -- The id says session, minute and reason, so that a second row cannot be.
  INSERT INTO gateway_call (id, session_id, buyer, service_type, state, error_code, error_message, accepted_at, finished_at)
  VALUES ('call_' || left(md5(p_session || ' ' || extract(epoch FROM v_minute) || ' ' || p_code), 24), p_session, m.owner,
          p_service_type, 'refused', p_code, p_message, v_now, v_now)
  ON CONFLICT (id) DO UPDATE SET times = gateway_call.times + 1, service_type = excluded.service_type,
         error_message = excluded.error_message, finished_at = excluded.finished_at;
  RETURN 'noted';
END $$;
