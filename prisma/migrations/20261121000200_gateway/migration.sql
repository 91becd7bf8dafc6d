-- Gateway calls. Each draws on a meter: that of its session, or one of its own. Lock order: call, meter, idempotency key, hold, account.

CREATE TABLE gateway_call (
  id              text PRIMARY KEY,
  -- The session, or for a single call what its hold and meter are named by.
  session_id      text NOT NULL,
  buyer           text NOT NULL,
  service_type    text NOT NULL,
  -- JSON text, not jsonb: jsonb refuses strings that JSON allows.
  params          text NOT NULL DEFAULT '{}',
  -- The sellers chosen when the call was accepted, best first: [{serviceId, serviceName, seller, endpoint, priceMicros, idempotent}].
  candidates      jsonb NOT NULL DEFAULT '[]',
  -- Which candidate is being asked. Written before that seller is asked, so that a crash leaves no doubt whom to suspect.
  attempt         integer NOT NULL DEFAULT 0,
  attempts        jsonb NOT NULL DEFAULT '[]',
  idempotency_key text,
  -- planned: a step of a pipeline that waits for those before it. delivered: the answer of a refundable step is there, its price is
  -- kept until the pipeline ends.
  state           text NOT NULL DEFAULT 'accepted' CHECK (state IN ('planned', 'accepted', 'delivered', 'settled', 'released', 'refused')),
  -- Price of the current candidate; what a settlement moves. Nobody can settle for another amount.
  reserved        bigint NOT NULL DEFAULT 0,
  price           bigint NOT NULL DEFAULT 0,
  fee             bigint NOT NULL DEFAULT 0,
  fee_bps         integer NOT NULL DEFAULT 0,
  seller          text,
  service_id      text,
  service_name    text,
  http_status     integer,
  response        text,
  latency_ms      integer,
  error_code      text,
  error_message   text,
  -- Who drives the call, and until when nobody else may.
  driver          text,
  lease_until     timestamptz,
  drives          integer NOT NULL DEFAULT 1,
  workflow_id     text,
  -- The pipeline it is a step of, and which.
  pipeline_id     text,
  step_index      integer,
  -- Not paid before its pipeline has ended well.
  refundable      boolean NOT NULL DEFAULT false,
  -- How to undo the step: {endpoint, params} as JSON text. Written with the plan, before any seller is asked.
  compensation    text,
  undo_state      text CHECK (undo_state IN ('registered', 'pending', 'done', 'failed', 'not_needed')),
  undo_attempts   integer NOT NULL DEFAULT 0,
  undo_error      text,
  -- Since when it is to be undone, and when that is tried next. Whoever tries it has the lease.
  undo_since      timestamptz,
  undo_due_at     timestamptz,
  -- How many calls a refused one stands for: of one minute, session and reason.
  times           integer NOT NULL DEFAULT 1,
  accepted_at     timestamptz NOT NULL DEFAULT now(),
  finished_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX gateway_call_by_session ON gateway_call (session_id, accepted_at DESC, id DESC);
CREATE INDEX gateway_call_open ON gateway_call (lease_until) WHERE state = 'accepted';
CREATE UNIQUE INDEX gateway_call_step ON gateway_call (pipeline_id, step_index) WHERE pipeline_id IS NOT NULL;

-- What the process sends to have calls accepted. JSON is read once, into these.
CREATE TYPE gateway_call_item AS (
  pos integer, id text, session_id text, buyer text, service_type text, params text, candidates jsonb, key text, hash text, price bigint,
  fee_bps integer,  seller text, service_id text, service_name text, workflow_id text,
  -- Whoever asks has taken the idempotency key already, in the same transaction.
  key_taken boolean
);

CREATE TYPE gateway_delivery_item AS (
  pos integer, id text, attempt integer, http_status integer, response text, latency_ms integer, log jsonb
);
