/** The SQL steps of a pipeline: a step is paid and the next begun in one transaction, and a lost answer costs nothing. */
import { createPipelineStore, type NewPipeline, type PipelineStore } from '../../activities/pipeline/store.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { newId } from '../../platform/random.ts';
import { anAddress, platformAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { moneyOf, usdc } from '../support/market.ts';

let db: TestDatabase;
let ours: PipelineStore;
let theirs: PipelineStore;

beforeAll(async () => {
  db = await createTestDatabase();
  [ours, theirs] = ['ours',
    'theirs'].map((driver) =>
      createPipelineStore({ pool: db.pool, driver, leaseMs: 6_000, feeOwner: platformAddress, onDrained: () => undefined })) as [
      PipelineStore,
    PipelineStore];
}, 30_000);
afterEach(async () => {
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
});
afterAll(async () => db.close());

/** A pipeline of three steps at 0.10 each, written by our process. */
async function opened({ refundable = false, compensation = null, workflowStarted = false }: Partial<
    Pick<NewPipeline['steps'][number], 'refundable' | 'compensation'> & Pick<NewPipeline, 'workflowStarted'>> = {}) {
  const session = await anOpenSession(db.pool);
  const sellers = [anAddress(), anAddress(), anAddress()];
  const steps = sellers.map((seller) =>
    ({ callId: newId('call'), serviceType: 'translation', paramsJson: '{}', candidates: [aCandidate(seller)],
    refundable, compensation }));
  const id = newId('pipeline');
  const pipeline: NewPipeline = { id, sessionId: session.id, buyer: session.agent, tenantId: null, workflowId: `pipeline-${id}`,
    workflowStarted, allOrNothing: false, feeBps: 0, steps, idempotency: null };
  expect((await ours.open(pipeline)).outcome).toBe('accepted');
  const deliver = (step: number, next: number | null) =>
    ours.pass(id, aDelivery(steps[step]?.callId ?? ''), next === null ? null : { step: next, paramsJson: `{"step":${next}}` });
  const paid = async (): Promise<bigint[]> => Promise.all(sellers.map(async (seller) => (await moneyOf(db.pool, seller)).available));
  const states = async (): Promise<string[]> => (await ours.steps(id)).map(({ state }) => state);
  return { id, buyer: session.agent, deliver, paid, states, firstCall: steps[0]?.callId ?? '' };
}

const staleOf = async (store: typeof ours, claimMs: number): Promise<string[]> =>
  (await store.claimStale({ quietMs: 0, claimMs, limit: 100 })).map((row) => row.id);

test.each([[false, []], [true, [{ version: 1 }]]])('a pipeline that ends, its start sent %j, leaves the notice %j',
    async (workflowStarted, left) => {
  const { id, deliver } = await opened({ workflowStarted });
  const notices = async () => (await db.pool.query('SELECT version FROM workflow_notice WHERE payment_id = $1', [id])).rows;
  expect(await notices()).toEqual([{ version: 1 }]);
  for (const step of [0, 1, 2]) await deliver(step, step === 2 ? null : step + 1);
  expect(await notices()).toEqual(left);
});

test('a pipeline without a sign of life is claimed by one process at a time, and by another when the claim has run out', async () => {
  const { id, firstCall } = await opened();
  expect(await staleOf(ours, 300)).not.toContain(id);
  await db.pool.query(`UPDATE gateway_call SET lease_until = now() - interval '1 second' WHERE id = $1`, [firstCall]);
  const claimed = await Promise.all([ours, theirs, ours, theirs].map((store) => staleOf(store, 300)));
  expect(claimed.flat().filter((each) => each === id)).toEqual([id]);
  await new Promise((resolve) => setTimeout(resolve, 350));
  expect(await staleOf(theirs, 300)).toContain(id);
});

test('a delivery is paid and the next step begun for whoever delivered; the last one ends the pipeline', async () => {
  const { id, deliver, paid, states } = await opened();
  expect(await deliver(0, 1)).toMatchObject({ settled: { outcome: 'settled', spentMicros: usdc('0.10') }, next: 'started', ended: null });
  expect(await states()).toEqual(['settled', 'accepted', 'planned']);
  expect((await ours.step(id, 1))?.params).toBe('{"step":1}');
  expect(await deliver(1, 2)).toMatchObject({ next: 'started' });
  expect(await deliver(2, null))
    .toMatchObject({ settled: { outcome: 'settled', requestCount: 3 }, next: null,
    ended: { id, state: 'completed', total_paid: '300000' } });
  expect(await paid()).toEqual([usdc('0.10'), usdc('0.10'), usdc('0.10')]);
});

test('said twice because the answer was lost, a delivery is paid once, and the step it began is still ours', async () => {
  const { id, deliver, paid, states } = await opened();
  await deliver(0, 1);
  expect(await deliver(0, 1)).toMatchObject({ settled: { outcome: 'already_settled' }, next: null, ended: null });
  expect(await paid()).toEqual([usdc('0.10'), 0n, 0n]);
  expect(await ours.startStep(id, 1, '{}')).toBe('started');
  expect(await theirs.startStep(id, 1, '{}')).toBe('elsewhere');
  expect(await ours.startStep(id, 2, '{}')).toBe('elsewhere');
  expect(await states()).toEqual(['settled', 'accepted', 'planned']);
});

test('a step that others have taken over since is not ours any more', async () => {
  const { id, deliver } = await opened();
  await deliver(0, 1);
  const callId = (await ours.step(id, 1))?.id ?? '';
  await db.pool.query('UPDATE gateway_call SET lease_until = clock_timestamp() - interval \'1 second\' WHERE id = $1', [callId]);
  expect(await aStore(db.pool, { driver: 'ours' }).takeOver([callId])).toHaveLength(1);
  expect(await ours.startStep(id, 1, '{}')).toBe('elsewhere');
});

test('refundable deliveries keep their price until the last, and then all are paid with it', async () => {
  const { deliver, paid } = await opened({ refundable: true });
  expect(await deliver(0, 1)).toMatchObject({ settled: { outcome: 'delivered' }, next: 'started' });
  await deliver(1, 2);
  expect(await paid()).toEqual([0n, 0n, 0n]);
  expect(await deliver(2, null)).toMatchObject({ settled: { outcome: 'delivered' }, ended: { state: 'completed' } });
  expect(await paid()).toEqual([usdc('0.10'), usdc('0.10'), usdc('0.10')]);
});

test('cancelled meanwhile: the delivery is paid, and nothing is begun after it', async () => {
  const { id, buyer, deliver, paid, states } = await opened();
  expect(await ours.act(id, 'cancel', buyer)).toMatchObject({ state: 'cancelling' });
  expect(await ours.act(id, 'cancel', buyer)).toBeNull();
  expect(await deliver(0, 1)).toMatchObject({ settled: { outcome: 'settled' }, next: 'stopped', ended: null });
  expect((await ours.finish(id)).state).toBe('cancelled');
  expect([await paid(), await states()]).toEqual([[usdc('0.10'), 0n, 0n], ['settled', 'released', 'released']]);
});

test('a delivery after its call was given up pays nobody and begins nothing', async () => {
  const { deliver, paid, states, firstCall } = await opened();
  await aStore(db.pool).release({ id: firstCall, errorCode: 'proxy_failed', errorMessage: 'Nobody delivered.', log: [] });
  expect(await deliver(0, 1)).toMatchObject({ settled: { outcome: 'released' }, next: null, ended: null });
  expect([await paid(), await states()]).toEqual([[0n, 0n, 0n], ['released', 'planned', 'planned']]);
});

describe('a compensation', () => {
  const failure = { done: false, pauseMs: 60_000, error: 'answered with HTTP 503' };

  /** A pipeline whose first step is to be undone. */
  async function failed() {
    const { id, deliver } = await opened({ compensation: { endpoint: 'http://127.0.0.1:9/undo', paramsJson: '{}' } });
    await deliver(0, 1);
    await ours.act(id, 'cancel', 'somebody');
    const [, second] = await ours.steps(id);
    await aStore(db.pool).release({ id: second?.id ?? '', errorCode: 'proxy_failed', errorMessage: 'Nobody delivered.', log: [] });
    expect((await ours.finish(id)).state).toBe('undoing');
    return id;
  }

  test('is claimed by one process at a time, and by another when the lease has run out', async () => {
    const id = await failed();
    const claims = await Promise.all([ours, theirs, ours, theirs].map((store) => store.claimUndo(id, 0, 300)));
    expect(claims.map(({ outcome }) => outcome).toSorted()).toEqual(['claimed', 'later', 'later', 'later']);
    expect(claims.find(({ outcome }) => outcome === 'later')?.waitMs).toBeGreaterThan(200);
    await new Promise((resolve) => setTimeout(resolve, 350));
    expect((await theirs.claimUndo(id, 0, 300)).outcome).toBe('claimed');
  });

  test('that did not work is due when its pause is over, and nobody expects a sign of life before', async () => {
    const id = await failed();
    await ours.claimUndo(id, 0, 10_000);
    await ours.noteUndo({ id, step: 0, ...failure });
    const { outcome, waitMs } = await theirs.claimUndo(id, 0, 10_000);
    expect([outcome, waitMs > 55_000 && waitMs <= 60_000]).toEqual(['later', true]);
    expect(await staleOf(ours, 0)).not.toContain(id);
  });

  test('is noted by the process that has its lease; of another only that it worked', async () => {
    const id = await failed();
    await ours.claimUndo(id, 0, 10_000);
    await theirs.noteUndo({ id, step: 0, ...failure });
    expect((await ours.step(id, 0))?.undo_attempts).toBe(0);
    await theirs.noteUndo({ id, step: 0, done: true, pauseMs: null, error: null });
    await ours.noteUndo({ id, step: 0, ...failure });
    expect(await ours.step(id, 0)).toMatchObject({ undo_attempts: 1, undo_state: 'done' });
    expect((await ours.row(id)).state).toBe('cancelled');
    expect((await ours.claimUndo(id, 0, 10_000)).outcome).toBe('over');
  });

  test('that was given up is called again for as long as the first time when somebody asks, and the pipeline ends once more', async () => {
    const id = await failed();
    await db.pool.query(`UPDATE gateway_call SET undo_since = undo_since - interval '2 days' WHERE pipeline_id = $1`, [id]);
    expect((await ours.claimUndo(id, 0, 10_000)).ageMs).toBeGreaterThan(47 * 3_600_000);
    await ours.noteUndo({ id, step: 0, ...failure, pauseMs: null });
    expect(await ours.row(id)).toMatchObject({ state: 'cancelled' });
    expect(await ours.act(id, 'retry-undo', 'platform')).toMatchObject({ state: 'undoing', ended_at: null });
    expect(await ours.act(id, 'retry-undo', 'platform')).toBeNull();
    expect(await ours.claimUndo(id, 0, 10_000)).toMatchObject({ outcome: 'claimed', ageMs: expect.any(Number) });
    expect((await ours.claimUndo(id, 0, 10_000)).ageMs).toBeLessThan(60_000);
    await ours.noteUndo({ id, step: 0, done: true, pauseMs: null, error: null });
    expect(await ours.row(id)).toMatchObject({ state: 'cancelled', ended_at: expect.any(Date) });
  });
});
