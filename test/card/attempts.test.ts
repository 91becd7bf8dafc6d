/** A wrong try that comes on two ways, by its workflow and directly, is one: it is counted once, and both hear the same refusal. */
import { cardRules, type CardPayment } from '../../domain/card.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { anOpening, directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';
import { newId } from '../../platform/random.ts';

let db: TestDatabase;
let payments: DirectPayments;
const [buyer, merchant] = [anAddress(), anAddress()];
beforeAll(async () => {
  db = await createTestDatabase();
  payments = await directPayments(db.pool, { rules: cardRules });
  await aDeposit(db.pool, buyer, '100');
}, 30_000);
afterEach(async () => expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] }));
afterAll(() => db.close());

async function aCard(): Promise<string> {
  const id = newId('card');
  const terms = { merchant: null, category: null, description: null, lifeMs: 60_000, last4: '4242', check: '' };
  const opening = { ...anOpening({ id, buyer, seller: null }), terms, workflowId: `virtual-card-${id}` };
  await payments.taker.open(cardRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: true });
  return id;
}
const tooMuch = { amount: '1.5', description: 'x' };
const cardNow = async (id: string): Promise<CardPayment> => (await payments.store.read(id))?.payment as CardPayment;

test.each(['one after the other', 'at the same moment'])('one attempt twice, %s', async (how) => {
  const id = await aCard();
  const attempt = { attempt: `attempt-${id}`, messageSent: true };
  const take = () => payments.step(id, 'charge', merchant, tooMuch, attempt);
  const taken = how === 'at the same moment' ? await Promise.all([take(), take()]) : [await take(), await take()];
  for (const one of taken) expect(one)
    .toMatchObject({ kind: 'refused', refusal: { code: 'above_card_limit', message: expect.stringContaining('Wrong try 1 of 5') } });
  expect(await cardNow(id)).toMatchObject({ state: 'active', version: 2, details: { wrongTries: 1 } });
});

test('a wrong try keeps no idempotency key: with the same one the right charge is paid', async () => {
  const id = await aCard();
  const claim = { owner: merchant, key: 'k', requestHash: 'h' };
  expect(await payments.step(id, 'charge', merchant, tooMuch, { claim })).toMatchObject({ kind: 'refused' });
  expect(await payments.step(id, 'charge', merchant, { ...tooMuch, amount: '0.4' }, { claim }))
    .toMatchObject({ kind: 'done', payment: { state: 'used', paidMicros: 400_000n, returnedMicros: 600_000n } });
});
