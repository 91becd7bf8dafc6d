/** The SQL functions that move money, one by one: what they move, what they refuse, and that twice is once. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { AMOUNT_MICROS_MAX } from '../../domain/money.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { aDeposit, anAddress, platformAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { moneyOf, usdc } from '../support/market.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
}, 30_000);
afterEach(async () => {
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
});
afterAll(async () => db.close());

const aRef = (): string => `ref_${randomBytes(6).toString('hex')}`;

async function fails(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'did not fail', (error: Error) => error.message);
}

/** A buyer with money, some of it held. @returns the hold. */
async function aHold(amount = '1.00',
    { owner = anAddress(), bucket = 'pending', funds = amount }: { owner?: string; bucket?: string;
    funds?: string } = {}): Promise<{ id: string; owner: string }> {
  const id = aRef();
  await aDeposit(db.pool, owner, funds);
  await hold(id, owner, usdc(amount), bucket);
  return { id, owner };
}

const hold = (id: string, owner: string, amount: bigint, bucket = 'pending') =>
  db.pool.query(`SELECT ledger_hold($1, $2, 'USDC', $3, $4, NULL)`, [id, owner, amount.toString(), bucket]);
interface Capture { readonly hold: string; readonly payment?: string; readonly ref?: string; readonly payee: string; readonly amount: bigint;
  readonly fee?: bigint }
const capture = (...entries: readonly Capture[]) =>
  db.pool.query('SELECT ledger_capture($1, $2, $3, $4, $5, $6, $7)', [
    entries.map((entry) => entry.hold), entries.map((entry) => entry.payment ?? entry.hold), entries.map((entry) => entry.ref ?? aRef()),
    entries.map((entry) => entry.payee), entries.map((entry) => entry.amount.toString()),
    entries.map((entry) => (entry.fee ?? 0n).toString()), platformAddress,
  ]);
const release = (id: string, ref: string, amount: bigint) =>
  db.pool.query('SELECT ledger_release(ARRAY[$1], ARRAY[$1], ARRAY[$2], ARRAY[$3::bigint])', [id, ref, amount.toString()]);
const close = async (id: string, keep = 0n): Promise<bigint> =>
  BigInt((await db.pool.query<{ rest: string }>('SELECT ledger_close_hold($1, $2) AS rest', [id, keep.toString()])).rows[0]?.rest ?? -1);
const escrowed = async (owner: string): Promise<bigint> =>
  BigInt((await db.pool.query<{ escrowed: string }>('SELECT escrowed FROM account WHERE owner = $1', [owner])).rows[0]?.escrowed ?? 0);

describe('a hold', () => {
  test.each([['0.999999', true], ['1.00', true], ['1.000001', false]])('of %s out of 1.00: %p', async (amount, possible) => {
    const owner = anAddress();
    await aDeposit(db.pool, owner, '1.00');
    const outcome = await fails(hold(aRef(), owner, usdc(amount)));
    expect(outcome).toBe(possible ? 'did not fail' : 'insufficient_balance');
    expect(await moneyOf(db.pool, owner)).toEqual(possible ? { available: usdc('1.00') - usdc(amount), pending: usdc(amount) }
      : { available: usdc('1.00'), pending: 0n });
  });

  test('of an owner whom nobody knows is refused', async () => {
    expect(await fails(hold(aRef(), anAddress(), 1n))).toBe('insufficient_balance');
  });

  test('twice with one id moves money once', async () => {
    const { id, owner } = await aHold('0.40', { funds: '1.00' });
    expect(await fails(hold(id, owner, usdc('0.40')))).toMatch(/duplicate key/);
    expect(await moneyOf(db.pool, owner)).toEqual({ available: usdc('0.60'), pending: usdc('0.40') });
  });

  test('in escrow stays apart from what is pending', async () => {
    const { owner } = await aHold('0.40', { bucket: 'escrowed' });
    expect([await moneyOf(db.pool, owner), await escrowed(owner)]).toEqual([{ available: 0n, pending: 0n }, usdc('0.40')]);
  });

  test('cannot be made twice at once of the same money', async () => {
    const owner = anAddress();
    await aDeposit(db.pool, owner, '1.00');
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => fails(hold(aRef(), owner, usdc('0.30')))));
    expect(outcomes.filter((outcome) => outcome === 'did not fail')).toHaveLength(3);
    expect(outcomes.filter((outcome) => outcome === 'insufficient_balance')).toHaveLength(17);
  });
});

describe('a capture', () => {
  test.each([['pending'], ['escrowed']])('from %s money reaches the payee', async (bucket) => {
    const { id, owner } = await aHold('1.00', { bucket });
    const payee = anAddress();
    await capture({ hold: id, payee, amount: usdc('0.30') });
    expect((await moneyOf(db.pool, payee)).available).toBe(usdc('0.30'));
    expect((await moneyOf(db.pool, owner)).pending + (await escrowed(owner))).toBe(usdc('0.70'));
  });

  test('of more than is held is refused, alone and in parts', async () => {
    const { id, owner } = await aHold('1.00');
    const payee = anAddress();
    expect(await fails(capture({ hold: id, payee, amount: usdc('1.000001') }))).toMatch(/check constraint/);
    expect(await fails(capture({ hold: id, payee, amount: usdc('0.60') }, { hold: id, payee, amount: usdc('0.60') })))
      .toMatch(/check constraint/);
    expect([await moneyOf(db.pool, owner), await moneyOf(db.pool, payee)])
      .toEqual([{ available: 0n, pending: usdc('1.00') }, { available: 0n, pending: 0n }]);
  });

  test('twice with one reference pays once, also when both come at once', async () => {
    const { id } = await aHold('1.00');
    const payee = anAddress();
    const ref = aRef();
    const outcomes = await Promise.all([1, 2, 3].map(() => fails(capture({ hold: id, ref, payee, amount: usdc('0.20') }))));
    expect(outcomes.filter((outcome) => outcome === 'did not fail')).toHaveLength(1);
    expect((await moneyOf(db.pool, payee)).available).toBe(usdc('0.20'));
  });

  test('of several holds for several payees is all or nothing', async () => {
    const [one, two] = [await aHold('1.00'), await aHold('1.00')];
    const [a, b] = [anAddress(), anAddress()];
    await capture({ hold: one.id, payee: a, amount: 1n }, { hold: two.id, payee: b, amount: 2n }, { hold: one.id, payee: b, amount: 3n });
    expect([(await moneyOf(db.pool, a)).available, (await moneyOf(db.pool, b)).available]).toEqual([1n, 5n]);
    await fails(capture({ hold: one.id, payee: a, amount: 1n }, { hold: two.id, payee: b, amount: usdc('2.00') }));
    expect([(await moneyOf(db.pool, a)).available, (await moneyOf(db.pool, b)).available]).toEqual([1n, 5n]);
  });

  test('to oneself keeps the books', async () => {
    const { id, owner } = await aHold('1.00');
    await capture({ hold: id, payee: owner, amount: usdc('0.25') });
    expect(await moneyOf(db.pool, owner)).toEqual({ available: usdc('0.25'), pending: usdc('0.75') });
  });

  test('of fifty at once for one hot payee deadlocks nobody and loses nothing', async () => {
    const holds = await Promise.all(Array.from({ length: 10 }, () => aHold('1.00')));
    const payee = anAddress();
    const outcomes = await Promise.all(Array.from({ length: 50 }, (_, n) => {
      const [one, two] = [holds[n % 10]?.id ?? '', holds[(n * 7 + 3) % 10]?.id ?? ''];
      return fails(capture({ hold: one, payee, amount: 100n }, { hold: two, payee, amount: 100n }));
    }));
    expect(outcomes).toEqual(Array(50).fill('did not fail'));
    expect((await moneyOf(db.pool, payee)).available).toBe(10_000n);
  });
});

describe('a release', () => {
  test('gives back what is left, never more, and once for one reference', async () => {
    const { id, owner } = await aHold('1.00');
    await capture({ hold: id, payee: anAddress(), amount: usdc('0.30') });
    expect(await fails(release(id, aRef(), usdc('0.700001')))).toMatch(/check constraint/);
    const ref = aRef();
    await release(id, ref, usdc('0.20'));
    expect(await fails(release(id, ref, usdc('0.20')))).toMatch(/duplicate key/);
    expect(await moneyOf(db.pool, owner)).toEqual({ available: usdc('0.20'), pending: usdc('0.50') });
  });

  test('of zero leaves no trace', async () => {
    const { id } = await aHold('1.00');
    await release(id, id, 0n);
    expect((await db.pool.query(`SELECT 1 FROM posting WHERE ref = $1 AND kind = 'release'`, [id])).rows).toEqual([]);
  });
});

describe('closing a hold', () => {
  test.each([['0.00', '0.00', '1.00'], ['0.30', '0.00', '0.70'], ['0.30', '0.50', '0.20'], ['1.00', '0.00', '0.00']])(
      'after paying %s and keeping %s gives back %s, once', async (paid, keep, back) => {
    const { id, owner } = await aHold('1.00');
    if (usdc(paid) > 0n) await capture({ hold: id, payee: anAddress(), amount: usdc(paid) });
    expect(await close(id, usdc(keep))).toBe(usdc(back));
    expect(await close(id, usdc(keep))).toBe(0n);
    expect(await moneyOf(db.pool, owner)).toEqual({ available: usdc(back), pending: usdc(keep) });
  });

  test('that nobody made gives back nothing', async () => {
    expect(await close('no-such-hold')).toBe(0n);
  });
});

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
    expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
    await Promise.all([1, 2, 3].map(() => db.pool.query('SELECT ledger_fold_fees(7)')));
    expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
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
  const fold = () => db.pool.query('SELECT ledger_fold_fees(100000)');
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
    expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
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

test('a posting, once written, can be neither changed nor removed', async () => {
  const { id } = await aHold('1.00');
  expect(await fails(db.pool.query('UPDATE posting SET amount = 2 WHERE ref = $1', [id]))).toMatch(/once written, stays/);
  expect(await fails(db.pool.query('DELETE FROM posting WHERE ref = $1', [id]))).toMatch(/once written, stays/);
});

test('a deposit with a known transaction is refused', async () => {
  const owner = anAddress();
  const ref = aRef();
  const put = () => fails(db.pool.query(`SELECT ledger_deposit($1, 'USDC', 500, $2, NULL)`, [owner, ref]));
  expect((await Promise.all([put(), put(), put()])).sort()).toEqual(['did not fail', 'duplicate_deposit', 'duplicate_deposit']);
  expect((await moneyOf(db.pool, owner)).available).toBe(500n);
});
