-- What the reputation job keeps beside the score. Totals only ever grow, each payment counted once: `counted_to` is the last posting
-- of the account that is in them. Postings of captures are written under the lock of both accounts, so for one account the order of
-- ids is the order of commits and nothing can appear below the mark later.
ALTER TABLE agent_stats
  ADD COLUMN bought_count        bigint  NOT NULL DEFAULT 0,
  ADD COLUMN spent_micros        bigint  NOT NULL DEFAULT 0,
  ADD COLUMN counted_to          bigint  NOT NULL DEFAULT 0,
  -- The inputs of the score: the latest payments and failures, at most five for each counterparty.
  ADD COLUMN recent_successful   integer NOT NULL DEFAULT 0,
  ADD COLUMN recent_failed       integer NOT NULL DEFAULT 0,
  ADD COLUMN recent_volume_micros bigint NOT NULL DEFAULT 0;
CREATE INDEX agent_stats_score ON agent_stats (score DESC, address);

-- Attempts that a seller failed. Written by the job from the log of the calls, once for each call and seller.
CREATE TABLE seller_failure (
  call_id   text NOT NULL,
  seller    text NOT NULL,
  buyer     text NOT NULL,
  failed_at timestamptz NOT NULL,
  PRIMARY KEY (call_id, seller)
);
CREATE INDEX seller_failure_by_seller ON seller_failure (seller, failed_at DESC);
CREATE INDEX seller_failure_age ON seller_failure (failed_at);
-- Few calls fail: the job finds them without reading the rest, and a call that goes well pays nothing for this index.
CREATE INDEX gateway_call_failed ON gateway_call (finished_at) WHERE state = 'released' OR attempt > 0;
