/**
 * A process dies at each point of a multistep escrow; another one is alive. A step is paid once or not at all, the client that asks
 * again with its key hears what happened, the workflow goes on elsewhere, and the books are right.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { multistepCrashPoints, type MultistepCrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { anOpenMultistep, aPlan, confirm, create, moneyIn, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createLanes } from '../support/lanes.ts';
import { createNodes, orGone, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

const { story } = createLanes({ WORKER_QUEUES: 'multistep' });
let connection: Connection;

/** Points of the worker; of each two neighbours the second cannot be reached by what the first has left behind. */
const workerPoints = ['multistep-message', 'multistep-due', 'multistep-message-taken',
  'multistep-looked'] as const satisfies readonly MultistepCrashPoint[];
const requestPoints = multistepCrashPoints.filter((point) => !(workerPoints as readonly string[]).includes(point));

beforeAll(async () => {
  connection = await Connection.connect({ address: testServers().temporalAddress });
}, 30_000);
afterAll(() => connection.close(), 30_000);

/** Who is asked, and where the workflows are. */
interface Place {
  readonly nodes: Nodes;
  readonly front: PlatformNode;
}

const workflowOf = ({ nodes }: Place, { workflowId }: { readonly workflowId: string }): WorkflowHandle =>
  new Client({ connection, namespace: nodes.servers.namespace }).workflow.getHandle(workflowId);

async function ends(place: Place, escrow: OpenMultistep,
    expected: { readonly refundedAmount: string } & Record<string, unknown>): Promise<void> {
  const { nodes, front } = place;
  await eventually(async () => expect((await read(front, escrow)).body.escrow).toMatchObject({ status: 'aborted', ...expected }),
    { withinMs: 40_000, everyMs: 200 });
  // The workflow has heard of it as well, and nothing is left to tell.
  await eventually(async () => {
    expect((await nodes.pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [escrow.id])).rowCount).toBe(0);
    expect((await workflowOf(place, escrow).describe()).status.name).toBe('COMPLETED');
  }, { withinMs: 40_000, everyMs: 200 });
  expect(await moneyIn(nodes.pool, escrow.buyer)).toEqual({ available: Number(expected.refundedAmount.replace('.', '')), escrowed: 0 });
  await front.booksAreRight({ overdueMs: 60_000 });
}

/** On a database of its own, since only those who are to die serve multistep escrows at first. */
story('a worker that dies at any of its points leaves nothing undone and nothing done twice once there is another worker', async () => {
  const nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  try {
    const front = await nodes.start({ WORKER_QUEUES: 'none' });
    const place = { nodes, front };
    const left = {} as Record<(typeof workerPoints)[number], OpenMultistep>;
    for (const point of workerPoints) {
      const victim = await nodes.start({ CRASH_AT: point });
      const byMessage = point.startsWith('multistep-message');
      const escrow = await anOpenMultistep(front, undefined, byMessage ? {} : { expiresIn: '1s' });
      left[point] = escrow;
      if (byMessage) await workflowOf(place, escrow).signal('surety-confirm-step', { stepIndex: 2 });
      await victim.ended;
    }
    await nodes.start();
    for (const point of ['multistep-message', 'multistep-message-taken'] as const) {
      // The step ran again elsewhere: it was paid once, and not refused as paid before.
      const escrow = left[point];
      await eventually(async () => expect(await workflowOf(place, escrow).query('surety-view'))
        .toMatchObject({ version: 2, lastRefusal: null }), { withinMs: 40_000, everyMs: 500 });
      await workflowOf(place, escrow).signal('surety-refund');
      await ends(place, escrow, { resolution: 'buyer_refund', spentAmount: '0.300000', refundedAmount: '0.300000' });
    }
    for (const point of ['multistep-due', 'multistep-looked'] as const) await ends(place, left[point],
      { resolution: 'expired', refundedAmount: '0.600000' });
  } finally {
    await nodes.close();
  }
}, 180_000);

/** A way to Temporal that can be cut and mended. */
async function cuttableWay(): Promise<{ address: string; cut(): void; mend(): void; close(): void }> {
  const [host = '', port = ''] = testServers().temporalAddress.split(':');
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((inner) => {
    if (isCut) {
      inner.destroy();
      return;
    }
    const outer = connect(Number(port), host);
    for (const [from, to] of [[inner, outer], [outer, inner]] as const) {
      open.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    isCut = true;
    for (const socket of open) socket.destroy();
    open.clear();
  };
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut, mend: () => { isCut = false; },
    close: () => { cut(); server.close(); } };
}

story('without Temporal every step works, deadlines are kept, and the workflows hear of it when it is back', async () => {
  const [way, nodes] = [await cuttableWay(), await createNodes({ WORKER_QUEUES: 'multistep' })];
  try {
    const node = await nodes.start({ TEMPORAL_ADDRESS: way.address });
    const place = { nodes, front: node };
    const before = await anOpenMultistep(node);
    way.cut();
    expect((await confirm(node, before, 0)).status).toBe(200);
    const during = await anOpenMultistep(node, undefined, { expiresIn: '1s' });
    const kept = await anOpenMultistep(node);
    expect((await confirm(node, kept, 0)).status).toBe(200);
    // Its workflow was never started: the sweeper ends it ten seconds after its deadline.
    await eventually(async () => expect((await read(node, during)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }),
      { withinMs: 30_000, everyMs: 500 });
    expect(await moneyIn(nodes.pool, during.buyer)).toEqual({ available: 600_000, escrowed: 0 });
    way.mend();
    await eventually(async () => expect((await nodes.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0),
      { withinMs: 60_000, everyMs: 500 });
    for (const escrow of [before, kept]) {
      await eventually(async () => expect(await workflowOf(place, escrow).query('surety-view'))
        .toMatchObject({ version: 2, state: 'open' }), { withinMs: 30_000, everyMs: 500 });
      await refund(node, escrow);
      await ends(place, escrow, { spentAmount: '0.100000', refundedAmount: '0.500000' });
    }
  } finally {
    await nodes.close();
    way.close();
  }
}, 180_000);

for (const point of requestPoints) {
  const sentence = 'has taken the step once or not at all, and the client that asks again with its key hears what happened';
  story(`a process that dies at ${point} ${sentence}`, async ({ nodes, survivor: front }) => {
    const place = { nodes, front };
    const victim = await nodes.start({ CRASH_AT: point });
    if (point === 'multistep-held' || point === 'multistep-begun') return diesCreating(place, victim);
    const escrow = await anOpenMultistep(front);
    const step = (at: PlatformNode): Promise<Reply> =>
      (point.endsWith('refund') || point.endsWith('refunded') ? refund(at, escrow, escrow.buyer, 'key')
        : confirm(at, escrow, 1, { key: 'key' }));
    expect(await orGone(step(victim))).toBe('gone');
    const { status, body } = await step(front);
    expect(status).toBe(200);
    if (body.escrow.status === 'open') {
      expect(await moneyIn(nodes.pool, escrow.sellers[1] ?? escrow.buyer)).toEqual({ available: 200_000, escrowed: 0 });
      await refund(front, escrow);
    }
    await ends(place, escrow, { refundedAmount: body.escrow.status === 'open' ? '0.400000' : '0.600000' });
  }, 120_000);
}

/** The money of an escrow is held once, and its workflow is started by somebody. */
async function diesCreating(place: Place, victim: PlatformNode): Promise<void> {
  const { nodes, front } = place;
  const plan = await aPlan(front);
  expect(await orGone(create(victim, plan, {}, 'make'))).toBe('gone');
  const again = await create(front, plan, {}, 'make');
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([201, 'true']);
  expect(await moneyIn(nodes.pool, plan.buyer)).toEqual({ available: 0, escrowed: 600_000 });
  const { id, workflowId } = again.body.escrow;
  const escrow = { ...plan, id, workflowId };
  await eventually(async () => expect(await workflowOf(place, escrow).query('surety-view')).toMatchObject({ state: 'open' }),
    { withinMs: 30_000, everyMs: 200 });
  await refund(front, escrow);
  await ends(place, escrow, { refundedAmount: '0.600000' });
}
