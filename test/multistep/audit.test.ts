/** The audit finds broken multistep escrows: for every rule a row is broken by hand, and exactly that must be told. */
import { multistepRules as auditRules } from '../../ledger/audit/multistep.ts';
import { multistepRules } from '../../domain/multistep.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { aMultistepOpening } from '../support/multistep-rules.ts';
import { directPayments, noAttempt } from '../support/payments.ts';

let db: TestDatabase;
/** Each has two steps, of which the first was paid in `open` and `aborted`. */
const ids = { open: '', completed: '', aborted: '' };

beforeAll(async () => {
  db = await createTestDatabase();
  const payments = await directPayments(db.pool, { rules: multistepRules });
  const [buyer, one, two] = [anAddress(), anAddress(), anAddress()];
  await aDeposit(db.pool, buyer, '10');
  const must = async (id: string, step: string, input?: object): Promise<void> => {
    const taken = await payments.step(id, step, buyer, input);
    if (taken.kind !== 'done') throw new Error(`${step} was refused: ${taken.refusal.message}`);
  };
  for (const state of ['open', 'completed', 'aborted'] as const) {
    const opening = aMultistepOpening(buyer, [{ payee: one, amountMicros: '1000000' }, { payee: two, amountMicros: '2000000' }]);
    const { id } = opening;
    ids[state] = id;
    await payments.taker.open(multistepRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
    await must(id, 'confirm-step', { stepIndex: 0 });
    if (state === 'completed') await must(id, 'confirm-step', { stepIndex: 1, sellerAddr: two, amount: '2' });
    if (state === 'aborted') await must(id, 'refund');
  }
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['payment', 'payment_part'] });

test('escrows that were kept by the rules have no finding', async () => {
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

const step = (of: string, n: number): string => `payment_id = :${of} AND part_index = ${n}`;
const event = (of: string, version: number): string => `payment_id = :${of} AND version = ${version}`;
const whole = /those that are done to what it paid/;
const ends = /completed exactly when all of its parts are paid/;
const cases: readonly (readonly [what: string, damage: string, invariant: string, sentence: RegExp])[] = [
  ['a step that was paid without being confirmed', `UPDATE payment_part SET paid_at = NULL WHERE ${step('open', 0)}`, 'I4',
    /has one capture/],
  ['a step that was confirmed without being paid', `UPDATE payment_part SET paid_at = now() WHERE ${step('aborted', 1)}`, 'I4',
    /has one capture/],
  ['a step that was paid another amount', `UPDATE payment_part SET amount = amount + 1 WHERE ${step('completed', 0)}`, 'I5',
    /planned for it/],
  ['a step that was paid to somebody else', `UPDATE payment_part SET payee = '0x' WHERE ${step('completed', 0)}`, 'I5',
    /reached its payees/],
  ['a payment of no step', `UPDATE posting SET ref = ref || '9' WHERE ref LIKE :completed || '_part_0'`, 'I5',
    /reached its payees/],
  ['a payment of another escrow\'s step',
    `UPDATE posting SET (ref, payment_id) = (replace(ref, :completed, :aborted), :aborted) WHERE ref LIKE :completed || '_part_1'`,
    'I4', /postings for exactly what its events say/],
  ['an escrow without its hold', `DELETE FROM hold WHERE id = :open`, 'I6', /neither paid nor returned/],
  ['an escrow that locked another amount', `UPDATE hold SET amount = amount + 1 WHERE id = :completed`, 'I6', /neither paid nor returned/],
  ['a hold that was captured too often', `UPDATE hold SET captured = captured + 1 WHERE id = :open`, 'I6', /neither paid nor returned/],
  ['a hold in another bucket', `UPDATE hold SET bucket = 'pending' WHERE id = :open`, 'I6', /waits in escrow/],
  ['an escrow that ended and kept its hold', `UPDATE hold SET closed_at = NULL WHERE id = :aborted`, 'I6', /neither paid nor returned/],
  ['an escrow that miscounts its steps', `UPDATE payment SET parts = 3 WHERE id = :open`, 'I11', whole],
  ['an escrow that has forgotten its steps', `UPDATE payment SET parts = 0 WHERE id = :open`, 'I11', whole],
  ['an escrow that lost a step', `DELETE FROM payment_part WHERE ${step('open', 1)}`, 'I11', whole],
  ['steps that do not add up', `UPDATE payment_part SET amount = amount + 1 WHERE ${step('open', 1)}`, 'I11', whole],
  ['steps with a gap', `UPDATE payment_part SET part_index = 7 WHERE ${step('open', 1)}`, 'I11', whole],
  ['an escrow that is completed with a step to do', `UPDATE payment SET state = 'completed' WHERE id = :open`, 'I11', ends],
  ['an escrow that is open with nothing to do', `UPDATE payment SET state = 'open' WHERE id = :completed`, 'I11', ends],
  ['an escrow that was aborted and gave nothing back', `UPDATE payment SET state = 'aborted' WHERE id = :completed`, 'I11', ends],
  ['an escrow that gave back too little', `UPDATE payment SET returned = returned - 1 WHERE id = :aborted`, 'I11',
    /paid or returned at its end/],
  ['a refund without its posting',
    `UPDATE posting SET (ref, payment_id) = ('elsewhere', 'elsewhere') WHERE ref = :aborted AND kind = 'release'`, 'I4',
    /postings for exactly what its events say/],
  ['a creation without its event', `DELETE FROM outbox WHERE ref = :open AND topic = 'multistep.open'`, 'I13', /one event/],
  ['a step without its event', `DELETE FROM payment_event WHERE ${event('completed', 3)}`, 'I13',
    /each version of a payment has one event/],
  ['a step that the outside was not told of', `DELETE FROM outbox WHERE ref = :open AND topic = 'multistep.confirm-step'`, 'I13',
    /each version of a payment has one event/],
  ['one step told twice and another never', `UPDATE payment_event e SET payee = f.payee FROM payment_event f
     WHERE e.payment_id = :completed AND e.version = 3 AND f.payment_id = :completed AND f.version = 2`, 'I13', /with its payee/],
  ['a step told with another amount', `UPDATE payment_event SET paid = paid + 1 WHERE ${event('open', 2)}`, 'I13', /with its payee/],
  ['a step that no event tells of', `UPDATE payment_event SET paid = 0, payee = NULL WHERE ${event('open', 2)}`, 'I13', /with its payee/],
  ['a completion without its event', `UPDATE payment_event SET state = 'open' WHERE ${event('completed', 3)}`, 'I13',
    /the last of which tells its state/],
  ['an end that was told twice',
    `INSERT INTO outbox (topic, ref, data) VALUES ('multistep.refund', :aborted, '{"version": 3}')`, 'I13',
    /each version of a payment has one event/],
  ['a version that does not fit', `UPDATE payment SET version = 9 WHERE id = :open`, 'I13', /each version of a payment has one event/],
];

test.each(cases)('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('every rule has been broken by one of these', () => {
  const unbroken = auditRules.rules.filter((rule) => !cases.some(([, , invariant, sentence]) => rule.invariant === invariant
    && sentence.test(rule.sentence)));
  expect(unbroken).toEqual([]);
});

test('an open escrow long past its deadline is found', async () => {
  const late = `UPDATE payment SET deadline = now() - interval '2 minutes' WHERE deadline IS NOT NULL`;
  const [finding, ...others] = await findingsAfter(late, 60_000);
  expect(others).toEqual([]);
  expect([finding?.invariant, finding?.detail]).toEqual(['I12', expect.stringContaining(ids.open)]);
  expect(finding?.detail).not.toContain(ids.aborted);
  expect(await findingsAfter(late, 180_000)).toEqual([]);
});
