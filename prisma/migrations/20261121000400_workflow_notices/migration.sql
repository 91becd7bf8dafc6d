-- What all payments share that a workflow of their own follows.

-- A change of a payment's row that its workflow has not been notified of yet. Written with the change, deleted when the workflow knows;
-- what a crash leaves here is sent by the sweeper. `version` is that of the row, so a later change is never taken for sent.
CREATE TABLE workflow_notice (
  payment_id text PRIMARY KEY,
  -- Which shape of payment, as the keys of `taskQueues`.
  kind       text NOT NULL,
  version    integer NOT NULL,
  noted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
