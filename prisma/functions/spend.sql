-- The one seam for spending: every hold, every reservation on a meter and every payment to somebody else goes through here, whatever it is
-- for. What limits spending (session keys, policies, tenants, credit) and what proves it (receipts) hooks in here, once.
-- Locks everywhere in this rank, each kind in id order: payment, call, meter, idempotency key, hold, account.

-- Sets money aside for a payment, or more of it where its hold is there already; p_ref makes it unique. False: the owner has not enough
-- available, and nothing was moved.
CREATE OR REPLACE FUNCTION spend_begin(p_id text, p_ref text, p_owner text, p_asset text, p_amount bigint, p_bucket text, p_tenant text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM account a WHERE a.owner = p_owner AND a.asset = p_asset AND a.available >= p_amount) THEN RETURN false; END IF;
  IF p_ref = p_id THEN
    PERFORM ledger_hold(p_id, p_owner, p_asset, p_amount, p_bucket, NULL, p_tenant);
  ELSE
    PERFORM ledger_increase_hold(p_id, p_ref, p_amount);
  END IF;
  RETURN true;
END $$;

-- Promises parts of what meters have left to uses that begin now, and counts these for the pace. The caller holds the meters and has seen
-- that there is enough; `CHECK (used + reserved <= capacity)` stands behind it.
CREATE OR REPLACE FUNCTION spend_reserve(p_meters text[], p_prices bigint[], p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE meter m SET reserved = m.reserved + d.price, last_used_at = p_now,
         window_uses = d.uses + CASE WHEN m.window_started_at > p_now - interval '1 minute' THEN m.window_uses ELSE 0 END,
         window_started_at = CASE WHEN m.window_started_at > p_now - interval '1 minute' THEN m.window_started_at ELSE p_now END
    FROM (SELECT u.id, sum(u.price)::bigint AS price, count(*)::integer AS uses FROM unnest(p_meters, p_prices) AS u(id, price)
           GROUP BY u.id) d
   WHERE m.id = d.id;
END $$;

-- Pays out of holds, many at once: entry i moves amounts[i] of hold holds[i], for payments[i], to payees[i], less fees[i] for the platform.
-- refs[i] makes the payment unique. p_topic: the event of each, whose ref is that of the payment; NULL where the caller writes its own.
CREATE OR REPLACE FUNCTION spend_pay(p_holds text[], p_payments text[], p_refs text[], p_payees text[], p_amounts bigint[], p_fees bigint[],
                                     p_fee_owner text, p_topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM ledger_capture(p_holds, p_payments, p_refs, p_payees, p_amounts, p_fees, p_fee_owner);
  IF p_topic IS NOT NULL THEN INSERT INTO outbox (topic, ref) SELECT p_topic, u.id FROM unnest(p_payments) AS u(id); END IF;
END $$;
