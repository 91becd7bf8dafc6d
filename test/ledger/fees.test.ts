/** Fees, what a reversal gives back of them, and that both stay within the asset of their payment. */
import fc from 'fast-check';
import { AMOUNT_MICROS_MAX } from '../../domain/money.ts';
import { auditLedger } from '../../ledger/audit.ts';
import { anAddress, platformAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { aRef, fails, ledgerOn } from '../support/ledger.ts';
import { moneyOf, usdc } from '../support/market.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
}, 30_000);
afterEach(async () => {
  expect(await auditLedger(db.pool)).toEqual({ ok: true, findings: [] });
});
afterAll(async () => db.close());

const { hold, aHold, capture, close, fold } = ledgerOn(() => db);

describe('fees', () => {
  /** The exact fee, in a language whose integers have no end. */
  const exact = (amount: bigint, bps: number): bigint => (amount * BigInt(bps)) / 10_000n;
  const inSql = async (amounts: readonly bigint[], rates: readonly number[]): Promise<bigint[]> =>
    (await db.pool.query<{ fee: string }>(
      'SELECT fee_of(x.amount, x.bps) AS fee FROM unnest($1::bigint[], $2::integer[]) WITH ORDINALITY AS x(amount, bps, n) ORDER BY x.n',
      [amounts.map(String), rates])).rows.map(({ fee }) => BigInt(fee));

  test('are counted exactly, up to the largest amount and the whole of it', async () => {
    const largest = Array<bigint>(5).fill(AMOUNT_MICROS_MAX);
    const rates = [1, 10, 250, 9_999, 10_000];
    expect(await inSql(largest, rates)).toEqual(rates.map((bps) => exact(AMOUNT_MICROS_MAX, bps)));
    const pair = fc.tuple(fc.bigInt({ min: 1n, max: AMOUNT_MICROS_MAX }), fc.integer({ min: 0, max: 10_000 }));
    await fc.assert(fc.asyncProperty(fc.array(pair, { minLength: 1, maxLength: 200 }), async (pairs) => {
      const [amounts, bps] = [pairs.map(([amount]) => amount), pairs.map(([, rate]) => rate)];
      expect(await inSql(amounts, bps)).toEqual(pairs.map(([amount, rate]) => exact(amount, rate)));
    }), { numRuns: 50 });
  });

  test('are exact for many amounts and rates: both parts add up to the price', async () => {
    const amounts = [1n, 3n, 9_999n, 10_000n, 10_001n, 123_457n, 999_999n];
    const rates = [0, 1, 33, 250, 4_999, 5_000];
    const before = (await moneyOf(db.pool, platformAddress)).available;
    let fees = 0n;
    for (const bps of rates) {
      const { id } = await aHold('2.00');
      const payee = anAddress();
      const entries = amounts.map((amount) => ({ hold: id, payee, amount, fee: (amount * BigInt(bps)) / 10_000n }));
      await capture(...entries);
      const fee = entries.reduce((sum, entry) => sum + entry.fee, 0n);
      expect((await moneyOf(db.pool, payee)).available + fee).toBe(amounts.reduce((sum, amount) => sum + amount, 0n));
      fees += fee;
    }
    // Not yet on the account: that row must never be hot.
    expect((await moneyOf(db.pool, platformAddress)).available).toBe(before);
    expect(await auditLedger(db.pool)).toEqual({ ok: true, findings: [] });
    await Promise.all([1, 2, 3].map(() => db.pool.query('SELECT ledger_fold_fees(7)')));
    expect(await auditLedger(db.pool)).toEqual({ ok: true, findings: [] });
    await Promise.all([1, 2, 3].map(() => db.pool.query('SELECT ledger_fold_fees(10000)')));
    expect((await moneyOf(db.pool, platformAddress)).available).toBe(before + fees);
    expect((await db.pool.query('SELECT 1 FROM unfolded_fee')).rows).toEqual([]);
  });
});

test('every posting of a hold names its payment and its hold; a deposit has neither', async () => {
  const owner = anAddress();
  const { id } = await aHold('1.00', { owner });
  await capture({ hold: id, payment: 'call_1', ref: `${id}:1`, payee: anAddress(), amount: 20n, fee: 1n });
  await db.pool.query('SELECT ledger_release(ARRAY[$1], ARRAY[$2], ARRAY[$3], ARRAY[5::bigint])', [id, 'call_2', `${id}:2`]);
  await db.pool.query('SELECT ledger_reverse(id, $2) FROM posting WHERE ref = $1 AND kind = $3', [`${id}:1`, 'wrong', 'capture']);
  await db.pool.query('SELECT ledger_increase_hold($1, $2, 3)', [id, `${id}:topup:1`]);
  await close(id);
  const { rows } = await db.pool.query<{ kind: string; payment_id: string | null; hold_id: string | null }>(
    `SELECT kind, payment_id, hold_id FROM posting WHERE hold_id = $1 OR (kind = 'deposit' AND credit_account = (SELECT id FROM account
      WHERE owner = $2)) ORDER BY id`, [id, owner]);
  expect(rows.map((row) => [row.kind, row.payment_id, row.hold_id])).toEqual([
    ['deposit', null, null], ['hold', id, id], ['capture', 'call_1', id], ['fee', 'call_1', id], ['release', 'call_2', id],
    ['reversal', 'call_1', id], ['reversal', 'call_1', id], ['hold', id, id], ['release', id, id],
  ]);
});

describe('a reversal', () => {
  const postingOf = async (ref: string, kind: string): Promise<string> =>
    (await db.pool.query<{ id: string }>('SELECT id FROM posting WHERE ref = $1 AND kind = $2', [ref, kind])).rows[0]?.id ?? '';
  const reverse = (posting: string) => db.pool.query('SELECT ledger_reverse($1, $2)', [posting, 'wrong']);

  test('of a payment moves the money back on both sides, once', async () => {
    const { id, owner } = await aHold('1.00');
    const payee = anAddress();
    const ref = aRef();
    await capture({ hold: id, ref, payee, amount: usdc('0.30') });
    await reverse(await postingOf(ref, 'capture'));
    expect([await moneyOf(db.pool, owner), await moneyOf(db.pool, payee)])
      .toEqual([{ available: usdc('0.30'), pending: usdc('0.70') }, { available: 0n, pending: 0n }]);
    expect(await fails(reverse(await postingOf(ref, 'capture')))).toBe('already_reversed');
  });

  const platform = async (): Promise<bigint> => (await moneyOf(db.pool, platformAddress)).available;
  /** A payment of 0.30, of which 0.03 are the platform's. */
  async function aPaymentWithFee(): Promise<{ owner: string; payee: string; posting: string }> {
    const { id, owner } = await aHold('1.00');
    const [payee, ref] = [anAddress(), aRef()];
    await capture({ hold: id, ref, payee, amount: usdc('0.30'), fee: usdc('0.03') });
    return { owner, payee, posting: await postingOf(ref, 'capture') };
  }

  test.each([['waits to be folded', false], ['is on the account of the platform', true]])(
      'gives the buyer the fee back as well when it %s', async (_, isFolded) => {
    await fold();
    const before = await platform();
    const { owner, payee, posting } = await aPaymentWithFee();
    if (isFolded) await fold();
    await reverse(posting);
    expect([(await moneyOf(db.pool, owner)).available, (await moneyOf(db.pool, payee)).available]).toEqual([usdc('0.30'), 0n]);
    expect(await auditLedger(db.pool)).toEqual({ ok: true, findings: [] });
    await fold();
    expect(await platform()).toBe(before);
    expect(await fails(reverse(posting))).toBe('already_reversed');
    const { rows } = await db.pool.query('SELECT amount FROM posting r WHERE r.reverses >= $1 ORDER BY id', [posting]);
    expect(rows).toEqual([{ amount: '270000' }, { amount: '30000' }]);
  });

  test('is refused when the platform has spent the fee, and changes nothing', async () => {
    const { owner, payee, posting } = await aPaymentWithFee();
    await fold();
    const spent = aRef();
    await hold(spent, platformAddress, await platform());
    expect(await fails(reverse(posting))).toBe('fee_not_covered');
    expect([(await moneyOf(db.pool, owner)).available, (await moneyOf(db.pool, payee)).available]).toEqual([0n, usdc('0.27')]);
    await close(spent);
    await reverse(posting);
    expect((await moneyOf(db.pool, owner)).available).toBe(usdc('0.30'));
  });

  test('of many payments while fees are folded waits for nobody in a ring', async () => {
    const payments = await Promise.all(Array.from({ length: 12 }, aPaymentWithFee));
    const outcomes = await Promise.all(payments.flatMap(({ posting }) => [fails(reverse(posting)), fails(fold())]));
    expect(outcomes).toEqual(Array(24).fill('did not fail'));
    for (const { owner } of payments) expect((await moneyOf(db.pool, owner)).available).toBe(usdc('0.30'));
  });

  test('is refused when the payee has spent the money, and changes nothing', async () => {
    const { id } = await aHold('1.00');
    const payee = anAddress();
    const ref = aRef();
    await capture({ hold: id, ref, payee, amount: usdc('0.30') });
    await hold(aRef(), payee, usdc('0.000001'));
    const before = await moneyOf(db.pool, payee);
    expect(await fails(reverse(await postingOf(ref, 'capture')))).toBe('insufficient_balance');
    expect(await moneyOf(db.pool, payee)).toEqual(before);
  });

  test('of a deposit sends it back outside', async () => {
    const owner = anAddress();
    const { rows: [row] } = await db.pool.query<{ id: string }>(`SELECT ledger_deposit($1, 'USDC', 500, $2, NULL) AS id`, [owner, aRef()]);
    await reverse(row?.id ?? '');
    expect(await moneyOf(db.pool, owner)).toEqual({ available: 0n, pending: 0n });
  });

  test('of a hold, a reversal or nothing is refused', async () => {
    const { id } = await aHold('1.00');
    expect(await fails(reverse(await postingOf(id, 'hold')))).toBe('not_reversible');
    expect(await fails(reverse('999999999'))).toBe('entry_not_found');
  });
});

test('the fee of a payment in another asset goes to an account of that asset, and comes back from it', async () => {
  const euros = ledgerOn(() => db, 'EURC');
  const platform = async (asset: string): Promise<bigint> => (await moneyOf(db.pool, platformAddress, asset)).available;
  await fold();
  const dollars = await platform('USDC');
  const [{ id, owner }, other, payee, ref] = [await euros.aHold('1.00'), await aHold('1.00'), anAddress(), aRef()];
  await capture({ hold: id, ref, payee, amount: usdc('0.50'), fee: usdc('0.05') },
    { hold: other.id, payee, amount: usdc('0.20'), fee: usdc('0.02') });
  expect(await auditLedger(db.pool)).toEqual({ ok: true, findings: [] });
  await fold();
  expect([await platform('EURC'), await platform('USDC')]).toEqual([usdc('0.05'), dollars + usdc('0.02')]);
  expect([(await moneyOf(db.pool, payee, 'EURC')).available, (await moneyOf(db.pool, payee)).available])
    .toEqual([usdc('0.45'), usdc('0.18')]);
  await db.pool.query(`SELECT ledger_reverse(id, 'wrong') FROM posting WHERE ref = $1 AND kind = 'capture'`, [ref]);
  expect([await platform('EURC'), await platform('USDC')]).toEqual([0n, dollars + usdc('0.02')]);
  await euros.close(id);
  expect(await moneyOf(db.pool, owner, 'EURC')).toEqual({ available: usdc('1'), pending: 0n });
  expect(await moneyOf(db.pool, owner)).toEqual({ available: 0n, pending: 0n });
});
