/** Which way a step goes, and that it is taken once whichever: by the workflow, directly because that is late, or both. */
import { randomUUID } from 'node:crypto';
import { viewOf as rowView } from '../../activities/payment/activities.ts';
import { createNotices } from '../../ledger/notices.ts';
import { createComparison } from '../../payments/comparison.ts';
import { createMessages } from '../../payments/messages.ts';
import { readEnv } from '../../platform/env.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createRuntime, type Runtime } from '../../workers/runtime.ts';
import { aDeposit, silent } from '../support/builders.ts';
import { deadlineIn, purse, setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { directPayments, type DirectPayments } from '../support/payments.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { connectTestTemporal, type TestTemporal } from '../support/temporal.ts';

interface View { state: string; version: number; facts: { version: number; step: string }[] }

/** What the platform's metrics say of steps by this path. */
async function stepsBy(path: 'workflow' | 'direct'): Promise<number> {
  // Answers of this route are half a second old at most.
  await new Promise((resolve) => setTimeout(resolve, 600));
  const { text } = await asks.platform().ask('GET', '/metrics');
  return Number(new RegExp(`surety_payment_steps_total\\{kind="escrow",path="${path}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
}

const asks = createPlatformSuite({ WORKER_QUEUES: 'none' });
let stage: EscrowStage;
let direct: DirectPayments;
beforeEach(async () => {
  stage = await setStage(asks.platform(), '100');
  direct = await directPayments(asks.platform().db.pool);
});

/** A worker for escrows beside the platform, which itself serves no queue. */
async function startWorker(): Promise<{ runtime: Runtime; stop(): Promise<void> }> {
  const { db, registry, queueSuffix } = asks.platform();
  const temporal: TestTemporal = await connectTestTemporal();
  const runtime = await createRuntime({
    env: readEnv({ WORKER_QUEUES: 'escrow' }), log: silent, metrics: createMetrics({ runtime: false }), pool: db.pool, reads: db.pool,
    registry, temporal, queues: ['escrow'], queueSuffix,
    outbound: undefined as never, signer: undefined as never,
  });
  await runtime.start();
  return {
    runtime,
    stop: async () => {
      await runtime.drain();
      await temporal.close();
    },
  };
}

const handleOf = (id: string) => asks.platform().temporal.client.workflow.getHandle(`escrow-${id}`);
const viewOf = (id: string) => handleOf(id).query<View>('surety-view');
const stepsOf = async (id: string) => (await direct.store.eventsAfter(id, 0)).map(({ step }) => step);

describe('while no worker is there', () => {
  test('a request takes its step itself, and the workflow finds it done under the same attempt', async () => {
    const { buyer, seller } = stage.cast;
    const id = await stage.anEscrow();
    expect(stage.outcome(await stage.step(id, 'deliver', seller))).toBe('200 delivered');
    expect(stage.outcome(await stage.step(id, 'confirm', buyer))).toBe('200 released');
    expect((await purse(asks.platform().db.pool, seller)).available).toBe(usdc('1'));
    const worker = await startWorker();
    try {
      // Start and both updates are still there, and all of them arrive now.
      expect(await handleOf(id).result()).toMatchObject({ state: 'released', by: buyer.address });
      expect(await stepsOf(id)).toEqual(['open', 'deliver', 'confirm']);
      expect((await purse(asks.platform().db.pool, seller)).available).toBe(usdc('1'));
    } finally {
      await worker.stop();
    }
  }, 60_000);

  test('what was refused here is refused when its message arrives, although there is enough money by then', async () => {
    const poor = await setStage(asks.platform(), '1');
    const replies = await Promise.all([poor.create(), poor.create()]);
    expect(replies.map(({ status }) => status).sort()).toEqual([201, 402]);
    await aDeposit(asks.platform().db.pool, poor.cast.buyer.address, '10');
    const worker = await startWorker();
    try {
      const { client } = asks.platform().temporal;
      const ended = await eventually(async () => {
        const found: string[] = [];
        for await (const { workflowId } of client.workflow.list(
          { query: `Buyer = '${poor.cast.buyer.address}' AND ExecutionStatus = 'Completed'` })) found.push(workflowId);
        expect(found).toHaveLength(1);
        return found;
      });
      expect(await client.workflow.getHandle(ended[0] ?? '').result())
        .toMatchObject({ state: 'not_opened', resolution: 'insufficient_balance' });
      expect(await purse(asks.platform().db.pool, poor.cast.buyer)).toEqual({ available: usdc('10'), escrowed: usdc('1') });
    } finally {
      await worker.stop();
    }
  }, 60_000);

  test('a request that nobody came to in thirty seconds is not carried out later', async () => {
    const { buyer } = stage.cast;
    const { id } = await direct.escrow({ buyer: buyer.address, seller: stage.cast.seller.address });
    const late = await direct.step(id, 'confirm', buyer.address, {}, { notAfterMs: Date.now() - 1 });
    expect(late).toMatchObject({ kind: 'refused', refusal: { code: 'unavailable', message: expect.stringContaining('too late') } });
    expect(await stepsOf(id)).toEqual(['open']);
  });
});

describe('an API that serves no queue, with workers elsewhere', () => {
  let worker: Awaited<ReturnType<typeof startWorker>>;
  beforeAll(async () => {
    worker = await startWorker();
  }, 30_000);
  afterAll(() => worker.stop(), 30_000);

  test('has every step taken by the workflow and waits for its answer', async () => {
    const { buyer, seller } = stage.cast;
    const before = await stepsBy('workflow');
    const id = await stage.anEscrow();
    expect(stage.outcome(await stage.step(id, 'deliver', seller))).toBe('200 delivered');
    expect(stage.outcome(await stage.step(id, 'confirm', buyer))).toBe('200 released');
    expect(await handleOf(id).result()).toMatchObject({ state: 'released' });
    await eventually(async () => expect((await stepsBy('workflow')) - before).toBe(3));
    await eventually(async () =>
      expect((await asks.platform().db.pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [id])).rows).toEqual([]));
  });

  test('an opening that must fail starts no workflow', async () => {
    const poor = await setStage(asks.platform(), '0.50');
    expect((await poor.create()).status).toBe(402);
    // Searches lag behind: one that does start is waited for.
    const id = await stage.anEscrow();
    const { client } = asks.platform().temporal;
    const found = async (query: string) => (await client.workflow.count(query)).count;
    await eventually(async () => expect(await found(`WorkflowId = 'escrow-${id}'`)).toBe(1));
    expect(await found(`Buyer = '${poor.cast.buyer.address}'`)).toBe(0);
  });

  test('an hourly comparison finds payments whose workflow is gone, and they get one again', async () => {
    const { db: { pool }, temporal } = asks.platform();
    const [lost, sound] = [await stage.anEscrow(), await stage.anEscrow()];
    await handleOf(lost).terminate('lost');
    // Searches lag behind: the comparison goes by what they show.
    const counted = async (id: string, status: string) =>
      (await temporal.client.workflow.count(`WorkflowId = 'escrow-${id}' AND ExecutionStatus = '${status}'`)).count;
    await eventually(async () => expect([await counted(sound, 'Running'), await counted(lost, 'Terminated')]).toEqual([1, 1]));
    await eventually(async () => expect(await counted(lost, 'Running')).toBe(0));
    const messages = createMessages({ client: temporal.client, searchAttributes: temporal.searchAttributes, taskQueue: () => '' });
    const compare = createComparison({ store: direct.store, notices: createNotices(pool), messages });
    // Nothing else brings it back: its opening has been confirmed.
    const notices = async () => (await pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [lost])).rows;
    await eventually(async () => expect(await notices()).toEqual([]));
    expect(await compare(['escrow'], 0)).toBeGreaterThanOrEqual(1);
    await eventually(async () => expect((await handleOf(lost).describe()).status.name).toBe('RUNNING'), { withinMs: 40_000 });
    await eventually(async () => expect((await viewOf(lost)).facts).toHaveLength(1));
  }, 60_000);

  test('two openings with one key make one escrow, whichever workflow comes first', async () => {
    const options = { key: stage.cast.buyer.key, headers: { 'idempotency-key': 'twice' } };
    const replies = await Promise.all([stage.create({}, options), stage.create({}, options), stage.create({}, options)]);
    expect(new Set(replies.map(({ status, body }) => `${status} ${body.escrow?.id}`)).size).toBe(1);
    expect(replies.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(2);
    expect(await purse(asks.platform().db.pool, stage.cast.buyer)).toEqual({ available: usdc('99'), escrowed: usdc('1') });
  });

  test('one key for two different steps is refused the second time, and one step with it is taken once', async () => {
    const { buyer, seller } = stage.cast;
    const id = await stage.anEscrow();
    const keyed = (who: { key: string }) => ({ key: who.key, headers: { 'idempotency-key': 'step' } });
    const twins = await Promise.all([1, 2, 3].map(() => stage.step(id, 'deliver', seller, undefined, keyed(seller))));
    expect(twins.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(twins.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(2);
    expect(stage.outcome(await stage.step(id, 'decline', seller, undefined, keyed(seller)))).toBe('422 idempotency_mismatch');
    expect(stage.outcome(await stage.step(id, 'confirm', buyer, undefined, keyed(buyer)))).toBe('200 released');
    expect(await stepsOf(id)).toEqual(['open', 'deliver', 'confirm']);
  });

  test('a workflow whose view is older than what the request has seen lets the activity decide', async () => {
    const { buyer, seller } = stage.cast;
    const id = await stage.anEscrow();
    await direct.step(id, 'dispute', buyer.address, { reason: 'No.' });
    expect((await viewOf(id)).state).toBe('pending');
    const before = await stepsBy('workflow');
    // By the view of the workflow there is no dispute in which evidence could be handed in.
    expect(stage.outcome(await stage.step(id, 'evidence', seller, { content: 'Yes.' }))).toBe('200 disputed');
    await eventually(async () => expect((await stepsBy('workflow')) - before).toBe(1));
    expect((await viewOf(id)).facts.map(({ version, step }) => `${version} ${step}`)).toEqual(['1 open', '2 dispute', '3 evidence']);
  });

  test('the clock of the database decides: a timer that fires before it asks again until it is time', async () => {
    const id = await stage.anEscrow({ terms: { autoRelease: '4s' } });
    await deadlineIn(asks.platform().db.pool, id, 8_000);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await stage.get(id))['status']).toBe('pending');
    expect(await handleOf(id).result()).toMatchObject({ state: 'refunded', resolution: 'delivery_expired', by: 'clock' });
    const escrow = await stage.get(id);
    expect(Date.parse(escrow['resolvedAt'] ?? '')).toBeGreaterThanOrEqual(Date.parse(escrow['createdAt'] ?? '') + 7_500);
  }, 60_000);

  test('a workflow that goes on in a new run while steps are under way loses none of them and takes none twice', async () => {
    const { client } = asks.platform().temporal;
    const { buyer, seller } = stage.cast;
    const { id } = await direct.escrow({ buyer: buyer.address, seller: seller.address });
    await direct.step(id, 'dispute', buyer.address, { reason: 'No.' });
    const payment = (await direct.store.read(id))?.payment;
    if (payment === undefined) throw new Error('There is no payment.');
    await direct.store.markStarted([id]);
    await client.workflow.start('escrow', {
      workflowId: `escrow-${id}`, taskQueue: `surety-escrow${asks.platform().queueSuffix}`,
      args: [{ id, startId: randomUUID(), amount: '1', asset: 'USDC', buyer: buyer.address, open: null, view: rowView(payment),
        searchAttributes: [], eventsMax: 15 }],
    });
    const { runId } = await handleOf(id).describe();
    for (let round = 0; round < 4; round += 1) {
      const said = await Promise.all([buyer,
        seller].flatMap((who) => [1, 2].map((n) => stage.step(id, 'evidence', who, { content: `round ${round}, piece ${n}` }))));
      expect(said.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    }
    await handleOf(id).signal('surety-evidence', { by: 'seller', content: 'By signal.' });
    await eventually(async () => expect(await stepsOf(id)).toHaveLength(2 + 16 + 1));
    expect(stage.outcome(await stage.step(id, 'decline', seller))).toBe('200 refunded');
    expect(await handleOf(id).result()).toMatchObject({ state: 'refunded', resolution: 'given_back' });
    expect((await handleOf(id).describe()).runId).not.toBe(runId);
    const notes = (await direct.store.eventsAfter(id, 0)).flatMap(({ step, note }) => (step === 'evidence' ? [note] : []));
    expect(new Set(notes).size).toBe(9);
    expect(notes).toHaveLength(17);
  }, 40_000);
});
