-- Escrow: money waits between two agents until the buyer is content, the time is up, or somebody has ruled.
-- Lock order: the escrow's row, its hold, accounts in id order. The row's lock and the database's clock decide every race.

CREATE TABLE escrow (
  -- Also the id of its hold, and the `ref` of every posting.
  id                text PRIMARY KEY,
  buyer             text NOT NULL,
  seller            text NOT NULL,
  -- Named when the escrow is made, never later. NULL: the platform rules.
  arbiter           text,
  amount            bigint NOT NULL CHECK (amount > 0),
  service_id        text,
  -- Reserved for session keys, which do not exist yet.
  session_key_id    text,
  status            text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'disputed', 'arbitrating', 'released', 'refunded')),
  -- Where the money went; both stay 0 until the end.
  released          bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
  refunded          bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
  resolution        text,
  dispute_reason    text,
  buyer_may_cancel  boolean NOT NULL DEFAULT false,
  review_window_ms  bigint NOT NULL CHECK (review_window_ms > 0),
  ruling_window_ms  bigint NOT NULL CHECK (ruling_window_ms > 0),
  delivery_deadline timestamptz NOT NULL,
  delivered_at      timestamptz,
  review_until      timestamptz,
  ruling_until      timestamptz,
  -- When the clock decides the state it is in. NULL: it has ended.
  deadline          timestamptz,
  resolved_at       timestamptz,
  version           integer NOT NULL DEFAULT 1,
  workflow_id       text NOT NULL,
  tenant_id         text,
  created_at        timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL,
  CONSTRAINT escrow_parties CHECK (buyer <> seller AND arbiter IS DISTINCT FROM buyer AND arbiter IS DISTINCT FROM seller),
  CONSTRAINT escrow_ends_whole CHECK (released + refunded = CASE WHEN status IN ('released', 'refunded') THEN amount ELSE 0 END),
  CONSTRAINT escrow_waits_for_a_time CHECK ((deadline IS NULL) = (status IN ('released', 'refunded')))
) WITH (fillfactor = 60);
CREATE INDEX escrow_by_buyer ON escrow (buyer, created_at DESC, id DESC);
CREATE INDEX escrow_by_seller ON escrow (seller, created_at DESC, id DESC);
CREATE INDEX escrow_by_arbiter ON escrow (arbiter, created_at DESC, id DESC) WHERE arbiter IS NOT NULL;
CREATE INDEX escrow_due ON escrow (deadline) WHERE deadline IS NOT NULL;

-- What the parties say in a dispute. The buyer's first entry is the reason of the dispute.
CREATE TABLE escrow_evidence (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  escrow_id    text NOT NULL,
  submitted_by text NOT NULL,
  content      text NOT NULL CHECK (char_length(content) BETWEEN 1 AND 10000),
  submitted_at timestamptz NOT NULL
);
CREATE INDEX escrow_evidence_of ON escrow_evidence (escrow_id, id);
