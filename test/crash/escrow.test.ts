/**
 * A process dies in the middle of an escrow, or Temporal does not answer. Whatever was done is done once, whoever asks again with its
 * key gets the answer, the workflow learns of it later, and the clock is kept by those who are left.
 */
import { connectClient } from '../../temporal/connection.ts';
import { paymentCrashPoints, type PaymentCrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { deadlineIn, purse, setStage, type EscrowStage } from '../support/escrows.ts';
import { createLanes, type Lane } from '../support/lanes.ts';
import { usdc, type Market } from '../support/market.ts';
import { createNodes, orGone, type Nodes } from '../support/nodes.ts';
import { startOwnServers } from '../support/own-servers.ts';
import { eventually } from '../support/platform-suite.ts';

const workflowOf = (id: string): string => `escrow-${id}`;

const { story } = createLanes({ WORKER_QUEUES: 'escrow' });
type Temporal = Awaited<ReturnType<typeof connectClient>>;
type View = { state: string; version: number; lastRefusal: string | null; facts: readonly { version: number; step: string }[] };
const handleIn = ({ client }: Temporal, id: string) => client.workflow.getHandle(workflowOf(id));
const viewIn = (temporal: Temporal, id: string) => handleIn(temporal, id).query<View>('surety-view');
const ends = (temporal: Temporal, id: string) =>
  eventually(async () => expect((await handleIn(temporal, id).describe()).status.name).toBe('COMPLETED'), { withinMs: 40_000 });
const topicsOf = async ({ pool }: Pick<Nodes, 'pool'>, id: string): Promise<string[]> => {
  const { rows } = await pool.query<{ topic: string }>(`SELECT topic FROM outbox WHERE ref = $1 AND topic NOT LIKE 'call.%' ORDER BY id`,
    [id]);
  return rows.map(({ topic }) => topic);
};

/** Asks this process for an escrow of 1 USDC, with a key or without. */
function askFor(node: Market, { cast: { buyer, seller } }: EscrowStage, key: string | null, terms: object = {}): Promise<Reply> {
  const headers: Record<string, string> = key === null ? {} : { 'idempotency-key': key };
  return node.ask('POST', '/v1/escrow', { key: buyer.key, headers, body: { buyerAddr: buyer.address, sellerAddr: seller.address,
    amount: '1', ...terms } });
}

/** What an answer with a key says: its status, whether an earlier request did it, and where the escrow is. */
const told = ({ status, headers, body }: Reply): unknown[] => [status, headers.get('idempotent-replayed'), body.escrow?.status];

describe('a process that dies', () => {
  const tried = new Set<PaymentCrashPoint>();
  const clients: Temporal[] = [];
  afterAll(() => Promise.all(clients.map((client) => client.close())));

  async function watch(nodes: Nodes): Promise<Temporal> {
    const temporal = await connectClient(nodes.temporal);
    clients.push(temporal);
    return temporal;
  }

  /** Parties of its own, a process that will die at this point, and a view of the workflows. */
  async function setScene({ nodes, survivor }: Lane, point: PaymentCrashPoint) {
    tried.add(point);
    const [stage, temporal, doomed] = [await setStage(survivor, '100'), await watch(nodes), await nodes.start({ CRASH_AT: point })];
    return { nodes, survivor, stage, temporal, doomed };
  }

  /**
   * A process that dies while it opens an escrow for the key `make`. It has opened one before: a cold process may be so slow that the
   * request goes the direct way, which is another story. On a busy machine even a warm one may, so it is tried again.
   */
  async function dyingOpening(lane: Lane, point: PaymentCrashPoint) {
    tried.add(point);
    const { nodes, survivor } = lane;
    const temporal = await watch(nodes);
    for (let tries = 0; tries < 3; tries += 1) {
      const doomed = await nodes.start({ CRASH_AT: `${point}:SIGUSR2` });
      const [stage, warmUp] = await Promise.all([setStage(survivor, '100'), setStage(doomed, '100')]);
      const first = await warmUp.anEscrow();
      await eventually(async () => expect(await viewIn(temporal, first)).toMatchObject({ version: 1 }), { withinMs: 20_000 });
      doomed.send('SIGUSR2');
      const reply = await orGone(askFor(doomed, stage, 'make'));
      await doomed.kill();
      const { escrowed } = await purse(nodes.pool, stage.cast.buyer);
      if (reply === 'gone' && escrowed === (point === 'payment-opening' ? 0n : usdc('1'))) return { nodes, survivor, stage, temporal };
    }
    throw new Error('Three requests were answered before their process could die.');
  }

  story('before the money is held: the same key opens one escrow, and the workflow that was begun ends without', async (lane) => {
    const { nodes, survivor, stage, temporal } = await dyingOpening(lane, 'payment-opening');
    const { buyer } = stage.cast;
    const again = await askFor(survivor, stage, 'make');
    expect(told(again)).toEqual([201, null, 'pending']);
    const id = again.body.escrow.id as string;

    // The workflow of the dead process is gone on with: it finds that the key was used.
    const others = async () => {
      const found = [];
      for await (const { workflowId, searchAttributes, status } of temporal.client.workflow.list({ query: `WorkflowType = 'escrow'` })) {
        if (searchAttributes['Buyer']?.[0] === buyer.address && workflowId !== workflowOf(id)) found.push({ workflowId,
          status: status.name });
      }
      return found;
    };
    await eventually(async () => expect(await others()).toMatchObject([{ status: 'COMPLETED' }]), { withinMs: 40_000 });
    const [other] = await others();
    expect(await temporal.client.workflow.getHandle(other?.workflowId ?? '').result()).toMatchObject({ state: 'not_opened', paid: [] });
    expect(await purse(nodes.pool, buyer)).toEqual({ available: usdc('99'), escrowed: usdc('1') });
    expect(stage.outcome(await stage.step(id, 'confirm', buyer))).toBe('200 released');
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 120_000);

  for (const [point, when] of [['payment-committed', 'after the money was held and before anybody knew'],
    ['payment-answered', 'after the request knew and before Temporal did']] as const) {
    story(`${when}: the same key finds the escrow, held once, and its workflow goes on`, async (lane) => {
      const { nodes, survivor, stage, temporal } = await dyingOpening(lane, point);
      const { buyer } = stage.cast;
      const again = await askFor(survivor, stage, 'make');
      expect(told(again)).toEqual([201, 'true', 'pending']);
      expect(await purse(nodes.pool, buyer)).toEqual({ available: usdc('99'), escrowed: usdc('1') });
      const id = again.body.escrow.id as string;
      await eventually(async () => expect(await viewIn(temporal, id)).toMatchObject({ state: 'pending', version: 1 }),
        { withinMs: 40_000 });
      expect(stage.outcome(await stage.step(id, 'confirm', buyer))).toBe('200 released');
      await ends(temporal, id);
      expect(await topicsOf(nodes, id)).toEqual(['escrow.open', 'escrow.confirm']);
      await survivor.booksAreRight({ overdueMs: 60_000 });
    }, 120_000);
  }

  story('after the clock gave the money back: not twice, and every other escrow whose time is up is ended by those who are left',
    async (lane) => {
    const { nodes, survivor, stage, temporal, doomed } = await setScene(lane, 'payment-expired');
    const before = await purse(nodes.pool, stage.cast.buyer);
    const made = await Promise.all(Array.from({ length: 6 }, () => askFor(doomed, stage, null, { autoRelease: '3s' })));
    const ids = made.map(({ body }) => body.escrow.id as string);
    await doomed.ended;
    for (const id of ids) {
      await eventually(async () => expect(await stage.get(id)).toMatchObject({ status: 'refunded', resolution: 'delivery_expired' }),
        { withinMs: 30_000 });
      await ends(temporal, id);
    }
    expect(await purse(nodes.pool, stage.cast.buyer)).toEqual(before);
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 120_000);

  /** Processes that serve requests and no queue, so that nothing can be joined, and workers apart from them. */
  async function apart(run: (nodes: Nodes) => Promise<void>): Promise<void> {
    const nodes = await createNodes({ WORKER_QUEUES: 'none' });
    try {
      await run(nodes);
    } finally {
      await nodes.close();
    }
  }

  story('after a direct step that no worker was there for: the same key gets the answer, and the workflow learns of it',
    () => apart(async (nodes) => {
    tried.add('payment-direct');
    const doomed = { CRASH_AT: 'payment-direct' };
    const [desk, opening, paying] = await Promise.all([nodes.start(), nodes.start(doomed), nodes.start(doomed)]);
    const [stage, temporal] = [await setStage(desk, '100'), await watch(nodes)];
    const { buyer, seller } = stage.cast;
    expect(await orGone(askFor(opening, stage, 'make'))).toBe('gone');
    await opening.ended;
    const made = await askFor(desk, stage, 'make');
    expect(told(made)).toEqual([201, 'true', 'pending']);
    const id = made.body.escrow.id as string;
    const confirm = (node: Market) => node.ask('POST', `/v1/escrow/${id}/confirm`,
      { key: buyer.key, headers: { 'idempotency-key': 'pay' } });
    expect(await orGone(confirm(paying))).toBe('gone');
    await paying.ended;
    expect(told(await confirm(desk))).toEqual([200, 'true', 'released']);

    // Its start waits in Temporal, and an update too: whoever comes second finds what the first one did.
    await nodes.startWorker({ WORKER_QUEUES: 'escrow' });
    expect(await handleIn(temporal, id).result()).toMatchObject({ state: 'released', resolution: 'buyer_confirmed',
      paid: [{ to: seller.address, amount: '1.000000' }] });
    expect(await topicsOf(nodes, id)).toEqual(['escrow.open', 'escrow.confirm']);
    expect([await purse(nodes.pool, buyer), (await purse(nodes.pool, seller)).available]).toEqual([{ available: usdc('99'),
      escrowed: 0n }, usdc('1')]);
    await eventually(async () => expect((await nodes.pool.query('SELECT payment_id FROM workflow_notice')).rows).toEqual([]),
      { withinMs: 30_000 });
    await desk.booksAreRight({ overdueMs: 60_000 });
  }), 120_000);

  story('in the middle of a step that came by signal: the step is not taken twice, and not refused because it was done',
    () => apart(async (nodes) => {
    const [desk, first] = await Promise.all([nodes.start(), nodes.startWorker({ WORKER_QUEUES: 'escrow' })]);
    const [stage, temporal] = [await setStage(desk, '100'), await watch(nodes)];
    const id = await stage.anEscrow();
    await eventually(async () => expect(await viewIn(temporal, id)).toMatchObject({ state: 'pending', version: 1 }), { withinMs: 20_000 });
    await first.kill();
    const doomed = await nodes.startWorker({ WORKER_QUEUES: 'escrow', CRASH_AT: 'payment-committed' });
    await handleIn(temporal, id).signal('surety-deliver');
    await doomed.ended;
    expect(await stage.get(id)).toMatchObject({ status: 'delivered' });
    await nodes.startWorker({ WORKER_QUEUES: 'escrow' });
    await eventually(async () => expect(await viewIn(temporal, id)).toMatchObject({ state: 'delivered', version: 2, lastRefusal: null }),
      { withinMs: 40_000 });
    expect((await viewIn(temporal, id)).facts).toMatchObject([{ version: 1, step: 'open' }, { version: 2, step: 'deliver' }]);
    expect(await topicsOf(nodes, id)).toEqual(['escrow.open', 'escrow.deliver']);
    await desk.booksAreRight({ overdueMs: 60_000 });
  }), 120_000);

  test('dies at every point there is', () => expect([...tried].sort()).toEqual([...paymentCrashPoints].sort()));
});

story('a server and Temporal die at once in the middle of steps: each step is in the books once, and the workflow goes on', async () => {
  const servers = await startOwnServers({ WORKER_QUEUES: 'escrow' });
  try {
    const { pool, node } = servers;
    const stage = await setStage(node, '100');
    const { buyer, seller } = stage.cast;
    const ids = await Promise.all(Array.from({ length: 4 }, () => stage.anEscrow()));
    const deliver = (at: Market, id: string) => at.ask('POST', `/v1/escrow/${id}/deliver`,
      { key: seller.key, headers: { 'idempotency-key': `deliver-${id}` } });
    const asked = Promise.all(ids.map((id) => orGone(deliver(node, id))));
    await new Promise((resolve) => setTimeout(resolve, 15));
    await Promise.all([node.kill(), servers.killTemporal({ andForget: false })]);
    await asked;

    const next = await servers.startNode();
    for (const id of ids) expect((await deliver(next, id)).body.escrow).toMatchObject({ status: 'delivered' });
    const temporal = await eventually(() => connectClient({ address: servers.temporalAddress, namespace: 'default' }),
      { withinMs: 30_000 });
    try {
      for (const id of ids) await eventually(async () => expect(await viewIn(temporal, id)).toMatchObject({ state: 'delivered',
        version: 2 }), { withinMs: 40_000 });
      for (const id of ids) expect((await next.ask('POST', `/v1/escrow/${id}/confirm`,
        { key: buyer.key })).body.escrow).toMatchObject({ status: 'released' });
      for (const id of ids) await ends(temporal, id);
    } finally {
      await temporal.close();
    }
    for (const id of ids) expect(await topicsOf({ pool }, id)).toEqual(['escrow.open', 'escrow.deliver', 'escrow.confirm']);
    expect((await purse(pool, seller)).available).toBe(usdc('4'));
    await next.booksAreRight({ overdueMs: 60_000 });
  } finally {
    await servers.close();
  }
}, 180_000);

story('without Temporal escrows live on; their workflows learn of it when it is back, and a lost one is not missed', async () => {
  const servers = await startOwnServers({ WORKER_QUEUES: 'escrow' });
  try {
    const { pool, node } = servers;
    const stage = await setStage(node, '100');
    const { buyer, seller } = stage.cast;
    const [known, paid] = [await stage.anEscrow(), await stage.anEscrowIn('delivered')];
    servers.freezeTemporal();
    const quick = async (reply: Promise<Reply>): Promise<string> => {
      const began = Date.now();
      const outcome = stage.outcome(await reply);
      // Less than anybody waits for Temporal.
      expect(Date.now() - began).toBeLessThan(4_000);
      return outcome;
    };
    expect(await quick(stage.step(known, 'deliver', seller))).toBe('200 delivered');
    expect(await quick(stage.step(paid, 'confirm', buyer))).toBe('200 released');
    const made = await stage.create();
    expect(made.status).toBe(201);
    const newborn = made.body.escrow.id as string;
    expect(await quick(stage.step(newborn, 'dispute', buyer))).toBe('200 disputed');
    const overdue = (await stage.create()).body.escrow.id as string;
    await deadlineIn(pool, overdue, -11_000);
    await eventually(async () => expect(await stage.get(overdue)).toMatchObject({ status: 'refunded' }));
    servers.thawTemporal();

    const temporal = await eventually(() => connectClient({ address: servers.temporalAddress, namespace: 'default' }),
      { withinMs: 30_000 });
    const viewOf = (id: string) => viewIn(temporal, id);
    try {
      await eventually(async () => expect((await viewOf(known)).state).toBe('delivered'), { withinMs: 30_000 });
      await eventually(async () => expect((await viewOf(newborn)).state).toBe('disputed'), { withinMs: 30_000 });
      await ends(temporal, paid);
      await eventually(async () => expect((await pool.query('SELECT payment_id FROM workflow_notice')).rows).toEqual([]),
        { withinMs: 30_000 });

      // Killed, and all it knew is gone: the next step brings the workflow back, and the sweeper keeps the time of the one nobody touches.
      await servers.killTemporal({ andForget: true });
      expect(stage.outcome(await stage.step(newborn, 'arbitrate', seller))).toBe('200 arbitrating');
      await deadlineIn(pool, known, -11_000);
      await eventually(async () => expect(await stage.get(known)).toMatchObject({ status: 'released', resolution: 'auto_released' }),
        { withinMs: 20_000 });
      await eventually(async () => expect((await viewOf(newborn)).state).toBe('arbitrating'), { withinMs: 40_000 });
    } finally {
      await temporal.close();
    }
    await node.booksAreRight({ overdueMs: 60_000 });
  } finally {
    await servers.close();
  }
}, 180_000);
