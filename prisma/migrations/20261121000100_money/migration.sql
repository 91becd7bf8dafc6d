-- The ledger. It knows accounts, holds and postings, and nothing of what they are for. All amounts are micros of the asset.
-- What happens in these tables is in prisma/functions/ledger.sql.

CREATE TABLE account (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner        text NOT NULL,
  -- As `assets` of domain/money.ts.
  asset        text NOT NULL,
  available    bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
  pending      bigint NOT NULL DEFAULT 0 CHECK (pending >= 0),
  escrowed     bigint NOT NULL DEFAULT 0 CHECK (escrowed >= 0),
  -- Reserved for credit lines; nothing draws on them yet.
  credit_limit bigint NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),
  credit_used  bigint NOT NULL DEFAULT 0 CHECK (credit_used >= 0 AND credit_used <= credit_limit),
  total_in     bigint NOT NULL DEFAULT 0,
  total_out    bigint NOT NULL DEFAULT 0,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, asset)
) WITH (fillfactor = 60);

CREATE TABLE hold (
  -- That of the payment it is made for.
  id         text PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account (id),
  tenant_id  text,
  asset      text NOT NULL,
  bucket     text NOT NULL CHECK (bucket IN ('pending', 'escrowed')),
  amount     bigint NOT NULL CHECK (amount > 0),
  captured   bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
  released   bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
  -- Behind every workflow stands the hold's own end, for the day the workflow is lost. NULL: somebody must decide.
  expires_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  closed_at  timestamptz,
  CHECK (captured + released <= amount),
  CHECK (closed_at IS NULL OR captured + released <= amount)
) WITH (fillfactor = 60);
CREATE INDEX hold_by_account ON hold (account_id) WHERE closed_at IS NULL;

-- Append-only. Money leaves the debit side and arrives at the credit side; a NULL side is the world outside.
CREATE TABLE posting (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ref            text NOT NULL,
  kind           text NOT NULL,
  -- What it is for: a call, an escrow, a session; and out of which hold. NULL for a deposit.
  payment_id     text,
  hold_id        text,
  asset          text NOT NULL,
  debit_account  bigint,
  debit_bucket   text,
  credit_account bigint,
  credit_bucket  text,
  amount         bigint NOT NULL CHECK (amount > 0),
  note           text,
  reverses       bigint,
  created_at     timestamptz NOT NULL DEFAULT now(),
  CHECK (debit_account IS NOT NULL OR credit_account IS NOT NULL),
  CHECK ((payment_id IS NULL) = (hold_id IS NULL))
);
-- Paying twice is a constraint violation, not a hope.
CREATE UNIQUE INDEX posting_once ON posting (ref, kind);
CREATE UNIQUE INDEX posting_reversed_once ON posting (reverses) WHERE reverses IS NOT NULL;
-- Most postings have the id of their payment as `ref` and are found by that; here are the others.
CREATE INDEX posting_of_part ON posting (payment_id) WHERE payment_id <> ref;
CREATE INDEX posting_debit ON posting (debit_account, id);
CREATE INDEX posting_credit ON posting (credit_account, id);
-- What two agents paid each other, however much each of them has paid others.
CREATE INDEX posting_between ON posting (debit_account, credit_account, id) WHERE kind = 'capture';

-- Fees that are posted but not yet added to the platform's account row, so that this row is never hot. Folded by a job.
CREATE TABLE unfolded_fee (
  ref        text PRIMARY KEY,
  account_id bigint NOT NULL,
  amount     bigint NOT NULL CHECK (amount > 0)
);

-- The proofs of the books that the job has made; the latest few hundred are kept.
CREATE TABLE audit_run (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  started_at timestamptz NOT NULL,
  ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- As ledger/audit.ts has them; none: the books are right.
  findings   jsonb NOT NULL
);

-- Events for the outside, written with the change they are about. (topic, ref) names the row that has the details.
CREATE TABLE outbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic        text NOT NULL,
  ref          text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  -- What the row does not keep, such as who acted.
  data         jsonb
);
-- For the timeline of one payment. Calls, of which there are thousands a second, keep their own times and do without.
CREATE INDEX outbox_by_ref ON outbox (ref, id) WHERE topic NOT LIKE 'call.%';
