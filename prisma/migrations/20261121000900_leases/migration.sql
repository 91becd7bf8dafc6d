-- Jobs that are no payment's, such as the audit and retention: which process works on one, and for how long nobody else does. Payments,
-- pipelines, calls and notices have leases in their own rows.
CREATE TABLE sweep_claim (
  job           text NOT NULL,
  -- Which part of the job.
  id            text NOT NULL,
  claimed_until timestamptz NOT NULL,
  PRIMARY KEY (job, id)
) WITH (fillfactor = 50);
