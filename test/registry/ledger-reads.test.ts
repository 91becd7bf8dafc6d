import { setTimeout as sleep } from 'node:timers/promises';
import { reverse } from '../../ledger/admin.ts';
import { readPayments } from '../../ledger/payments.ts';
import { entryType, postingOf, readBalance, readBalanceAt, readEntries, toEntry, type PostingRow } from '../../ledger/reads.ts';
import { replayAccounts } from '../../ledger/replay.ts';
import { aDeposit, anAddress, aPayment, platformAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());

describe('A side of a posting has one name', () => {
  test.each<[string, 'payer' | 'payee' | 'self', string | null, string]>([
    ['deposit', 'payee', null, 'deposit'],
    ['withdrawal', 'payer', 'pending', 'withdrawal'],
    ['hold', 'self', 'pending', 'hold'],
    ['hold', 'self', 'escrowed', 'escrow_lock'],
    ['release', 'self', 'pending', 'release'],
    ['release', 'self', 'escrowed', 'escrow_refund'],
    ['capture', 'payer', 'pending', 'spend'],
    ['capture', 'payee', 'pending', 'settle_hold_in'],
    ['capture', 'payer', 'escrowed', 'escrow_release'],
    ['capture', 'payee', 'escrowed', 'escrow_receive'],
    ['fee', 'payer', 'pending', 'spend'],
    ['fee', 'payer', 'escrowed', 'escrow_release'],
    ['fee', 'payee', 'pending', 'platform_fee'],
    ['something-new', 'payer', 'available', 'transfer_out'],
    ['something-new', 'payee', 'available', 'transfer_in'],
  ])('%s seen as %s from %s is %s', (kind, side, bucket, type) => {
    expect(entryType(kind, side, bucket)).toBe(type);
  });

  const reversal: PostingRow = {
    id: '9', ref: 'reversal:7', kind: 'reversal', asset: 'USDC', debit_account: '2', debit_bucket: 'available', credit_account: '1',
    credit_bucket: 'available', amount: '5', note: 'mistake',
    created_at: new Date(0), reverses: '7', reversed_by: null, reversed_at: null, original_kind: 'capture', original_bucket: 'pending',
  };
  test.each([['the payee gives back', '2', 'reversal_settle_hold_in'], ['the payer gets back', '1', 'reversal_spend']])(
      'a reversal, as %s, names what it reverses', (_, account, type) => {
    expect(toEntry(reversal, account)).toMatchObject({ id: 'entry_9', type, amount: 5n, reversalOf: 'entry_7', description: 'mistake' });
  });
  test('a reversed deposit is named as such', () => {
    const row = { ...reversal, credit_account: null, credit_bucket: null, original_kind: 'deposit', original_bucket: null };
    expect(toEntry(row, '2')).toMatchObject({ type: 'reversal_deposit' });
  });
});

test.each([['entry_17', 17n], ['17', 17n], ['entry_0', null], ['entry_', null], ['', null], ['entry_1x', null], ['-1', null],
  [`entry_${'9'.repeat(19)}`, null], ['٣', null]])(
  'the entry id %p is posting %p', (text, posting) => {
    expect(postingOf(text)).toBe(posting);
  });

test('the ledger page shows buyer, seller and platform their own side, and income is never a deposit', async () => {
  const [buyer, seller] = [anAddress(), anAddress()];
  await aDeposit(db.pool, buyer, '1');
  await aPayment(db.pool, { from: buyer, to: seller, amount: '0.30', fee: '0.03' });
  const typesOf = async (owner: string): Promise<unknown[]> => (await readEntries(db.pool, owner, { limit: 50, before: null }))
    .entries.map(({ type, amount }) => [type, amount]);
  expect(await typesOf(buyer))
    .toEqual([['spend', 30_000n], ['spend', 270_000n], ['hold', 300_000n], ['deposit', 300_000n], ['deposit', 1_000_000n]]);
  expect(await typesOf(seller)).toEqual([['settle_hold_in', 270_000n]]);
  expect(await typesOf(platformAddress)).toEqual([['platform_fee', 30_000n]]);
});

test('pages follow one another without gap or repetition', async () => {
  const owner = anAddress();
  for (let n = 0; n < 7; n += 1) await aDeposit(db.pool, owner, `${n + 1}`);
  const seen: bigint[] = [];
  let before: bigint | null = null;
  for (;;) {
    const { entries, more } = await readEntries(db.pool, owner, { limit: 3, before });
    seen.push(...entries.map((entry) => entry.amount));
    if (!more) break;
    before = postingOf(entries.at(-1)?.id ?? '');
  }
  expect(seen).toEqual([7n, 6n, 5n, 4n, 3n, 2n, 1n].map((n) => n * 1_000_000n));
});

test('an owner without an account has zeros and no entries', async () => {
  const owner = anAddress();
  expect(await readBalance(db.pool, owner)).toMatchObject({ available: 0n, totalIn: 0n, updatedAt: null });
  expect(await readBalanceAt(db.pool, owner, new Date())).toMatchObject({ available: 0n, updatedAt: null });
  expect(await readEntries(db.pool, owner, { limit: 10, before: null })).toEqual({ entries: [], more: false });
});

test('the balance at a moment is what it was then, and now is what the account says', async () => {
  const [buyer, seller] = [anAddress(), anAddress()];
  const moments: [Date, string][] = [];
  const note = async (available: string): Promise<void> => {
    await sleep(5);
    moments.push([new Date(), available]);
    await sleep(5);
  };
  await note('0');
  await aDeposit(db.pool, buyer, '2');
  await note('2000000');
  await db.pool.query(`SELECT ledger_hold('h', $1, 'USDC', 500000, 'pending', NULL)`, [buyer]);
  await note('1500000');
  await db.pool.query(`SELECT ledger_capture(ARRAY['h'], ARRAY['h'], ARRAY['r'], ARRAY[$1], ARRAY[200000::bigint], ARRAY[0::bigint], $2)`,
    [seller, platformAddress]);
  await db.pool.query(`SELECT ledger_close_hold('h', 0)`);
  await note('1800000');
  const { rows } = await db.pool.query(`SELECT id FROM posting WHERE ref = 'r'`);
  await reverse(db.pool, BigInt(rows[0].id), 'wrong');
  await note('2000000');
  for (const [at, available] of moments) expect((await readBalanceAt(db.pool, buyer, at)).available.toString()).toBe(available);
  for (const owner of [buyer, seller]) {
    const now = await readBalance(db.pool, owner);
    expect(await readBalanceAt(db.pool, owner, new Date(Date.now() + 60_000))).toMatchObject({
      available: now.available, pending: now.pending, escrowed: now.escrowed, totalIn: now.totalIn, totalOut: now.totalOut,
    });
  }
  const { entries } = await readEntries(db.pool, seller, { limit: 10, before: null });
  expect(entries).toMatchObject([{ type: 'reversal_settle_hold_in', reversalOf: entries[1]?.id },
    { type: 'settle_hold_in', reversedBy: entries[0]?.id, reversedAt: expect.any(Date) }]);
});

test('payments carry the whole price, and a stranger sees only those with itself', async () => {
  const [ada, bob, eve] = [anAddress(), anAddress(), anAddress()];
  await aPayment(db.pool, { from: ada, to: bob, amount: '0.30', fee: '0.03' });
  await aPayment(db.pool, { from: eve, to: ada, amount: '0.20' });
  expect(await readPayments(db.pool, ada, { counterparty: null, limit: 10 }))
    .toMatchObject({ payments: [{ from: eve, to: ada, amount: 200_000n }, { from: ada, to: bob, amount: 300_000n }], next: null });
  expect(await readPayments(db.pool, ada, { counterparty: eve, limit: 10 })).toMatchObject({ payments: [{ from: eve, to: ada }] });
  expect(await readPayments(db.pool, ada, { counterparty: anAddress(), limit: 10 })).toEqual({ payments: [], next: null });
});

test('the replay agrees with every account, and names the one that was tampered with', async () => {
  expect(await replayAccounts(db.pool, { onlyMismatches: true, limit: 100 })).toEqual([]);
  const owner = anAddress();
  await aDeposit(db.pool, owner, '1');
  await db.pool.query('UPDATE account SET available = available + 1 WHERE owner = $1', [owner]);
  expect(await replayAccounts(db.pool, { onlyMismatches: true, limit: 100 }))
    .toMatchObject([{ owner, match: false, replayAvailable: 1_000_000n, actualAvailable: 1_000_001n }]);
});
