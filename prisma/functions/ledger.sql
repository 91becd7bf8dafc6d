-- The movements of money. They know accounts, holds and postings, and nothing of what they are for. All amounts are micros of the asset.
-- Errors a caller should see are raised with ERRCODE 'SURTY' and the error code of domain/errors.ts as message.
-- Locks are taken in the rank that spend.sql names; unfolded fees between holds and accounts. Postings are written after the accounts are
-- locked: for each account the order of their ids is that of their commits. (Fees are the exception, on the side of the platform, whose row
-- they do not touch.)
--
-- The four settings (SET plan_cache_mode ...) that many functions have: they run the same statements thousands of times a second, with
-- arrays of one to 256 rows. Left alone, Postgres plans nearly every statement anew, because a plan for one row looks cheaper than the
-- general one; that planning cost more than the work (a settlement alone: 2.4 ms planned each time, 1.2 ms with the general plan). The
-- general plan must not be a scan, which it would be as long as the tables are empty. CREATE OR REPLACE forgets settings made in any other
-- place, so they stand in the functions themselves.
--
-- Those that a group of requests shares wait two seconds at most for a lock (SET lock_timeout): then its items are done one by one, beside
-- the groups that follow, so that one locked account holds up nobody but those who need it.

CREATE OR REPLACE FUNCTION refuse(code text, detail text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'SURTY', MESSAGE = code, DETAIL = coalesce(detail, '');
END $$;

-- The platform's part of an amount, in basis points of it, rounded down. The whole ten thousands and the rest apart: the product of a large
-- amount and its rate is more than a bigint holds.
CREATE OR REPLACE FUNCTION fee_of(p_amount bigint, p_bps integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT p_amount / 10000 * p_bps + p_amount % 10000 * p_bps / 10000;
$$;

CREATE OR REPLACE FUNCTION ledger_account(p_owner text, p_asset text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_id bigint;
BEGIN
  SELECT id INTO v_id FROM account WHERE owner = p_owner AND asset = p_asset;
  IF v_id IS NULL THEN
    INSERT INTO account (owner, asset) VALUES (p_owner, p_asset) ON CONFLICT (owner, asset) DO NOTHING;
    SELECT id INTO v_id FROM account WHERE owner = p_owner AND asset = p_asset;
  END IF;
  RETURN v_id;
END $$;

-- Credits money that arrived from outside. The transaction hash is the idempotency key. Raises duplicate_deposit.
CREATE OR REPLACE FUNCTION ledger_deposit(p_owner text, p_asset text, p_amount bigint, p_tx_hash text, p_note text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_account bigint := ledger_account(p_owner, p_asset); v_posting bigint;
BEGIN
  UPDATE account SET available = available + p_amount, total_in = total_in + p_amount, updated_at = now() WHERE id = v_account;
  INSERT INTO posting (ref, kind, asset, credit_account, credit_bucket, amount, note)
  VALUES (p_tx_hash, 'deposit', p_asset, v_account, 'available', p_amount, p_note)
  ON CONFLICT (ref, kind) DO NOTHING RETURNING id INTO v_posting;
  IF v_posting IS NULL THEN PERFORM refuse('duplicate_deposit'); END IF;
  INSERT INTO outbox (topic, ref) VALUES ('deposit.credited', p_tx_hash);
  RETURN v_posting;
END $$;

-- Sets money aside for the payment of this id: available → bucket. Raises insufficient_balance. The primary key refuses a second time.
CREATE OR REPLACE FUNCTION ledger_hold(p_id text, p_owner text, p_asset text, p_amount bigint, p_bucket text, p_expires_at timestamptz,
                                       p_tenant text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_account bigint;
BEGIN
  UPDATE account SET available = available - p_amount,
                     pending  = pending  + CASE p_bucket WHEN 'pending'  THEN p_amount ELSE 0 END,
                     escrowed = escrowed + CASE p_bucket WHEN 'escrowed' THEN p_amount ELSE 0 END,
                     updated_at = now()
   WHERE owner = p_owner AND asset = p_asset AND available >= p_amount RETURNING id INTO v_account;
  IF v_account IS NULL THEN PERFORM refuse('insufficient_balance'); END IF;
  INSERT INTO hold (id, account_id, tenant_id, asset, bucket, amount, expires_at)
  VALUES (p_id, v_account, p_tenant, p_asset, p_bucket, p_amount, p_expires_at);
  INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
  VALUES (p_id, 'hold', p_id, p_id, p_asset, v_account, 'available', v_account, p_bucket, p_amount);
END $$;

-- Pays out of holds, many at once; entry i moves amounts[i] of hold holds[i] to payees[i], less fees[i] for the platform, for the payment
-- payments[i]. refs[i] makes it unique. Rows are locked in id order (holds, then accounts), which prevents deadlocks. All or nothing.
CREATE OR REPLACE FUNCTION ledger_capture(p_holds text[], p_payments text[], p_refs text[], p_payees text[], p_amounts bigint[],
                                          p_fees bigint[], p_fee_owner text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_payers bigint[]; v_payee_ids bigint[]; v_buckets text[]; v_assets text[];
BEGIN
  PERFORM 1 FROM hold WHERE id = ANY (p_holds) ORDER BY id FOR NO KEY UPDATE;
  -- Accounts are looked up once; everything below works on arrays of the same order.
  LOOP
    SELECT array_agg(h.account_id ORDER BY x.n), array_agg(b.id ORDER BY x.n), array_agg(h.bucket ORDER BY x.n),
           array_agg(h.asset ORDER BY x.n)
      INTO v_payers, v_payee_ids, v_buckets, v_assets
      FROM unnest(p_holds, p_payees) WITH ORDINALITY AS x(hold_id, payee, n)
      JOIN hold h ON h.id = x.hold_id LEFT JOIN account b ON b.owner = x.payee AND b.asset = h.asset;
    EXIT WHEN array_position(v_payee_ids, NULL) IS NULL;
    INSERT INTO account (owner, asset)
    SELECT DISTINCT x.payee, x.asset FROM unnest(p_payees, v_assets, v_payee_ids) AS x(payee, asset, id) WHERE x.id IS NULL ORDER BY 1, 2
    ON CONFLICT (owner, asset) DO NOTHING;
  END LOOP;
  PERFORM 1 FROM account WHERE id = ANY (v_payers || v_payee_ids) ORDER BY id FOR NO KEY UPDATE;

  UPDATE hold h SET captured = h.captured + x.amount
    FROM (SELECT hold_id, sum(amount)::bigint AS amount FROM unnest(p_holds, p_amounts) AS u(hold_id, amount) GROUP BY hold_id) x
   WHERE h.id = x.hold_id;
  INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
  SELECT ref, 'capture', payment, hold_id, asset, payer, bucket, payee, 'available', amount - fee
    FROM unnest(p_refs, p_payments, p_holds, v_assets, v_payers, v_buckets, v_payee_ids, p_amounts, p_fees)
      AS x(ref, payment, hold_id, asset, payer, bucket, payee, amount, fee);
  UPDATE account a SET available = a.available + d.gained, pending = a.pending - d.pending, escrowed = a.escrowed - d.escrowed,
                       total_in = a.total_in + d.gained, total_out = a.total_out + d.spent, updated_at = now()
    FROM (SELECT account_id, sum(pending)::bigint AS pending, sum(escrowed)::bigint AS escrowed, sum(gained)::bigint AS gained,
                 sum(spent)::bigint AS spent
            FROM (SELECT payer AS account_id, CASE bucket WHEN 'pending' THEN amount ELSE 0 END AS pending,
                         CASE bucket WHEN 'escrowed' THEN amount ELSE 0 END AS escrowed, 0 AS gained, amount AS spent
                    FROM unnest(v_payers, v_buckets, p_amounts) AS x(payer, bucket, amount)
                  UNION ALL SELECT payee, 0, 0, amount - fee, 0 FROM unnest(v_payee_ids, p_amounts, p_fees) AS x(payee, amount, fee)) side
           GROUP BY account_id) d
   WHERE a.id = d.account_id;

  IF 0 < ANY (p_fees) THEN
    PERFORM ledger_account(p_fee_owner, x.asset) FROM (SELECT DISTINCT u.asset FROM unnest(v_assets) AS u(asset) ORDER BY u.asset) x;
    INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
    SELECT x.ref, 'fee', x.payment, x.hold_id, x.asset, x.payer, x.bucket, f.id, 'available', x.fee
      FROM unnest(p_refs, p_payments, p_holds, v_assets, v_payers, v_buckets, p_fees) AS x(ref, payment, hold_id, asset, payer, bucket, fee)
      JOIN account f ON f.owner = p_fee_owner AND f.asset = x.asset WHERE x.fee > 0;
    INSERT INTO unfolded_fee (ref, account_id, amount)
    SELECT x.ref, f.id, x.fee FROM unnest(p_refs, v_assets, p_fees) AS x(ref, asset, fee)
      JOIN account f ON f.owner = p_fee_owner AND f.asset = x.asset WHERE x.fee > 0;
  END IF;
END $$;

-- Gives held money back to its owner, many at once, each for the payment payments[i]; refs[i] makes it unique. Entries of zero are skipped.
CREATE OR REPLACE FUNCTION ledger_release(p_holds text[], p_payments text[], p_refs text[], p_amounts bigint[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM hold WHERE id = ANY (p_holds) ORDER BY id FOR NO KEY UPDATE;
  PERFORM 1 FROM account WHERE id IN (SELECT account_id FROM hold WHERE id = ANY (p_holds)) ORDER BY id FOR NO KEY UPDATE;
  UPDATE hold h SET released = h.released + x.amount
    FROM (SELECT hold_id, sum(amount)::bigint AS amount FROM unnest(p_holds, p_amounts) AS u(hold_id, amount) GROUP BY hold_id) x
   WHERE h.id = x.hold_id AND x.amount > 0;
  INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
  SELECT x.ref, 'release', x.payment, h.id, h.asset, h.account_id, h.bucket, h.account_id, 'available', x.amount
    FROM unnest(p_holds, p_payments, p_refs, p_amounts) AS x(hold_id, payment, ref, amount) JOIN hold h ON h.id = x.hold_id
   WHERE x.amount > 0;
  UPDATE account a SET available = a.available + d.pending + d.escrowed, pending = a.pending - d.pending,
                       escrowed = a.escrowed - d.escrowed, updated_at = now()
    FROM (SELECT h.account_id, sum(CASE h.bucket WHEN 'pending' THEN x.amount ELSE 0 END)::bigint AS pending,
                 sum(CASE h.bucket WHEN 'escrowed' THEN x.amount ELSE 0 END)::bigint AS escrowed
            FROM unnest(p_holds, p_amounts) AS x(hold_id, amount) JOIN hold h ON h.id = x.hold_id GROUP BY h.account_id) d
   WHERE a.id = d.account_id;
END $$;

-- Ends a hold: everything not captured, released or kept for captures under way goes back. Returns what went back now.
CREATE OR REPLACE FUNCTION ledger_close_hold(p_id text, p_keep bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_rest bigint;
BEGIN
  SELECT amount - captured - released - p_keep INTO v_rest FROM hold WHERE id = p_id AND closed_at IS NULL FOR NO KEY UPDATE;
  IF v_rest IS NULL THEN RETURN 0; END IF;
  UPDATE hold SET closed_at = now() WHERE id = p_id;
  PERFORM ledger_release(ARRAY[p_id], ARRAY[p_id], ARRAY[p_id], ARRAY[v_rest]);
  RETURN v_rest;
END $$;

-- Adds posted fees to the platform's accounts, each exactly once. Returns how many were folded.
CREATE OR REPLACE FUNCTION ledger_fold_fees(p_limit integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_refs text[]; v_accounts bigint[]; v_amounts bigint[];
BEGIN
  WITH taken AS (
    DELETE FROM unfolded_fee
     WHERE ref = ANY (ARRAY(SELECT ref FROM unfolded_fee ORDER BY ref LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING ref, account_id, amount
  ) SELECT array_agg(ref), array_agg(account_id), array_agg(amount) INTO v_refs, v_accounts, v_amounts FROM taken;
  -- One account for each asset.
  PERFORM 1 FROM account WHERE id = ANY (v_accounts) ORDER BY id FOR NO KEY UPDATE;
  UPDATE account a SET available = a.available + t.amount, total_in = a.total_in + t.amount, updated_at = now()
    FROM (SELECT account_id, sum(amount)::bigint AS amount
            FROM unnest(v_accounts, v_amounts) AS u(account_id, amount) GROUP BY account_id) t
   WHERE a.id = t.account_id;
  RETURN coalesce(cardinality(v_refs), 0);
END $$;

-- Undoes a posting by another one the other way round, both sides together, so that money is never made. A deposit goes back outside; a
-- capture goes back from the payee's available money to the payer's, and so does the fee that was taken of it, from the platform's, by a
-- posting of its own. Raises entry_not_found, already_reversed, not_reversible, insufficient_balance (the side that must give has spent
-- it), fee_not_covered (the platform has spent the fee).
CREATE OR REPLACE FUNCTION ledger_reverse(p_posting bigint, p_note text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE o posting; f posting; v_new bigint; v_is_folded boolean := false;
BEGIN
  SELECT * INTO o FROM posting WHERE id = p_posting;
  IF o.id IS NULL THEN PERFORM refuse('entry_not_found'); END IF;
  IF o.kind NOT IN ('deposit', 'capture') THEN PERFORM refuse('not_reversible'); END IF;
  IF o.kind = 'capture' THEN SELECT * INTO f FROM posting WHERE ref = o.ref AND kind = 'fee'; END IF;
  IF f.id IS NOT NULL THEN
    DELETE FROM unfolded_fee WHERE ref = f.ref;
    v_is_folded := NOT FOUND;
  END IF;
  PERFORM 1 FROM account WHERE id IN (o.credit_account, o.debit_account, f.credit_account) ORDER BY id FOR NO KEY UPDATE;
  WITH undone AS (
    INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount, note,
                         reverses)
    SELECT 'reversal:' || x.id, 'reversal', x.payment_id, x.hold_id, x.asset, x.credit_account, 'available', x.debit_account,
           CASE WHEN x.debit_account IS NOT NULL THEN 'available' END, x.amount, p_note, x.id
      FROM unnest(ARRAY[o, f]) x WHERE x.id IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING id, reverses
  ) SELECT id INTO v_new FROM undone WHERE reverses = o.id;
  IF v_new IS NULL THEN PERFORM refuse('already_reversed'); END IF;
  UPDATE account SET available = available - o.amount, total_in = total_in - o.amount, updated_at = now()
   WHERE id = o.credit_account AND available >= o.amount;
  IF NOT FOUND THEN PERFORM refuse('insufficient_balance'); END IF;
  -- A fee that was not folded never reached the row of the platform's account.
  IF v_is_folded THEN
    UPDATE account SET available = available - f.amount, total_in = total_in - f.amount, updated_at = now()
     WHERE id = f.credit_account AND available >= f.amount;
    IF NOT FOUND THEN PERFORM refuse('fee_not_covered'); END IF;
  END IF;
  UPDATE account SET available = available + o.amount + coalesce(f.amount, 0), total_out = total_out - o.amount - coalesce(f.amount, 0),
                     updated_at = now() WHERE id = o.debit_account;
  INSERT INTO outbox (topic, ref) SELECT 'posting.reversed', id::text FROM posting WHERE reverses IN (o.id, f.id) ORDER BY id;
  RETURN v_new;
END $$;

-- Adds to a hold what its owner has available: a top-up. p_ref makes it unique. Raises insufficient_balance, already_closed.
CREATE OR REPLACE FUNCTION ledger_increase_hold(p_id text, p_ref text, p_amount bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE h hold;
BEGIN
  SELECT * INTO h FROM hold WHERE id = p_id FOR NO KEY UPDATE;
  IF h.id IS NULL OR h.closed_at IS NOT NULL THEN PERFORM refuse('already_closed'); END IF;
  UPDATE account SET available = available - p_amount,
                     pending  = pending  + CASE h.bucket WHEN 'pending'  THEN p_amount ELSE 0 END,
                     escrowed = escrowed + CASE h.bucket WHEN 'escrowed' THEN p_amount ELSE 0 END,
                     updated_at = now()
   WHERE id = h.account_id AND available >= p_amount;
  IF NOT FOUND THEN PERFORM refuse('insufficient_balance'); END IF;
  UPDATE hold SET amount = amount + p_amount WHERE id = p_id;
  INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, debit_bucket, credit_account, credit_bucket, amount)
  VALUES (p_ref, 'hold', p_id, p_id, h.asset, h.account_id, 'available', h.account_id, h.bucket, p_amount);
END $$;

-- From which posting on all were written at this time or later: a search by halves, since ids grow with time. A posting bears the time at
-- which its transaction began, at most ten minutes before it was written; who needs every one of a moment asks for ten minutes around it.
CREATE OR REPLACE FUNCTION posting_since(p_at timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE v_low bigint := 0; v_high bigint; v_middle bigint; r record;
BEGIN
  SELECT coalesce(max(id), 0) + 1 INTO v_high FROM posting;
  WHILE v_high - v_low > 1 LOOP
    v_middle := v_low + (v_high - v_low) / 2;
    SELECT id, created_at INTO r FROM posting WHERE id >= v_middle ORDER BY id LIMIT 1;
    IF r.created_at >= p_at THEN v_high := v_middle; ELSE v_low := r.id; END IF;
  END LOOP;
  RETURN v_high;
END $$;

-- What the postings p_from to p_to of an account have moved, those that began from p_after on and before p_before. `entries` counts all of
-- them; above p_max on one side not everything was read. A reversal takes back what was counted as income or expense, as ledger_reverse
-- does.
CREATE OR REPLACE FUNCTION ledger_moved(p_account bigint, p_from bigint, p_to bigint, p_after timestamptz,
                                     p_before timestamptz, p_max integer)
RETURNS TABLE (available bigint, pending bigint, escrowed bigint, total_in bigint, total_out bigint, entries bigint)
LANGUAGE sql STABLE AS $$
  WITH side AS (
    (SELECT credit_bucket AS bucket, amount, debit_account IS DISTINCT FROM credit_account AS is_outer, kind, true AS incoming, created_at
       FROM posting WHERE credit_account = p_account AND id BETWEEN p_from AND p_to ORDER BY id LIMIT p_max + 1)
    UNION ALL
    (SELECT debit_bucket, -amount, debit_account IS DISTINCT FROM credit_account, kind, false, created_at
       FROM posting WHERE debit_account = p_account AND id BETWEEN p_from AND p_to ORDER BY id LIMIT p_max + 1)),
  x AS (SELECT bucket, amount, is_outer AND incoming <> (kind = 'reversal') AS is_in, is_outer AND incoming = (kind = 'reversal') AS is_out
          FROM side WHERE created_at >= p_after AND created_at < p_before)
  SELECT coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0)::bigint,
         coalesce(sum(amount) FILTER (WHERE bucket = 'pending'), 0)::bigint,
         coalesce(sum(amount) FILTER (WHERE bucket = 'escrowed'), 0)::bigint, coalesce(sum(amount) FILTER (WHERE is_in), 0)::bigint,
         -coalesce(sum(amount) FILTER (WHERE is_out), 0)::bigint,
         greatest((SELECT count(*) FROM side WHERE incoming), (SELECT count(*) FROM side WHERE NOT incoming)) FROM x;
$$;

-- The balance as it was just before a moment: that of now less what came later, or, where that is too much to read, everything from the
-- beginning. No row for an unknown owner. Raises range_too_large where both are more than p_max postings of one side.
CREATE OR REPLACE FUNCTION ledger_balance_at(p_owner text, p_asset text, p_before timestamptz, p_max integer)
RETURNS TABLE (id bigint, available bigint, pending bigint, escrowed bigint, credit_limit bigint, credit_used bigint, total_in bigint,
               total_out bigint, updated_at timestamptz) LANGUAGE plpgsql STABLE AS $$
DECLARE a account; m record; v_fees bigint; v_slack interval := '10 minutes'; v_to bigint;
BEGIN
  SELECT * INTO a FROM account x WHERE x.owner = p_owner AND x.asset = p_asset;
  IF a.id IS NULL THEN RETURN; END IF;
  v_to := posting_since(p_before + v_slack);
  SELECT * INTO m FROM ledger_moved(a.id, posting_since(p_before - v_slack), 9223372036854775807, p_before, 'infinity', p_max);
  IF m.entries <= p_max THEN
    -- Fees are posted before they are added to the row.
    SELECT coalesce(sum(f.amount), 0) INTO v_fees FROM unfolded_fee f WHERE f.account_id = a.id;
    available := a.available + v_fees - m.available; pending := a.pending - m.pending; escrowed := a.escrowed - m.escrowed;
    total_in := a.total_in + v_fees - m.total_in; total_out := a.total_out - m.total_out;
  ELSE
    SELECT * INTO m FROM ledger_moved(a.id, 0, v_to, '-infinity', p_before, p_max);
    IF m.entries > p_max THEN PERFORM refuse('range_too_large'); END IF;
    available := m.available; pending := m.pending; escrowed := m.escrowed; total_in := m.total_in; total_out := m.total_out;
  END IF;
  id := a.id; credit_limit := a.credit_limit; credit_used := a.credit_used;
  updated_at := greatest(
    (SELECT p.created_at FROM posting p WHERE p.credit_account = a.id AND p.id <= v_to AND p.created_at < p_before
      ORDER BY p.id DESC LIMIT 1),
    (SELECT p.created_at FROM posting p WHERE p.debit_account = a.id AND p.id <= v_to AND p.created_at < p_before
      ORDER BY p.id DESC LIMIT 1));
  RETURN NEXT;
END $$;
