-- What was counted on the meter of a stream, which is a payment of that kind. Append-only: it is why the seller was paid.
CREATE TABLE stream_tick (
  stream_id  text NOT NULL,
  seq        integer NOT NULL CHECK (seq > 0),
  amount     bigint NOT NULL CHECK (amount > 0),
  -- Used of the deposit with this tick.
  cumulative bigint NOT NULL,
  metadata   text,
  ticked_by  text NOT NULL CHECK (ticked_by IN ('buyer', 'seller')),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (stream_id, seq)
);
