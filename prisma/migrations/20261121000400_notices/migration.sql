-- A change of a payment or a pipeline that its workflow may not have heard of. Written with the change, deleted when Temporal has
-- confirmed; what a crash leaves here is sent by the sweep. `version` is that of the row, so a later change is never taken for confirmed.
CREATE TABLE workflow_notice (
  payment_id    text PRIMARY KEY,
  -- As the rules have it, or 'pipeline'.
  kind          text NOT NULL,
  version       integer NOT NULL,
  noted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Until when a process may be informing the workflow. A notice written anew after it was claimed may be claimed again.
  claimed_until timestamptz
) WITH (fillfactor = 50);
CREATE INDEX workflow_notice_by_kind ON workflow_notice (kind, claimed_until NULLS FIRST, noted_at);
