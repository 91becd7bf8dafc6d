/** An attempt comes to the same end however often and on whichever way it comes, and a client's key is good for one request. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { Attempt, Taken } from '../../activities/payment/take.ts';
import { escrowRules } from '../../domain/escrow.ts';
import type { Opening, Payment } from '../../domain/payment.ts';
import { auditBooks } from '../../ledger/audit.ts';
import type { Applied, ApplyItem } from '../../ledger/payment-rows.ts';
import { anOpeningItem, rowOf as rowIn, whatOf } from '../support/applied.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadlineIn, purse } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { anOpening, directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';

let db: TestDatabase;
let payments: DirectPayments;
/** Another process on the same database. */
let other: DirectPayments;
let otherPool: pg.Pool;
let buyer: string;
let seller: string;
beforeAll(async () => {
  db = await createTestDatabase(20);
  otherPool = new pg.Pool({ connectionString: db.url, max: 10 });
  [payments, other] = [await directPayments(db.pool), await directPayments(otherPool)];
}, 30_000);
beforeEach(async () => {
  [buyer, seller] = [anAddress(), anAddress()];
  await aDeposit(db.pool, buyer, '10');
});
afterAll(async () => {
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
  await otherPool.end();
  await db.close();
});

const rowOf = (id: string): Promise<Payment> => rowIn(payments.store, id);
const anEscrow = async (): Promise<string> => (await payments.escrow({ buyer, seller })).id;
const apply = (...items: ApplyItem[]): Promise<Applied[]> => Promise.all(items.map((item) => payments.store.apply(item)));
const outcomes = (applied: readonly Applied[]): string[] => applied.map(({ outcome }) => outcome);
const rowsOf = async (table: string, where: string, value: string): Promise<number> => {
  const { rows } = await db.pool.query<{ count: string }>(`SELECT count(*) FROM ${table} WHERE ${where} = $1`, [value]);
  return Number(rows[0]?.count);
};

describe('an attempt', () => {
  const sent = (attempt = randomUUID()): Partial<Attempt> => ({ attempt, messageSent: true });

  test('that comes twice is done once, and both hear the same', async () => {
    const [id, attempt] = [await anEscrow(), sent()];
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, attempt))).toBe('delivered');
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, attempt))).toBe('again delivered');
    // Even after the end: whoever comes late with it hears that it was done.
    await payments.step(id, 'confirm', buyer);
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, attempt))).toBe('again released');
    expect((await rowOf(id)).version).toBe(3);
  });

  test('that comes at the same moment by both ways is done once', async () => {
    const [id, attempt] = [await anEscrow(), sent()];
    const taken = await Promise.all(Array.from({ length: 6 }, () => payments.step(id, 'confirm', buyer, {}, attempt)));
    expect(taken.map(whatOf).sort()).toEqual([...Array<string>(5).fill('again released'), 'released']);
    expect((await purse(db.pool, { address: seller })).available).toBe(usdc('1'));
  });

  test('that was refused stays refused, even when it would be allowed by now', async () => {
    const [id, attempt] = [await anEscrow(), sent()];
    const first = await payments.step(id, 'evidence', buyer, { content: 'x' }, attempt);
    await payments.step(id, 'dispute', buyer, { reason: 'no' });
    const second = await payments.step(id, 'evidence', buyer, { content: 'x' }, attempt);
    expect([first, second]).toMatchObject(Array(2).fill({ kind: 'refused', refusal: { code: 'invalid_state',
      message: expect.stringContaining('pending') } }));
    expect(whatOf(await payments.step(id, 'evidence', buyer, { content: 'x' }, sent()))).toBe('disputed');
  });

  test('that was refused before any message was sent leaves nothing behind', async () => {
    const [id, attempt] = [await anEscrow(), randomUUID()];
    expect(whatOf(await payments.step(id, 'evidence', buyer, { content: 'x' }, { attempt }))).toBe('invalid_state');
    expect(await rowsOf('payment_refusal', 'attempt', attempt)).toBe(0);
  });

  test('that came when the time was up is refused to whoever comes second too, though the clock\'s step bears its name', async () => {
    const [id, attempt] = [await anEscrow(), sent()];
    await deadlineIn(db.pool, id, -1);
    const taken = [await payments.step(id, 'confirm', buyer, {}, attempt), await payments.step(id, 'confirm', buyer, {}, attempt)];
    expect(taken).toMatchObject(Array(2).fill({ kind: 'refused', refusal: { message: expect.stringContaining('delivery_expired') },
      payment: { state: 'refunded', version: 2 } }));
  });

  test('to open a payment is done once, by whichever way it comes', async () => {
    const opening = anOpening({ buyer, seller });
    const open = { ...noAttempt, opening, askedAtMs: Date.now(), attempt: randomUUID(), messageSent: true };
    const taken = await Promise.all([true, false, true].map((workflowStarted) => payments.taker.open(escrowRules,
      { ...open, workflowStarted })));
    expect(taken.map(whatOf).sort()).toEqual(['again pending', 'again pending', 'pending']);
    expect(await purse(db.pool, { address: buyer })).toEqual({ available: usdc('9'), escrowed: usdc('1') });
  });

  test('after its time is refused, and nothing happens', async () => {
    const id = await anEscrow();
    const tooLate = { code: 'unavailable', message: expect.stringContaining('too late') };
    expect(await payments.step(id, 'confirm', buyer, {}, { ...sent(), notAfterMs: Date.now() - 5_000 })).toMatchObject({ kind: 'refused',
      refusal: tooLate, payment: { version: 1 } });
    expect(whatOf(await payments.step(id, 'confirm', buyer, {}, { ...sent(), notAfterMs: Date.now() + 60_000 }))).toBe('released');
    const opening = anOpening({ buyer, seller });
    const opened = await payments.taker.open(escrowRules, { ...noAttempt, ...sent(), opening, askedAtMs: Date.now(),
      notAfterMs: Date.now() - 5_000, workflowStarted: true });
    expect(opened).toMatchObject({ kind: 'refused', refusal: tooLate, payment: null });
  });

  test('that was done in time is not refused for coming again after its time', async () => {
    const [id, attempt] = [await anEscrow(), sent()];
    await payments.step(id, 'deliver', seller, {}, { ...attempt, notAfterMs: Date.now() + 60_000 });
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, { ...attempt, notAfterMs: Date.now() - 5_000 }))).toBe('again delivered');
  });
});

describe('an idempotency key', () => {
  const claimOf = (owner: string, key: string, requestHash = 'hash') => ({ claim: { owner, key, requestHash } });
  const openWith = (more: Partial<Attempt>, opening: Partial<Opening> = {}) =>
    payments.taker.open(escrowRules, { ...noAttempt, ...more, opening: anOpening({ buyer, seller, ...opening }), askedAtMs: Date.now(),
      workflowStarted: false });

  test('gives whoever comes again the payment of the first', async () => {
    const first = await openWith(claimOf(buyer, 'make'));
    const second = await openWith(claimOf(buyer, 'make'));
    expect([whatOf(first), whatOf(second)]).toEqual(['pending', 'replayed pending']);
    expect(second.payment?.id).toBe(first.payment?.id);
    expect((await purse(db.pool, { address: buyer })).escrowed).toBe(usdc('1'));
  });

  test('with another request is a mismatch, and belongs to its owner alone', async () => {
    const id = await anEscrow();
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, claimOf(seller, 'k')))).toBe('delivered');
    expect(whatOf(await payments.step(id, 'decline', seller, {}, claimOf(seller, 'k', 'other')))).toBe('idempotency_mismatch');
    expect(whatOf(await payments.step(id, 'deliver', seller, {}, claimOf(seller, 'k')))).toBe('replayed delivered');
    expect(whatOf(await payments.step(id, 'confirm', buyer, {}, claimOf(buyer, 'k', 'other')))).toBe('released');
  });

  test.each<[what: string, refused: (id: string) => Promise<Taken>]>([
    ['for the wrong role', (id) => payments.step(id, 'deliver', buyer, {}, claimOf(buyer, 'again'))],
    ['in the wrong state', (id) => payments.step(id, 'evidence', buyer, { content: 'x' }, claimOf(buyer, 'again'))],
    ['too late', (id) => payments.step(id, 'confirm', buyer, {}, { ...claimOf(buyer, 'again'), notAfterMs: Date.now() - 5_000 })],
    ['for want of money', () => openWith(claimOf(buyer, 'again'), { amountMicros: usdc('99') as Opening['amountMicros'] })],
    ['because the time was up', async (id) => {
      const late = await anEscrow();
      await deadlineIn(db.pool, late, -1);
      expect(late).not.toBe(id);
      return payments.step(late, 'confirm', buyer, {}, claimOf(buyer, 'again'));
    }],
  ])('of a request that is refused %s stays free', async (_what, refused) => {
    const id = await anEscrow();
    expect((await refused(id)).kind).toBe('refused');
    expect(await rowsOf('idempotency', 'agent_address', buyer)).toBe(0);
    expect(whatOf(await payments.step(id, 'confirm', buyer, {}, claimOf(buyer, 'again', 'other')))).toBe('released');
  });

  test('sent twice in the same moment opens one payment', async () => {
    const twins = await Promise.all(Array.from({ length: 5 }, () => openWith({ ...claimOf(buyer, 'make'), attempt: randomUUID() })));
    expect(twins.map(whatOf).sort()).toEqual(['pending', ...Array<string>(4).fill('replayed pending')]);
    expect(new Set(twins.map(({ payment }) => payment?.id)).size).toBe(1);
    expect((await purse(db.pool, { address: buyer })).escrowed).toBe(usdc('1'));
  });

  test('sent twice in the same moment to two processes opens one payment', async () => {
    for (let round = 0; round < 10; round += 1) {
      const claim = claimOf(buyer, `round-${round}`);
      const open = (at: DirectPayments) => at.taker.open(escrowRules, { ...noAttempt, ...claim, opening: anOpening({ buyer, seller }),
        askedAtMs: Date.now(), workflowStarted: false });
      const twins = await Promise.all([open(payments), open(other)]);
      expect(twins.map(whatOf).sort()).toEqual(['pending', 'replayed pending']);
    }
    expect((await purse(db.pool, { address: buyer })).escrowed).toBe(usdc('10'));
  });

  test('of twins in one group of which the first is refused is taken by the second', async () => {
    // In the order of their ids, which is that of their work: the first wants too much.
    const [poor, modest] = ['esc_1', 'esc_2'].map((beginning) =>
      anOpening({ buyer, seller, id: `${beginning}${randomUUID()}` })) as [Opening, Opening];
    const { claim } = claimOf(buyer, 'twins');
    const greedy = { ...poor, amountMicros: usdc('11') as Opening['amountMicros'] };
    const [first, second] = await apply(anOpeningItem(greedy, { claim }), anOpeningItem(modest, { claim }));
    expect([first?.outcome, first?.refusal?.code, second?.outcome]).toEqual(['refused', 'insufficient_balance', 'conflict']);
    // Decided again, it finds the key free.
    expect(outcomes(await apply(anOpeningItem(modest, { claim })))).toEqual(['done']);
  });
});
