/**
 * A process dies in the middle of an escrow, or Temporal does not answer. Whatever was done is done once, whoever asks again with its
 * key gets the answer, the workflow learns of it later, and the clock is kept by those who are left.
 */
import { connectClient } from '../../temporal/connection.ts';
import { escrowCrashPoints, type EscrowCrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { deadlineIn, purse, setStage } from '../support/escrows.ts';
import { createLanes, type Lane } from '../support/lanes.ts';
import { usdc } from '../support/market.ts';
import { orGone, type PlatformNode } from '../support/nodes.ts';
import { startOwnServers } from '../support/own-servers.ts';
import { eventually } from '../support/platform-suite.ts';

const workflowOf = (id: string): string => `escrow-${id}`;

const { story } = createLanes({ WORKER_QUEUES: 'escrow' });
type Temporal = Awaited<ReturnType<typeof connectClient>>;
const viewIn = (temporal: Temporal, id: string) => temporal.client.workflow.getHandle(workflowOf(id)).query<{ state: string; version: number; lastRefusal: string | null }>('surety-view');

describe('a process that dies', () => {
  const tried = new Set<EscrowCrashPoint>();
  const clients: Temporal[] = [];
  afterAll(() => Promise.all(clients.map((client) => client.close())));

  /** Parties of its own, a process that will die at this point, and a view of the workflows. */
  async function setScene({ nodes, survivor }: Lane, point: EscrowCrashPoint) {
    tried.add(point);
    const [stage, temporal, doomed] = [await setStage(survivor, '100'), await connectClient(nodes.temporal), await nodes.start({ CRASH_AT: point })];
    clients.push(temporal);
    const viewOf = (id: string) => viewIn(temporal, id);
    /** An escrow made by the process that is going to die, so that its workflow lives there too. */
    const makeAt = async (terms: object = {}): Promise<string> => {
      const { buyer, seller } = stage.cast;
      const { body, text } = await doomed.ask('POST', '/v1/escrow', { key: buyer.key, body: { buyerAddr: buyer.address, sellerAddr: seller.address, amount: '1', ...terms } });
      if (body.escrow === undefined) throw new Error(text);
      return body.escrow.id as string;
    };
    return { nodes, survivor, stage, temporal, doomed, viewOf, makeAt };
  }

  story('after the money was held and before the workflow was started: the same key finds the escrow, and it gets its workflow', async (lane) => {
    const { nodes, survivor, stage, doomed, viewOf } = await setScene(lane, 'escrow-created');
    const { buyer, seller } = stage.cast;
    const before = await purse(nodes.pool, buyer);
    const make = (node: PlatformNode) => node.ask('POST', '/v1/escrow', {
      key: buyer.key, headers: { 'idempotency-key': 'make' }, body: { buyerAddr: buyer.address, sellerAddr: seller.address, amount: '1' },
    });
    expect(await orGone(make(doomed))).toBe('gone');
    await doomed.ended;
    const again = await make(survivor);
    expect([again.status, again.headers.get('idempotent-replayed'), again.body.escrow.status]).toEqual([201, 'true', 'pending']);
    const after = await purse(nodes.pool, buyer);
    expect([before.available - after.available, after.escrowed - before.escrowed]).toEqual([usdc('1'), usdc('1')]);
    await eventually(async () => expect(await viewOf(again.body.escrow.id)).toMatchObject({ state: 'pending' }), { withinMs: 20_000 });
    expect(stage.outcome(await stage.step(again.body.escrow.id, 'confirm', buyer))).toBe('200 released');
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 90_000);

  story('after the seller was paid and before anybody was told: the same key gets the answer, the seller is paid once, the workflow ends', async (lane) => {
    const { nodes, survivor, stage, temporal, doomed } = await setScene(lane, 'escrow-moved');
    const { buyer, seller } = stage.cast;
    const id = await stage.anEscrow();
    const paid = (await purse(nodes.pool, seller)).available;
    const confirm = (node: PlatformNode) => node.ask('POST', `/v1/escrow/${id}/confirm`, { key: buyer.key, headers: { 'idempotency-key': 'pay' } });
    expect(await orGone(confirm(doomed))).toBe('gone');
    await doomed.ended;
    const again = await confirm(survivor);
    expect([again.status, again.headers.get('idempotent-replayed'), again.body.escrow.status]).toEqual([200, 'true', 'released']);
    expect((await purse(nodes.pool, seller)).available - paid).toBe(usdc('1'));
    await eventually(async () => expect((await temporal.client.workflow.getHandle(workflowOf(id)).describe()).status.name).toBe('COMPLETED'), { withinMs: 20_000 });
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 90_000);

  story('in the middle of a step that came by signal: the step is not taken twice, and not refused because it was done', async (lane) => {
    const { nodes, survivor, temporal, doomed, viewOf, makeAt } = await setScene(lane, 'escrow-moved');
    const id = await makeAt();
    await temporal.client.workflow.getHandle(workflowOf(id)).signal('surety-deliver');
    await doomed.ended;
    await eventually(async () => expect(await viewOf(id)).toMatchObject({ state: 'delivered', version: 2, lastRefusal: null }), { withinMs: 30_000 });
    const { rows } = await nodes.pool.query(`SELECT topic FROM outbox WHERE ref = $1 AND topic NOT LIKE 'call.%' ORDER BY id`, [id]);
    expect(rows).toEqual([{ topic: 'escrow.created' }, { topic: 'escrow.delivered' }]);
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 90_000);

  story('after the clock gave the money back: it is not given back twice, and every other escrow whose time is up is ended by those who are left', async (lane) => {
    const { nodes, survivor, stage, temporal, doomed, makeAt } = await setScene(lane, 'escrow-looked');
    const before = await purse(nodes.pool, stage.cast.buyer);
    const ids = await Promise.all(Array.from({ length: 6 }, () => makeAt({ autoRelease: '3s' })));
    await doomed.ended;
    for (const id of ids) {
      await eventually(async () => expect(await stage.get(id)).toMatchObject({ status: 'refunded', resolution: 'delivery_expired' }), { withinMs: 30_000 });
      await eventually(async () => expect((await temporal.client.workflow.getHandle(workflowOf(id)).describe()).status.name).toBe('COMPLETED'), { withinMs: 30_000 });
    }
    expect(await purse(nodes.pool, stage.cast.buyer)).toEqual(before);
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 90_000);

  test('dies at every point there is', () => expect([...tried].sort()).toEqual([...escrowCrashPoints].sort()));
});

story('without Temporal escrows are made, delivered, disputed, ruled and confirmed; their workflows learn of it when it is back, and a lost one is not missed', async () => {
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

    const temporal = await eventually(() => connectClient({ address: servers.temporalAddress, namespace: 'default' }), { withinMs: 30_000 });
    const viewOf = (id: string) => viewIn(temporal, id);
    try {
      await eventually(async () => expect((await viewOf(known)).state).toBe('delivered'), { withinMs: 30_000 });
      await eventually(async () => expect((await viewOf(newborn)).state).toBe('disputed'), { withinMs: 30_000 });
      await eventually(async () => expect((await temporal.client.workflow.getHandle(workflowOf(paid)).describe()).status.name).toBe('COMPLETED'), { withinMs: 30_000 });
      await eventually(async () => expect((await pool.query('SELECT payment_id FROM workflow_notice')).rows).toEqual([]), { withinMs: 30_000 });

      // Killed, and all it knew is gone: the next step brings the workflow back, and the sweeper keeps the time of the one nobody touches.
      await servers.killTemporal({ andForget: true });
      expect(stage.outcome(await stage.step(newborn, 'arbitrate', seller))).toBe('200 arbitrating');
      await deadlineIn(pool, known, -11_000);
      await eventually(async () => expect(await stage.get(known)).toMatchObject({ status: 'released', resolution: 'auto_released' }), { withinMs: 20_000 });
      await eventually(async () => expect((await viewOf(newborn)).state).toBe('arbitrating'), { withinMs: 40_000 });
    } finally {
      await temporal.close();
    }
    await node.booksAreRight({ overdueMs: 60_000 });
  } finally {
    await servers.close();
  }
}, 180_000);
