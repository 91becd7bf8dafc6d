/** The SQL functions that move money, one by one: what they move, what they refuse, and that twice is once. */
import { auditLedger } from '../../ledger/audit.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
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

const { hold, aHold, capture, release, close, escrowed } = ledgerOn(() => db);

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
