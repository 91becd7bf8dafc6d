-- Pipelines: one to ten paid steps of a gateway session, bought in order. A step is a gateway call that is planned first; its price is
-- reserved with those of all other steps in one statement. Lock order: pipeline, call, session, hold, account; each in id order.

CREATE TABLE pipeline (
  id             text PRIMARY KEY,
  session_id     text NOT NULL,
  buyer          text NOT NULL,
  tenant_id      text,
  steps          integer NOT NULL CHECK (steps BETWEEN 1 AND 10),
  all_or_nothing boolean NOT NULL DEFAULT false,
  -- As domain/pipeline-rules.ts has it. While it is undoing its money is where it stays: only compensations are still being called.
  state          text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'cancelling', 'undoing', 'completed', 'failed', 'cancelled')),
  -- What it will be when everything is undone.
  ends_as        text CHECK (ends_as IN ('failed', 'cancelled')),
  version        integer NOT NULL DEFAULT 1,
  -- Reserved when it was accepted.
  held           bigint NOT NULL CHECK (held > 0),
  total_paid     bigint NOT NULL DEFAULT 0 CHECK (total_paid >= 0),
  failed_step    integer,
  error_code     text,
  error_message  text,
  workflow_id    text NOT NULL,
  -- A start was sent, or is about to be; otherwise there is no workflow.
  workflow_started boolean NOT NULL DEFAULT false,
  -- Until when a process sees to it that has gone without a sign of life.
  claimed_until  timestamptz,
  created_at     timestamptz NOT NULL DEFAULT now(),
  -- Of the latest sign of life: a change of state, a step that began. While compensations wait to be called again: when the next is due.
  updated_at     timestamptz NOT NULL DEFAULT now(),
  ended_at       timestamptz,
  CHECK ((ended_at IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 60);
CREATE INDEX pipeline_by_buyer ON pipeline (buyer, created_at DESC, id DESC);
CREATE INDEX pipeline_open ON pipeline (updated_at) WHERE ended_at IS NULL;
