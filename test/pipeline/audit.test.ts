/** The audit finds what is wrong with a pipeline: for every rule a row is broken by hand, and exactly that must be told. */
import { createPipelineStore, type NewPipeline } from '../../activities/pipeline/store.ts';
import { newId } from '../../platform/random.ts';
import { anAddress, platformAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, aGivenUp, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
/**
 * A pipeline that completed, one that failed after a paid step, one that waits for a compensation, and one that runs and keeps a delivered
 * step.
 */
const ids = { done: '', failed: '', undoing: '', running: '', session: '' };

beforeAll(async () => {
  db = await createTestDatabase();
  const gateway = aStore(db.pool);
  const store = createPipelineStore({ pool: db.pool, driver: 'test', leaseMs: 6_000, feeOwner: platformAddress,
    onDrained: () => undefined });
  const session = await anOpenSession(db.pool, { maxTotal: '5.00' });
  const opened = async (compensated = false): Promise<NewPipeline> => {
    const steps = [0, 1].map((step) => ({
      callId: newId('call'), serviceType: 'translation', paramsJson: '{}', candidates: [aCandidate(anAddress())],
      refundable: step === 0 && compensated,
      compensation: compensated ? { endpoint: 'http://127.0.0.1:9/undo', paramsJson: '{}' } : null,
    }));
    const pipeline: NewPipeline = { id: newId('pipeline'), sessionId: session.id, buyer: session.agent, tenantId: null,
      workflowId: 'pipeline-test', workflowStarted: false, allOrNothing: false, feeBps: 250, steps, idempotency: null };
    expect((await store.open(pipeline)).outcome).toBe('accepted');
    await gateway.settle(aDelivery(steps[0]?.callId ?? ''));
    expect(await store.startStep(pipeline.id, 1, '{}')).toBe('started');
    return pipeline;
  };
  const [done, failed, undoing, running] = [await opened(), await opened(), await opened(true), await opened(true)];
  await gateway.settle(aDelivery(done.steps[1]?.callId ?? ''));
  for (const pipeline of [failed, undoing]) await gateway.release(aGivenUp(pipeline.steps[1]?.callId ?? ''));
  expect(await Promise.all([done, failed, undoing, running].map(async ({ id }) => (await store.finish(id)).state)))
    .toEqual(['completed', 'failed', 'undoing', 'running']);
  Object.assign(ids, { done: done.id, failed: failed.id, undoing: undoing.id, running: running.id, session: session.id });
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['pipeline'] });

test('pipelines that were kept by the rules have no finding', async () => {
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

const stepOf = (pipeline: string, step: number): string =>
  `id = (SELECT id FROM gateway_call WHERE pipeline_id = ${pipeline} AND step_index = ${step})`;
test.each<[string, string, string, RegExp]>([
  ['a completed pipeline with a step that nobody paid', `UPDATE gateway_call SET state = 'released' WHERE ${stepOf(':done', 1)}`,
    'I4', /has paid every step/],
  ['a failed pipeline that keeps money for a step', `UPDATE gateway_call SET state = 'planned' WHERE ${stepOf(':failed', 1)}`,
    'I4', /keeps money for none/],
  ['a refundable step that was paid although its pipeline failed',
    `UPDATE gateway_call SET refundable = true WHERE ${stepOf(':failed', 0)}`, 'I4', /no refundable step/],
  ['a step that is missing', `UPDATE gateway_call SET pipeline_id = NULL WHERE ${stepOf(':done', 1)}`, 'I4', /all the steps of its plan/],
  ['a step of another buyer', `UPDATE gateway_call SET buyer = 'somebody' WHERE ${stepOf(':running', 1)}`, 'I4',
    /all the steps of its plan/],
  ['a step that delivered before the one it follows',
    `UPDATE gateway_call SET state = 'accepted', http_status = NULL WHERE ${stepOf(':done', 0)}`, 'I4', /all the steps of its plan/],
  ['a compensation that was forgotten', `UPDATE pipeline SET state = 'failed' WHERE id = :undoing`, 'I4',
    /compensations are due only while/],
  ['a pipeline that is being undone for nothing',
    `UPDATE gateway_call SET undo_state = 'done' WHERE pipeline_id = :undoing AND undo_state = 'pending'`, 'I4', /at least one is/],
  ['a sum that is not what was paid', `UPDATE pipeline SET total_paid = total_paid - 1 WHERE id = :done`, 'I5', /what its paid steps cost/],
  ['more paid than was held', `UPDATE pipeline SET held = 1 WHERE id = :done`, 'I5', /no more than was held/],
  ['a session that forgot what it promised to planned and delivered steps',
    `UPDATE meter SET reserved = reserved - 1 WHERE id = :session`, 'I9', /what its calls say/],
  ['an event that was never written', `DELETE FROM outbox WHERE ref = :done AND topic = 'pipeline.completed'`,
    'I13', /one for each change/],
  ['a try to undo a step without its event', `UPDATE gateway_call SET undo_attempts = undo_attempts + 1 WHERE ${stepOf(':undoing', 0)}`,
    'I13', /one for each try/],
  ['an event that was written twice', `INSERT INTO outbox (topic, ref) VALUES ('pipeline.created', :running)`,
    'I13', /one for each change/],
  ['a kept delivery without its answer', `UPDATE gateway_call SET http_status = NULL WHERE ${stepOf(':running', 0)}`, 'I7', /2xx/],
  ['a delivery without its event',
    `DELETE FROM outbox WHERE topic = 'call.delivered' AND ref = (SELECT id FROM gateway_call WHERE ${stepOf(':running', 0)})`,
    'I13', /each end of a call/],
])('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('a pipeline without a sign of life is found once it is overdue', async () => {
  const old = `UPDATE pipeline SET updated_at = now() - interval '2 minutes' WHERE id = :running`;
  expect(await findingsAfter(old, 60_000)).toEqual([{ invariant: 'I12', count: 1, detail: expect.stringContaining(ids.running) }]);
  expect(await findingsAfter(old, 180_000)).toEqual([]);
});
