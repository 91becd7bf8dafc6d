-- Who exists: agents, their services and keys, and what they did twice.
CREATE TABLE agent (
  address       text PRIMARY KEY CHECK (address ~ '^0x[0-9a-f]{40}$'),
  name          text NOT NULL,
  description   text NOT NULL DEFAULT '',
  owner_address text,
  endpoint      text,
  metadata      jsonb NOT NULL DEFAULT '{}',
  -- Whose agent it is; all its keys act for this tenant. It stays through recovery, deletion and coming back.
  tenant_id     text,
  -- When control of the address was proven; NULL for a plain registration in demo mode.
  proven_at     timestamptz,
  deleted_at    timestamptz,
  -- Whole milliseconds, as cursors have them.
  created_at    timestamptz(3) NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX agent_created ON agent (created_at DESC, address DESC);

-- A message the server asked an address to sign; each is good for one registration.
CREATE TABLE ownership_challenge (
  id         text PRIMARY KEY,
  address    text NOT NULL,
  message    text NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ownership_challenge_expiry ON ownership_challenge (expires_at);

CREATE TABLE service (
  id            text PRIMARY KEY,
  agent_address text NOT NULL REFERENCES agent (address),
  type          text NOT NULL,
  name          text NOT NULL,
  description   text NOT NULL DEFAULT '',
  price_micros  bigint NOT NULL CHECK (price_micros > 0),
  endpoint      text NOT NULL DEFAULT '',
  active        boolean NOT NULL DEFAULT true,
  -- The seller promises that one Idempotency-Key is worked on once; only then may a call be sent again after a crash.
  idempotent    boolean NOT NULL DEFAULT false,
  -- The seller lets its work be given back unpaid when a pipeline does not complete.
  refundable    boolean NOT NULL DEFAULT false,
  metadata      jsonb NOT NULL DEFAULT '{}',
  deleted_at    timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX service_by_type ON service (type, price_micros) WHERE active AND deleted_at IS NULL;
CREATE INDEX service_by_price ON service (price_micros) WHERE active AND deleted_at IS NULL;
CREATE INDEX service_by_agent ON service (agent_address) WHERE deleted_at IS NULL;

CREATE TABLE api_key (
  id            text PRIMARY KEY,
  agent_address text NOT NULL REFERENCES agent (address),
  name          text NOT NULL,
  secret_hash   bytea NOT NULL UNIQUE,
  last_used_at  timestamptz,
  revoked_at    timestamptz,
  created_at    timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX api_key_by_agent ON api_key (agent_address, created_at DESC, id DESC);

-- What is known of a seller, recomputed by a job from settled and failed calls; never from claims.
CREATE TABLE agent_stats (
  address            text PRIMARY KEY,
  score              double precision NOT NULL DEFAULT 0,
  tier               text NOT NULL DEFAULT 'new',
  settled_count      bigint NOT NULL DEFAULT 0,
  failed_count       bigint NOT NULL DEFAULT 0,
  volume_micros      bigint NOT NULL DEFAULT 0,
  counterparty_count integer NOT NULL DEFAULT 0,
  first_active_at    timestamptz,
  last_active_at     timestamptz,
  updated_at         timestamptz NOT NULL DEFAULT now()
);

-- One row for each agent and idempotency key, whatever the route (invariant I8). `answer` is NULL for calls, whose row answers.
CREATE TABLE idempotency (
  agent_address text NOT NULL,
  key           text NOT NULL,
  request_hash  text NOT NULL,
  resource_id   text NOT NULL,
  status        integer,
  answer        jsonb,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (agent_address, key)
);
CREATE INDEX idempotency_resource ON idempotency (resource_id);
CREATE INDEX idempotency_age ON idempotency (created_at);
