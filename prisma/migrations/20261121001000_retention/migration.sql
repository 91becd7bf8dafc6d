-- What leaves after a time (ledger/retention.ts). Books never leave.

-- How far each kind has been removed. Read by the job that goes on from there after a restart, and by whoever must know that a row which
-- is missing was removed and not lost.
CREATE TABLE retention_mark (
  kind           text PRIMARY KEY,
  -- Rows of the kind that ended before this may be gone.
  removed_before timestamptz NOT NULL,
  -- For kinds that are walked through in the order of ids: the last one that was seen to.
  after_id       text
);

-- Failures of sellers that were removed: they still count among all their failures.
CREATE TABLE seller_failure_past (
  seller   text PRIMARY KEY,
  failures bigint NOT NULL
);

-- Events wait here only until they were delivered, so writing one pays nothing for this index.
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
