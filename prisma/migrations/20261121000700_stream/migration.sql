-- Metered streams: a deposit is held, ticks use it up, and the end pays what was ticked and gives back the rest.
-- Lock order: stream, idempotency key, hold, account; each in id order. A tick touches no ledger row: its money is held already.

CREATE TABLE stream (
  -- Also the id of the stream's hold.
  id               text PRIMARY KEY,
  buyer            text NOT NULL,
  seller           text NOT NULL,
  service_id       text,
  session_key_id   text,
  tenant_id        text,
  -- What is held, top-ups included. Stays after the end.
  deposit          bigint NOT NULL CHECK (deposit > 0),
  spent            bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
  price_per_tick   bigint NOT NULL CHECK (price_per_tick > 0),
  -- Also the number of the latest tick.
  tick_count       integer NOT NULL DEFAULT 0 CHECK (tick_count >= 0),
  top_ups          integer NOT NULL DEFAULT 0,
  status           text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed', 'stale_closed')),
  stale_timeout_ms bigint NOT NULL CHECK (stale_timeout_ms > 0),
  -- The rest cannot pay another tick at the agreed price.
  paused           boolean NOT NULL DEFAULT false,
  -- The event that the deposit is nearly spent was written since the latest top-up.
  low_told         boolean NOT NULL DEFAULT false,
  last_tick_at     timestamptz,
  -- When somebody must look whether the stream is stale. Ticks leave it alone, so that they change no index; a look moves it on.
  look_at          timestamptz NOT NULL,
  closed_at        timestamptz,
  close_reason     text,
  -- One for each event of the stream; ticks do not count.
  version          integer NOT NULL DEFAULT 1,
  workflow_id      text NOT NULL,
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  CHECK (spent <= deposit),
  CHECK ((status = 'open') = (closed_at IS NULL)),
  CHECK (buyer <> seller)
) WITH (fillfactor = 50);
CREATE INDEX stream_by_buyer ON stream (buyer, created_at DESC, id DESC);
CREATE INDEX stream_by_seller ON stream (seller, created_at DESC, id DESC);
CREATE INDEX stream_open ON stream (look_at) WHERE status = 'open';

-- What was counted. Append-only: it is why the seller was paid.
CREATE TABLE stream_tick (
  stream_id  text NOT NULL,
  seq        integer NOT NULL CHECK (seq > 0),
  amount     bigint NOT NULL CHECK (amount > 0),
  -- Spent by the stream with this tick.
  cumulative bigint NOT NULL,
  metadata   text,
  ticked_by  text NOT NULL CHECK (ticked_by IN ('buyer', 'seller')),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (stream_id, seq)
);
