/** The audit finds what it says it finds: for every rule a row is broken by hand, and exactly that must be told. */
import { auditBooks } from '../../ledger/audit.ts';
import { anAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, aGivenUp, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
/** A settled and a released call, an open one in an active session, a fee that waits, and a key. */
const ids = { session: '', settled: '', released: '', open: '' };

beforeAll(async () => {
  db = await createTestDatabase();
  const store = aStore(db.pool);
  const session = await anOpenSession(db.pool, { maxTotal: '5.00' });
  const [settled, released, open] =
    [1, 2, 3].map((n) => aNewCall(session, [aCandidate(anAddress())], { feeBps: 250, idempotency: { key: `key-${n}`, requestHash: 'h' } }));
  if (settled === undefined || released === undefined || open === undefined) throw new Error('Three calls were made.');
  for (const call of [settled, released, open]) await store.accept(call);
  await store.settle(aDelivery(settled.id));
  await store.release(aGivenUp(released.id));
  Object.assign(ids, { session: session.id, settled: settled.id, released: released.id, open: open.id });
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['account', 'meter', 'payment', 'posting'] });

test('books that were kept by the rules have no finding', async () => {
  expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

test.each<[string, string, string, RegExp, string]>([
  ['a hold of no payment',
    `INSERT INTO hold (id, account_id, asset, bucket, amount) SELECT 'nobody', id, 'USDC', 'pending', 1 FROM account LIMIT 1`,
    'I16', /every hold belongs/, 'nobody'],
  ['a hold that stayed open after its session',
    `UPDATE payment SET state = 'closed', deadline = NULL, ended_at = now(), resolution = 'x', returned = held WHERE id = :session`,
    'I16', /every open one/, 'gw_'],
  ['a session without a hold', `DELETE FROM hold WHERE id = :session`, 'I6', /on which calls draw keeps exactly/, 'gw_'],
  ['a posting of no payment', `UPDATE posting SET payment_id = 'nobody' WHERE ref = :settled AND kind = 'capture'`, 'I15',
    /every posting belongs/, 'capture call_'],
  ['a posting that names none', `UPDATE posting SET payment_id = NULL, hold_id = NULL WHERE ref = :settled AND kind = 'capture'`, 'I15',
    /every posting belongs/, 'capture call_'],
  ['a payment for a call that was never settled', `UPDATE posting SET (ref, payment_id) = (:open, :open) WHERE ref = :settled`, 'I15',
    /every posting belongs/, 'capture call_'],
  ['a payment out of the hold of somebody else',
    `UPDATE posting SET debit_account = credit_account WHERE ref = :settled AND kind = 'capture'`,
    'I15', /every posting belongs/, 'capture call_'],
  ['a fee without its capture', `DELETE FROM posting WHERE ref = :settled AND kind = 'capture'`, 'I15',
    /every fee has the capture/, 'call_'],
  ['a payment that was taken back without its fee',
    `INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, credit_account, amount, reverses)
    SELECT 'r', 'reversal', payment_id, hold_id, asset, credit_account, debit_account, amount, id
      FROM posting WHERE ref = :settled AND kind = 'capture'`,
    'I15', /taken back with its fee/, 'call_'],
  ['a reversal of another amount',
    `INSERT INTO posting (ref, kind, payment_id, hold_id, asset, debit_account, credit_account, amount, reverses)
    SELECT 'r', 'reversal', payment_id, hold_id, asset, credit_account, debit_account, amount + 1, id
      FROM posting WHERE ref = :settled AND kind = 'fee'`,
    'I15', /very opposite/, 'reversal r'],
  ['a hold whose postings say another amount', `UPDATE posting SET amount = amount + 1 WHERE ref = :session AND kind = 'hold'`, 'I6',
    /what its postings say/, 'gw_'],
  ['money that changed its asset on the way', `UPDATE posting SET asset = 'EURC' WHERE ref = :settled AND kind = 'fee'`,
    'I2', /own asset/, 'fee'],
])('%s is found', async (_what, damage, invariant, sentence, name) => {
  const found = (await findingsAfter(damage)).filter((finding) => finding.invariant === invariant && sentence.test(finding.detail));
  expect(found).toHaveLength(1);
  expect(found[0]?.detail).toContain(name);
});

const payer = `owner = (SELECT owner FROM meter WHERE id = :session)`;
test.each<[string, string, string, RegExp]>([
  ['money from nowhere', `UPDATE account SET available = available + 1, total_in = total_in + 1 WHERE ${payer}`, 'I1', /everything owned/],
  ['a fee that was lost before it was folded', `DELETE FROM unfolded_fee`, 'I1', /everything owned/],
  ['money moved without a posting',
    `UPDATE account SET available = available + 1 WHERE ${payer};
     UPDATE account SET available = available - 1 WHERE owner = (SELECT seller FROM gateway_call WHERE id = :settled)`,
    'I2', /each account equals its postings/],
  ['a posting that was removed', `DELETE FROM posting WHERE kind = 'hold'`, 'I2', /each account equals its postings/],
  ['totals that do not fit', `UPDATE account SET total_out = total_out + 1 WHERE ${payer}`, 'I2', /what it took in less/],
  ['a debt', `UPDATE account SET available = -1 WHERE ${payer}`, 'I3', /negative/],
  ['a settled call without payment', `UPDATE posting SET ref = 'elsewhere' WHERE ref = :settled AND kind = 'capture'`, 'I4',
    /has one capture/],
  ['a payment for a call that was given back', `UPDATE posting SET ref = :released WHERE ref = :settled AND kind = 'capture'`, 'I4',
    /has one capture/],
  ['a price that is not what was paid', `UPDATE gateway_call SET price = price + 1 WHERE id = :settled`, 'I5', /add up to its price/],
  ['a fee that is not what was taken', `UPDATE gateway_call SET fee = fee + 1 WHERE id = :settled`, 'I5', /add up to its price/],
  ['a payment that reached somebody else', `UPDATE gateway_call SET seller = buyer WHERE id = :settled`, 'I5', /reach its seller/],
  ['held money without a hold', `DELETE FROM hold WHERE id = :session`, 'I6', /what is left of the holds/],
  ['a hold that kept too much', `UPDATE hold SET released = released + 1 WHERE id = :session`, 'I6', /keeps exactly/],
  ['a session that ended without giving back',
    `UPDATE meter SET open = false WHERE id = :session;
     UPDATE payment SET state = 'closed', deadline = NULL, ended_at = now(), resolution = 'x', returned = held WHERE id = :session`,
    'I6', /keeps exactly/],
  ['a payment for an error answer', `UPDATE gateway_call SET http_status = 500 WHERE id = :settled`, 'I7', /2xx/],
  ['a payment for no answer', `UPDATE gateway_call SET http_status = NULL WHERE id = :settled`, 'I7', /2xx/],
  ['two calls with one key', `UPDATE gateway_call SET idempotency_key = 'key-1' WHERE id = :open`, 'I8', /share an idempotency key/],
  ['a session that forgot what it spent', `UPDATE meter SET used = used - 1 WHERE id = :session`, 'I9', /what its calls say/],
  ['a session that forgot what it promised', `UPDATE meter SET reserved = 0 WHERE id = :session`, 'I9', /what its calls say/],
  ['a session that miscounted', `UPDATE meter SET uses = 7 WHERE id = :session`, 'I9', /what its calls say/],
  ['a session beyond its budget', `UPDATE meter SET capacity = 1 WHERE id = :session`, 'I9', /within its budget/],
  ['an event that was never written', `DELETE FROM outbox WHERE ref = :released`, 'I13', /one event/],
  ['an event that was written twice', `INSERT INTO outbox (topic, ref) VALUES ('call.settled', :settled)`, 'I13', /one event/],
  ['a deposit without its event', `DELETE FROM outbox WHERE topic = 'deposit.credited'`, 'I13', /one event/],
])('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('a call that stays open, and a session past its end, are found once they are overdue', async () => {
  const old = `UPDATE gateway_call SET accepted_at = now() - interval '2 minutes' WHERE id = :open;
    UPDATE payment SET deadline = now() - interval '2 minutes' WHERE id = :session`;
  const [finding, ...others] = await findingsAfter(old, 60_000);
  expect(others).toEqual([]);
  expect(finding?.invariant).toBe('I12');
  expect(finding?.detail).toContain(ids.open);
  expect(finding?.detail).toContain(ids.session);
  expect(await findingsAfter(old, 180_000)).toEqual([]);
  expect(await findingsAfter(old)).toEqual([]);
});

test('a finding names at most five rows and says how many there are', async () => {
  const store = aStore(db.pool);
  const session = await anOpenSession(db.pool, { maxTotal: '5.00' });
  await Promise.all(Array.from({ length: 8 }, async () => {
    const call = aNewCall(session, [aCandidate(anAddress())]);
    await store.accept(call);
    await store.settle(aDelivery(call.id));
  }));
  const [finding] = (await findingsAfter(`UPDATE gateway_call SET http_status = 500 WHERE state = 'settled'`))
    .filter(({ invariant }) => invariant === 'I7');
  expect(finding?.detail.split(';')).toHaveLength(5);
});
