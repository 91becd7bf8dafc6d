/** The audit of escrows finds what it says it finds: for every rule a row is broken by hand, and exactly that must be told. */
import { createEscrowStore } from '../../activities/escrow/store.ts';
import type { EscrowAct } from '../../domain/escrow.ts';
import { parseAmount } from '../../domain/money.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
/** One of each: waiting, disputed with evidence, paid, split, given back. */
const ids: Record<string, string> = {};
const [buyer, seller] = [anAddress(), anAddress()];

beforeAll(async () => {
  db = await createTestDatabase();
  const store = createEscrowStore({ pool: db.pool, metrics: createMetrics({ runtime: false }) });
  await aDeposit(db.pool, buyer, '10');
  const make = async (name: string, ...acts: (EscrowAct & { by?: string })[]): Promise<void> => {
    const id = newId('escrow');
    ids[name] = id;
    const terms = { seller, arbiter: null, amountMicros: parseAmount('1'), serviceId: null, deliveryMs: 60_000, reviewMs: 60_000, rulingMs: 60_000, buyerMayCancel: false };
    await store.create({ id, buyer, tenantId: null, workflowId: `escrow-${id}`, idempotency: null, terms });
    for (const { by = buyer, ...act } of acts) await store.step(id, by === 'platform' ? { address: null, as: 'platform' } : { address: by, as: null }, act as EscrowAct, null);
  };
  const dispute = { step: 'dispute', reason: 'no' } as const;
  await make('waiting');
  await make('disputed', { step: 'deliver', by: seller }, dispute, { step: 'evidence', content: 'see', by: seller });
  await make('paid', { step: 'confirm' });
  await make('split', dispute, { step: 'resolve', ruling: 'partial', amountMicros: parseAmount('0.3'), reason: null, by: 'platform' });
  await make('returned', { step: 'decline', by: seller });
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['escrow'] });

test('escrows that were kept by the rules have no finding', async () => {
  expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

test.each<[string, string, string, RegExp, string]>([
  ['an escrow that holds less than it says', `UPDATE escrow SET amount = amount + 1 WHERE id = :waiting`, 'I4', /held once/, 'waiting'],
  ['an escrow held by somebody else', `UPDATE escrow SET buyer = 'x' WHERE id = :waiting`, 'I4', /held once/, 'waiting'],
  ['an escrow that never held anything', `UPDATE posting SET ref = 'x' WHERE ref = :waiting`, 'I4', /held once/, 'waiting'],
  ['a payment for an escrow that waits', `INSERT INTO posting (ref, kind, asset, debit_account, debit_bucket, amount) VALUES (:waiting, 'capture', 'USDC', 1, 'escrowed', 1)`, 'I4', /only when something/, 'waiting'],
  ['a release that paid nobody', `UPDATE posting SET ref = 'x' WHERE ref = :paid AND kind = 'capture'`, 'I4', /only when something/, 'paid'],
  ['a refund that gave nothing back', `UPDATE posting SET ref = 'x' WHERE ref = :returned AND kind = 'release'`, 'I4', /only when something/, 'returned'],
  ['a split in other parts than were moved', `UPDATE escrow SET released = released + 1, refunded = refunded - 1 WHERE id = :split`, 'I5', /reached its seller/, 'split'],
  ['a payment to somebody else', `UPDATE escrow SET seller = 'x' WHERE id = :paid`, 'I5', /reached its seller/, 'paid'],
  ['a hold that is still there after the end', `UPDATE hold SET closed_at = NULL WHERE id = :paid`, 'I6', /keeps all of it/, 'paid'],
  ['a hold that lost something before the end', `UPDATE hold SET captured = 1 WHERE id = :disputed`, 'I6', /keeps all of it/, 'disputed'],
  ['no hold at all', `DELETE FROM hold WHERE id = :waiting`, 'I6', /keeps all of it/, 'waiting'],
  ['an end that lost a part', `UPDATE escrow SET refunded = refunded - 1 WHERE id = :split`, 'I11', /released or refunded at its end/, 'split'],
  ['a part that went before the end', `UPDATE escrow SET released = 1 WHERE id = :disputed`, 'I11', /released or refunded at its end/, 'disputed'],
  ['a word for the end that does not fit', `UPDATE escrow SET status = 'refunded' WHERE id = :paid`, 'I11', /released or refunded at its end/, 'paid'],
  ['a change without an event', `DELETE FROM outbox WHERE ref = :disputed AND topic = 'escrow.delivered'`, 'I13', /each change of an escrow/, 'disputed'],
  ['an event that was told twice', `INSERT INTO outbox (topic, ref) VALUES ('escrow.released', :paid)`, 'I13', /each change of an escrow/, 'paid'],
  ['a state that no event tells of', `UPDATE outbox SET topic = 'escrow.refunded' WHERE ref = :paid AND topic = 'escrow.released'`, 'I13', /each change of an escrow/, 'paid'],
  ['evidence that nobody was told of', `DELETE FROM outbox WHERE ref = :disputed AND topic = 'escrow.evidence'`, 'I13', /piece of evidence/, 'disputed'],
  ['evidence that has gone', `DELETE FROM escrow_evidence WHERE escrow_id = :split`, 'I13', /piece of evidence/, 'split'],
])('%s is found', async (_what, damage, invariant, sentence, name) => {
  const found = (await findingsAfter(damage)).filter((finding) => finding.invariant === invariant && sentence.test(finding.detail));
  expect(found).toHaveLength(1);
  expect(found[0]?.detail).toContain(ids[name]);
});

test('an escrow that waits past its deadline is found once it is overdue', async () => {
  const old = `UPDATE escrow SET deadline = now() - interval '2 minutes' WHERE id = :disputed`;
  expect(await findingsAfter(old, 60_000)).toEqual([{ invariant: 'I12', count: 1, detail: expect.stringContaining(ids['disputed'] ?? '') }]);
  expect(await findingsAfter(old, 180_000)).toEqual([]);
});
