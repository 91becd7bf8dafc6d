/** The audit of payments finds what it says it finds: for every rule a row is broken by hand, and exactly that must be told. */
import { paymentRules } from '../../ledger/audit/payment.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { directPayments } from '../support/payments.ts';

let db: TestDatabase;
/** One of each: waiting, disputed with evidence, paid, split, given back. */
const ids: Record<string, string> = {};
const [buyer, seller] = [anAddress(), anAddress()];

type Step = readonly [step: string, by: string, input?: unknown];

beforeAll(async () => {
  db = await createTestDatabase();
  const payments = await directPayments(db.pool);
  await aDeposit(db.pool, buyer, '10');
  const make = async (name: string, ...steps: Step[]): Promise<void> => {
    const { id } = await payments.escrow({ buyer, seller });
    ids[name] = id;
    for (const [step, by, input] of steps) {
      const taken = await payments.step(id, step, by === 'platform' ? { address: null, as: 'platform' } : by, input);
      if (taken.kind !== 'done') throw new Error(`${name}: ${step} was refused: ${taken.refusal.message}`);
    }
  };
  const dispute: Step = ['dispute', buyer, { reason: 'no' }];
  await make('waiting');
  await make('disputed', ['deliver', seller], dispute, ['evidence', seller, { content: 'see' }]);
  await make('paid', ['confirm', buyer]);
  await make('split', dispute, ['resolve', 'platform', { resolution: 'partial', releaseAmount: '0.3' }]);
  await make('returned', ['decline', seller]);
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['payment'] });

test('payments that were kept by the rules have no finding', async () => {
  expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

const moved = /postings for exactly what its events say/;
const [kept, explained] = [/every hold belongs to a payment/, /every posting belongs to a payment/];
const reached = /reached its payees/;
const keeps = /keeps what was neither paid nor returned/;
const whole = /paid or returned at its end/;
const told = /each version of a payment has one event/;
const toWorld = `INSERT INTO posting (ref, kind, asset, debit_account, debit_bucket, amount)`;

const cases: readonly (readonly [what: string, damage: string, invariant: string, sentence: RegExp, name: string])[] = [
  ['a payment that holds less than it says', `UPDATE payment SET held = held + 1 WHERE id = :waiting`, 'I4', moved, 'waiting'],
  ['a payment that never held anything', `UPDATE posting SET (ref, payment_id) = ('x', 'x') WHERE ref = :waiting`, 'I4', moved, 'waiting'],
  ['a capture of one that waits', `${toWorld} VALUES (:waiting, 'capture', 'USDC', 1, 'escrowed', 1)`, 'I4', moved, 'waiting'],
  ['a release that no event tells of', `${toWorld} VALUES (:waiting, 'release', 'USDC', 1, 'escrowed', 1)`, 'I4', moved, 'waiting'],
  ['an end that paid nobody',
    `UPDATE posting SET (ref, payment_id) = ('x', 'x') WHERE ref = :paid AND kind = 'capture'`, 'I4', moved, 'paid'],
  ['a return that gave nothing back',
    `UPDATE posting SET (ref, payment_id) = ('x', 'x') WHERE ref = :returned AND kind = 'release'`, 'I4', moved, 'returned'],
  ['a split in other parts than were moved', `UPDATE payment SET paid = paid + 1, returned = returned - 1 WHERE id = :split`, 'I4', moved,
    'split'],
  ['events that add up to something else', `UPDATE payment_event SET paid = paid - 1 WHERE payment_id = :paid AND version = 2`, 'I4',
    moved, 'paid'],
  ['a payment without any event', `DELETE FROM payment_event WHERE payment_id = :waiting`, 'I4', moved, 'waiting'],
  ['money that is held for no payment', `DELETE FROM payment WHERE id = :waiting`, 'I16', kept, 'waiting'],
  ['postings of no payment', `DELETE FROM payment WHERE id = :paid; DELETE FROM hold WHERE id = :paid`, 'I15', explained, 'paid'],
  ['a payment to somebody else', `UPDATE payment SET seller = 'x' WHERE id = :paid`, 'I5', reached, 'paid'],
  ['a payment whose payee nobody knows', `UPDATE payment SET seller = NULL WHERE id = :split`, 'I5', reached, 'split'],
  ['money of somebody else', `UPDATE payment SET buyer = 'x' WHERE id = :waiting`, 'I5', reached, 'waiting'],
  ['money that came back to somebody else', `UPDATE payment SET buyer = 'x' WHERE id = :returned`, 'I5', reached, 'returned'],
  ['money of another kind', `UPDATE payment SET asset = 'EURC' WHERE id = :waiting`, 'I5', reached, 'waiting'],
  ['a hold that is still there after the end', `UPDATE hold SET closed_at = NULL WHERE id = :paid`, 'I6', keeps, 'paid'],
  ['a hold that was closed before the end', `UPDATE hold SET closed_at = now() WHERE id = :waiting`, 'I6', keeps, 'waiting'],
  ['a hold that lost something before the end', `UPDATE hold SET captured = 1 WHERE id = :disputed`, 'I6', keeps, 'disputed'],
  ['a hold that gave back too much', `UPDATE hold SET captured = captured - 1, released = released + 1 WHERE id = :split`, 'I6', keeps,
    'split'],
  ['no hold at all', `DELETE FROM hold WHERE id = :waiting`, 'I6', keeps, 'waiting'],
  ['an end that lost a part', `UPDATE payment SET returned = returned - 1 WHERE id = :split`, 'I11', whole, 'split'],
  ['more moved than was held', `UPDATE payment SET paid = held + 1 WHERE id = :disputed`, 'I11', whole, 'disputed'],
  ['a step without an event', `DELETE FROM payment_event WHERE payment_id = :disputed AND step = 'deliver'`, 'I13', told, 'disputed'],
  ['evidence that has gone', `DELETE FROM payment_event WHERE payment_id = :disputed AND step = 'evidence'`, 'I13', told, 'disputed'],
  ['a state that no event tells of', `UPDATE payment_event SET state = 'refunded' WHERE payment_id = :paid AND version = 2`, 'I13', told,
    'paid'],
  ['a word for the end that does not fit', `UPDATE payment SET state = 'refunded' WHERE id = :paid`, 'I13', told, 'paid'],
  ['a version too many', `UPDATE payment SET version = version + 1 WHERE id = :waiting`, 'I13', told, 'waiting'],
  ['a step that the outside was not told of', `DELETE FROM outbox WHERE ref = :disputed AND topic = 'escrow.deliver'`, 'I13', told,
    'disputed'],
  ['a step that the outside was told of twice',
    `INSERT INTO outbox (topic, ref, data) VALUES ('escrow.confirm', :paid, '{"version": 3}')`, 'I13', told, 'paid'],
];

test.each(cases)('%s is found', async (_what, damage, invariant, sentence, name) => {
  const found = (await findingsAfter(damage)).filter((finding) => finding.invariant === invariant && sentence.test(finding.detail));
  expect(found).toHaveLength(1);
  expect(found[0]?.detail).toContain(ids[name]);
});

test('every rule has been broken by one of these', () => {
  const unbroken = paymentRules.rules.filter((rule) => !cases.some(([, , invariant, sentence]) => rule.invariant === invariant
    && sentence.test(rule.sentence)));
  expect(unbroken).toEqual([]);
});

test('a payment that waits past its deadline is found once it is overdue', async () => {
  const old = `UPDATE payment SET deadline = now() - interval '2 minutes' WHERE id = :disputed`;
  expect(await findingsAfter(old, 60_000)).toEqual([{ invariant: 'I12', count: 1, counts: 'stuckEscrows',
    detail: expect.stringContaining(ids['disputed'] ?? '') }]);
  expect(await findingsAfter(old, 180_000)).toEqual([]);
});

test.each<[what: string, damage: string]>([
  ['more held than nothing', 'UPDATE payment SET held = 0 WHERE id = $1'],
  ['an end in which everything went somewhere',
    `UPDATE payment SET state = 'released', deadline = NULL, ended_at = now(), resolution = 'x' WHERE id = $1`],
  ['no end without a time and a reason', `UPDATE payment SET state = 'refunded', deadline = NULL, returned = held WHERE id = $1`],
  ['no end in a state that is none',
    `UPDATE payment SET deadline = NULL, returned = held, ended_at = now(), resolution = 'x' WHERE id = $1`],
  ['no deadline in a state that is an end', `UPDATE payment SET state = 'refunded' WHERE id = $1`],
  ['a state that its kind has', `UPDATE payment SET state = 'lost' WHERE id = $1`],
  ['two parties', 'UPDATE payment SET seller = buyer WHERE id = $1'],
  ['an arbiter who is no party', 'UPDATE payment SET arbiter = seller WHERE id = $1'],
  ['never more out than in', 'UPDATE payment SET paid = held, returned = 1 WHERE id = $1'],
  ['short terms', `UPDATE payment SET terms = jsonb_build_object('x', repeat('x', 4100)) WHERE id = $1`],
])('the table itself demands %s', async (_what, damage) => {
  await expect(db.pool.query(damage, [ids['waiting']])).rejects.toMatchObject({ code: expect.stringMatching(/^235(14|03)$/) });
});
