-- Long calls: calls of the gateway whose sellers may take up to a day. What is long about a call stands in a table of its own, so that the
-- row of every other call stays as narrow as it is. Lock order: the call, then its row here.

ALTER TABLE service ADD COLUMN max_duration_secs integer CHECK (max_duration_secs BETWEEN 1 AND 86400);

CREATE TABLE long_call (
  -- Of the gateway_call, which has state and money; while this one is open the call has no lease, because nobody drives it.
  id               text PRIMARY KEY,
  tenant_id        text,
  -- Grows by one with everything that happens to the call, each with its event.
  version          integer NOT NULL DEFAULT 1,
  -- Until when the seller that is asked, or is to be, has time.
  deadline         timestamptz NOT NULL,
  -- Written before the seller is asked, so that a crash leaves no doubt whether it may have been.
  asked_at         timestamptz,
  -- How often this seller was asked.
  asks             integer NOT NULL DEFAULT 0,
  -- Until when a process may be asking.
  asking_until     timestamptz,
  -- The seller has said that it works, by 202 or by a sign of life: it can no longer lose the call to a cancel.
  begun_at         timestamptz,
  -- What the seller has said last.
  percent          integer CHECK (percent BETWEEN 0 AND 100),
  note             text,
  -- Where this platform is reached; the link that the seller gets begins with it.
  base_url         text NOT NULL,
  -- A start was sent, or is about to be; otherwise there is no workflow.
  workflow_started boolean NOT NULL DEFAULT false,
  -- Until when a process sees to it that is overdue, or was never asked.
  claimed_until    timestamptz,
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at         timestamptz
) WITH (fillfactor = 70);
CREATE INDEX long_call_open ON long_call (deadline) WHERE ended_at IS NULL;

CREATE TABLE long_call_event (
  call_id    text NOT NULL,
  version    integer NOT NULL,
  step       text NOT NULL CHECK (step IN ('accepted', 'asked', 'asked_again', 'answer_lost', 'failed_over', 'begun', 'progress',
                                           'completed', 'failed', 'cancelled', 'overdue', 'given_up')),
  -- buyer, seller, clock or platform.
  role       text NOT NULL,
  data       jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (call_id, version)
);
