-- Payments that live longer than a request, whatever their kind: one row each, moved by `payment_apply` alone. What may happen to one is
-- decided by the rules of its kind (domain/<kind>.ts); nothing in here knows them.

-- The states that the rules of each kind have. Written from the rules when a process starts (ledger/payment-states.ts).
CREATE TABLE payment_state (
  kind  text NOT NULL,
  state text NOT NULL,
  ended boolean NOT NULL,
  PRIMARY KEY (kind, state),
  UNIQUE (kind, state, ended)
);

CREATE TABLE payment (
  -- Also the id of its hold, and the `ref` of its postings.
  id               text PRIMARY KEY,
  kind             text NOT NULL,
  state            text NOT NULL,
  -- Grows by one with each decision; `payment_event` has a row for each number.
  version          integer NOT NULL CHECK (version > 0),
  -- When the clock decides the state it is in. NULL: it has ended.
  deadline         timestamptz,
  ended            boolean NOT NULL GENERATED ALWAYS AS (deadline IS NULL) STORED,
  buyer            text NOT NULL,
  -- NULL while the payee is not known.
  seller           text,
  -- Named when it was opened, never later. NULL: the platform rules where there is something to rule.
  arbiter          text,
  tenant_id        text,
  asset            text NOT NULL,
  held             bigint NOT NULL CHECK (held > 0),
  paid             bigint NOT NULL DEFAULT 0 CHECK (paid >= 0),
  returned         bigint NOT NULL DEFAULT 0 CHECK (returned >= 0),
  -- Why it ended as it did.
  resolution       text,
  -- What was agreed on; never changes.
  terms            jsonb NOT NULL,
  -- What the kind remembers beside; rewritten by decisions only.
  details          jsonb NOT NULL,
  -- Keyed hash of a secret by which its holder finds the payment, such as the number of a card.
  lookup           text,
  -- How many rows of payment_part it has.
  parts            integer NOT NULL DEFAULT 0,
  workflow_id      text NOT NULL,
  -- A start of its workflow was sent. What ends before that needs none.
  workflow_started boolean NOT NULL,
  -- A process that works on its deadline has until then; others leave it alone.
  claimed_until    timestamptz,
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  ended_at         timestamptz,
  -- A known state, and an end exactly where there is no deadline.
  FOREIGN KEY (kind, state, ended) REFERENCES payment_state (kind, state, ended),
  CONSTRAINT payment_terms_are_short CHECK (octet_length(terms::text) <= 4096),
  CONSTRAINT payment_parties
    CHECK (buyer <> seller AND arbiter IS DISTINCT FROM buyer AND (arbiter IS NULL OR arbiter IS DISTINCT FROM seller)),
  CONSTRAINT payment_ends_whole CHECK (CASE WHEN deadline IS NULL THEN paid + returned = held ELSE paid + returned <= held END),
  CONSTRAINT payment_end_has_a_time
    CHECK ((deadline IS NULL) = (ended_at IS NOT NULL) AND (deadline IS NULL) = (resolution IS NOT NULL))
) WITH (fillfactor = 60);
CREATE INDEX payment_by_buyer ON payment (buyer, kind, created_at DESC, id DESC);
CREATE INDEX payment_by_seller ON payment (seller, kind, created_at DESC, id DESC) WHERE seller IS NOT NULL;
CREATE INDEX payment_by_arbiter ON payment (arbiter, kind, created_at DESC, id DESC) WHERE arbiter IS NOT NULL;
CREATE UNIQUE INDEX payment_by_lookup ON payment (lookup) WHERE lookup IS NOT NULL;
CREATE INDEX payment_due ON payment (deadline) WHERE deadline IS NOT NULL;

-- What calls and ticks count on. A row of its own, because thousands a second use it: they change neither the row of the payment nor its
-- version. Calls reserve and settle here, ticks use what is held; `payment_apply` opens, fills up and closes it, under its lock.
CREATE TABLE meter (
  -- Also the id of its payment and of its hold. The meter of a single call has no payment.
  id                text PRIMARY KEY,
  -- Whose money it is.
  owner             text NOT NULL,
  open              boolean NOT NULL DEFAULT true,
  -- What is held for it.
  capacity          bigint NOT NULL CHECK (capacity > 0),
  used              bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
  -- Promised to calls that are under way.
  reserved          bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  uses              integer NOT NULL DEFAULT 0 CHECK (uses >= 0),
  -- The most that one use may cost.
  price_max         bigint NOT NULL CHECK (price_max > 0),
  -- Nothing begins after this. NULL: as long as it is open.
  closes_at         timestamptz,
  -- Idle after so long without a use; then the deadline of its payment counts. NULL: uses do not matter to it.
  idle_ms           bigint CHECK (idle_ms > 0),
  last_used_at      timestamptz NOT NULL,
  -- NULL: as many as there are.
  uses_per_minute   integer,
  window_started_at timestamptz,
  window_uses       integer NOT NULL DEFAULT 0,
  -- It ends with its only use.
  single_use        boolean NOT NULL DEFAULT false,
  -- The events that little is left, and too little for another use, were written since it was last filled up.
  low_noted         boolean NOT NULL DEFAULT false,
  empty_noted       boolean NOT NULL DEFAULT false,
  CHECK (used + reserved <= capacity)
) WITH (fillfactor = 50);

-- Parts of a payment that are paid one by one, each to a payee of its own, in any order.
CREATE TABLE payment_part (
  payment_id text NOT NULL,
  part_index integer NOT NULL CHECK (part_index >= 0),
  payee      text NOT NULL,
  amount     bigint NOT NULL CHECK (amount > 0),
  -- NULL until it was paid.
  paid_at    timestamptz,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (payment_id, part_index)
);
CREATE INDEX payment_part_by_payee ON payment_part (payee, created_at DESC, payment_id DESC);

-- What has happened to a payment: one row for each version, by whom, and what moved. Books: never deleted.
CREATE TABLE payment_event (
  payment_id text NOT NULL,
  version    integer NOT NULL,
  step       text NOT NULL,
  role       text NOT NULL,
  -- The address behind the role; `platform` or `clock` where there is none.
  actor      text NOT NULL,
  state      text NOT NULL,
  deadline   timestamptz,
  held       bigint NOT NULL DEFAULT 0,
  paid       bigint NOT NULL DEFAULT 0,
  returned   bigint NOT NULL DEFAULT 0,
  -- Who was paid.
  payee      text,
  resolution text,
  -- What the actor said: the reason of a dispute, a piece of evidence.
  note       text CHECK (char_length(note) <= 10000),
  -- Which attempt of a request it was: whoever comes second with it changes nothing.
  attempt    text,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (payment_id, version)
);

-- Refusals of attempts about which a message is on its way to a workflow: what arrives later is refused as well. Kept for an hour.
CREATE TABLE payment_refusal (
  attempt    text PRIMARY KEY,
  payment_id text NOT NULL,
  refusal    jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payment_refusal_age ON payment_refusal (created_at);
