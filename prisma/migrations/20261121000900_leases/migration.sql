-- N processes share what stands behind the workflows: each row of it is worked on by one process at a time.

-- Until when a process may be telling the workflow. A notice written anew after it was claimed may be claimed again.
ALTER TABLE workflow_notice ADD COLUMN claimed_until timestamptz;
CREATE INDEX workflow_notice_by_kind ON workflow_notice (kind, claimed_until NULLS FIRST, noted_at);

-- Which overdue payment a sweeper works on, and for how long nobody else does. The rows of payments know nothing of it.
CREATE TABLE sweep_claim (
  -- Which sweeper, as the names of its job.
  job           text NOT NULL,
  id            text NOT NULL,
  claimed_until timestamptz NOT NULL,
  PRIMARY KEY (job, id)
) WITH (fillfactor = 50);
