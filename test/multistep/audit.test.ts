/** The audit finds broken multistep escrows: for every rule a row is broken by hand, and exactly that must be told. */
import { createMultistepStore } from '../../activities/multistep/store.ts';
import { parseAmount } from '../../domain/money.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, aRegistry, anAgent } from '../support/builders.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
/** Each has two steps, of which the first was paid in `open` and `aborted`. */
const ids = { open: '', completed: '', aborted: '' };

beforeAll(async () => {
  db = await createTestDatabase();
  const store = createMultistepStore({ pool: db.pool, metrics: createMetrics({ runtime: false }) });
  const registry = aRegistry(db);
  const [buyer, one, two] = [await anAgent(registry), await anAgent(registry), await anAgent(registry)];
  await aDeposit(db.pool, buyer.address, '10');
  const steps = [{ seller: one.address, amountMicros: parseAmount('1') }, { seller: two.address, amountMicros: parseAmount('2') }];
  for (const state of ['open', 'completed', 'aborted'] as const) {
    const id = newId('multistepEscrow');
    ids[state] = id;
    await store.create({ id, buyer: buyer.address, tenantId: null, workflowId: 'w', idempotency: null,
      plan: { totalMicros: parseAmount('3'), steps, expiresInMs: 3_600_000 } });
    const taker = { id, caller: buyer.address, idempotency: null };
    await store.confirmStep(taker, { stepIndex: 0, seller: null, amountMicros: null });
    if (state === 'completed') await store.confirmStep(taker, { stepIndex: 1, seller: two.address, amountMicros: parseAmount('2') });
    if (state === 'aborted') await store.refund(taker);
  }
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['multistep_escrow'] });

test('escrows that were kept by the rules have no finding', async () => {
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

const step = (of: string, n: number): string => `escrow_id = :${of} AND step_index = ${n}`;
test.each<[string, string, string, RegExp]>([
  ['a step that was paid without being confirmed', `UPDATE multistep_step SET confirmed_at = NULL WHERE ${step('open', 0)}`, 'I4',
    /has one capture/],
  ['a step that was confirmed without being paid', `UPDATE multistep_step SET confirmed_at = now() WHERE ${step('aborted', 1)}`, 'I4',
    /has one capture/],
  ['a step that was paid another amount', `UPDATE multistep_step SET amount = amount + 1 WHERE ${step('completed', 0)}`, 'I5',
    /planned for it/],
  ['a step that was paid to somebody else', `UPDATE multistep_step SET seller = '0x' WHERE ${step('completed', 0)}`,
    'I5', /reached its seller/],
  ['an escrow without its hold', `DELETE FROM hold WHERE id = :open`, 'I6', /open steps need/],
  ['an escrow that locked another amount', `UPDATE hold SET amount = amount + 1 WHERE id = :completed`, 'I6', /open steps need/],
  ['a hold that was captured too often', `UPDATE hold SET captured = captured + 1 WHERE id = :open`, 'I6', /open steps need/],
  ['a hold in another bucket', `UPDATE hold SET bucket = 'pending' WHERE id = :open`, 'I6', /open steps need/],
  ['an escrow that ended and kept its hold', `UPDATE hold SET closed_at = NULL WHERE id = :aborted`, 'I6', /open steps need/],
  ['an escrow that miscounts its steps', `UPDATE multistep_escrow SET confirmed_steps = 2 WHERE id = :open`, 'I11', /add up to it/],
  ['an escrow that lost a step', `DELETE FROM multistep_step WHERE ${step('open', 1)}`, 'I11', /add up to it/],
  ['steps that do not add up', `UPDATE multistep_step SET amount = amount + 1 WHERE ${step('open', 1)}`, 'I11', /add up to it/],
  ['steps with a gap', `UPDATE multistep_step SET step_index = 7 WHERE ${step('open', 1)}`, 'I11', /add up to it/],
  ['an escrow that is completed with a step to do', `UPDATE multistep_escrow SET status = 'completed' WHERE id = :open`, 'I11',
    /add up to it/],
  ['an escrow that is open with nothing to do', `UPDATE multistep_escrow SET status = 'open' WHERE id = :completed`, 'I11', /add up to it/],
  ['an escrow that gave back too little', `UPDATE multistep_escrow SET refunded = refunded - 1 WHERE id = :aborted`,
    'I11', /paid and gave back/],
  ['a refund without its posting', `UPDATE posting SET ref = 'elsewhere' WHERE ref = :aborted AND kind = 'release'`, 'I11', /one posting/],
  ['a creation without its event', `DELETE FROM outbox WHERE ref = :open AND topic = 'multistep.created'`, 'I13', /one event/],
  ['a step without its event',
    `DELETE FROM outbox WHERE ref = :completed AND topic = 'multistep.step_confirmed' AND data ->> 'stepIndex' = '1'`, 'I13', /one event/],
  ['one step told twice and another never',
    `UPDATE outbox SET data = '{"stepIndex": 0}' WHERE ref = :completed AND topic = 'multistep.step_confirmed'`, 'I13', /one event/],
  ['a completion without its event', `DELETE FROM outbox WHERE ref = :completed AND topic = 'multistep.completed'`, 'I13', /one event/],
  ['an end that was told twice', `INSERT INTO outbox (topic, ref) VALUES ('multistep.aborted', :aborted)`, 'I13', /one event/],
  ['a version that does not fit', `UPDATE multistep_escrow SET version = 9 WHERE id = :open`, 'I13', /one event/],
])('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('an open escrow long past its deadline is found', async () => {
  const late = `UPDATE multistep_escrow SET deadline = now() - interval '2 minutes'`;
  const [finding, ...others] = await findingsAfter(late, 60_000);
  expect(others).toEqual([]);
  expect([finding?.invariant, finding?.detail]).toEqual(['I12', expect.stringContaining(ids.open)]);
  expect(finding?.detail).not.toContain(ids.aborted);
  expect(await findingsAfter(late, 180_000)).toEqual([]);
});
