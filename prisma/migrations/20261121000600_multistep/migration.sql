-- Multistep escrow: one hold for a plan of steps, each paid to its seller when the buyer confirms it, in any order. What is not
-- confirmed goes back to the buyer, when the buyer says so or at the deadline, so that nothing is locked for ever.
-- Lock order: idempotency key, escrow row, hold, accounts.

CREATE TABLE multistep_escrow (
  -- Also the id of the escrow's hold.
  id              text PRIMARY KEY,
  buyer           text NOT NULL,
  tenant_id       text,
  total           bigint NOT NULL CHECK (total > 0),
  spent           bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
  refunded        bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
  total_steps     integer NOT NULL CHECK (total_steps BETWEEN 1 AND 100),
  confirmed_steps integer NOT NULL DEFAULT 0 CHECK (confirmed_steps BETWEEN 0 AND total_steps),
  status          text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'completed', 'aborted')),
  -- Why the rest went back.
  resolution      text CHECK (resolution IN ('buyer_refund', 'expired')),
  deadline        timestamptz NOT NULL,
  version         integer NOT NULL DEFAULT 1,
  workflow_id     text NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now(),
  ended_at        timestamptz,
  CHECK (spent + refunded <= total),
  CHECK ((status = 'open') = (ended_at IS NULL)),
  CHECK ((status = 'aborted') = (resolution IS NOT NULL))
) WITH (fillfactor = 60);
CREATE INDEX multistep_escrow_by_buyer ON multistep_escrow (buyer, created_at DESC, id DESC);
CREATE INDEX multistep_escrow_open ON multistep_escrow (deadline) WHERE status = 'open';

CREATE TABLE multistep_step (
  escrow_id    text NOT NULL REFERENCES multistep_escrow (id),
  step_index   integer NOT NULL CHECK (step_index >= 0),
  seller       text NOT NULL,
  amount       bigint NOT NULL CHECK (amount > 0),
  -- NULL until the buyer has confirmed the step and its seller was paid.
  confirmed_at timestamptz,
  PRIMARY KEY (escrow_id, step_index)
);
CREATE INDEX multistep_step_by_seller ON multistep_step (seller, escrow_id);
