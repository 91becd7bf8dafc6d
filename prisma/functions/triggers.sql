-- Triggers with their functions. In a file of their own: making a trigger again locks its table for a moment.

-- The caches of every process hear of a change at once.
CREATE OR REPLACE FUNCTION notify_registry_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('registry_changed', TG_TABLE_NAME);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER service_changed AFTER INSERT OR UPDATE OR DELETE ON service
  FOR EACH STATEMENT EXECUTE FUNCTION notify_registry_change();
CREATE OR REPLACE TRIGGER agent_changed AFTER UPDATE OF name, deleted_at, tenant_id ON agent
  FOR EACH STATEMENT EXECUTE FUNCTION notify_registry_change();
CREATE OR REPLACE TRIGGER agent_stats_changed AFTER INSERT OR UPDATE ON agent_stats
  FOR EACH STATEMENT EXECUTE FUNCTION notify_registry_change();
CREATE OR REPLACE TRIGGER api_key_revoked AFTER UPDATE OF revoked_at ON api_key
  FOR EACH STATEMENT EXECUTE FUNCTION notify_registry_change();

CREATE OR REPLACE FUNCTION posting_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'A posting, once written, stays. Write another one the other way round.';
END $$;
CREATE OR REPLACE TRIGGER posting_append_only BEFORE UPDATE OR DELETE ON posting FOR EACH ROW EXECUTE FUNCTION posting_is_append_only();

CREATE OR REPLACE FUNCTION stream_tick_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'A tick, once counted, stays.';
END $$;
CREATE OR REPLACE TRIGGER stream_tick_append_only BEFORE UPDATE OR DELETE ON stream_tick
  FOR EACH ROW EXECUTE FUNCTION stream_tick_is_append_only();
