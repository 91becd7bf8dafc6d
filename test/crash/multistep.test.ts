/**
 * A process dies at each point of a multistep escrow; another one is alive. A step is paid once or not at all, the client that asks
 * again with its key hears what happened, the workflow goes on elsewhere, and the books are right.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { multistepCrashPoints, type MultistepCrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { anOpenMultistep, aPlan, confirm, create, moneyIn, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createNodes, orGone, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

let nodes: Nodes;
/** Stays alive all the time and answers HTTP, but serves no multistep escrow: at first only those who are to die do. */
let front: PlatformNode;
let connection: Connection;
/** The next process to die is started while the last one is being mourned. */
const doomed = new Map<MultistepCrashPoint, Promise<PlatformNode>>();

/** Points of the worker; of each two neighbours the second cannot be reached by what the first has left behind. */
const workerPoints = ['multistep-message', 'multistep-due', 'multistep-message-taken', 'multistep-looked'] as const satisfies readonly MultistepCrashPoint[];
const requestPoints = multistepCrashPoints.filter((point) => !(workerPoints as readonly string[]).includes(point));

beforeAll(async () => {
  nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  front = await nodes.start({ WORKER_QUEUES: 'gateway' });
  connection = await Connection.connect({ address: testServers().temporalAddress });
}, 90_000);

afterAll(async () => {
  await connection.close();
  await nodes.close();
}, 30_000);

function prepare(point: MultistepCrashPoint | undefined): Promise<PlatformNode> | undefined {
  if (point === undefined || doomed.has(point)) return doomed.get(point ?? 'multistep-held');
  const started = nodes.start({ CRASH_AT: point });
  // Whoever waits for it will hear of a failure.
  started.catch(() => undefined);
  doomed.set(point, started);
  return started;
}

const workflowOf = ({ workflowId }: { readonly workflowId: string }): WorkflowHandle => new Client({ connection, namespace: nodes.servers.namespace }).workflow.getHandle(workflowId);

async function ends(escrow: OpenMultistep, expected: { readonly refundedAmount: string } & Record<string, unknown>): Promise<void> {
  await eventually(async () => expect((await read(front, escrow)).body.escrow).toMatchObject({ status: 'aborted', ...expected }), { withinMs: 40_000, everyMs: 200 });
  // The workflow has heard of it as well, and nothing is left to tell.
  await eventually(async () => {
    expect((await nodes.pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [escrow.id])).rowCount).toBe(0);
    expect((await workflowOf(escrow).describe()).status.name).toBe('COMPLETED');
  }, { withinMs: 40_000, everyMs: 200 });
  expect(await moneyIn(nodes.pool, escrow.buyer)).toEqual({ available: Number(expected.refundedAmount.replace('.', '')), escrowed: 0 });
  await front.booksAreRight({ overdueMs: 60_000 });
}

describe('a worker that dies', () => {
  const escrows = new Map<string, OpenMultistep>();
  const left = (point: (typeof workerPoints)[number]): OpenMultistep => {
    const escrow = escrows.get(point);
    if (escrow === undefined) throw new Error(`No process has died at ${point}.`);
    return escrow;
  };

  test.each(workerPoints)('at %s', async (point) => {
    const victim = await nodes.start({ CRASH_AT: point });
    const byMessage = point.startsWith('multistep-message');
    const escrow = await anOpenMultistep(front, undefined, byMessage ? {} : { expiresIn: '1s' });
    escrows.set(point, escrow);
    if (byMessage) await workflowOf(escrow).signal('surety-confirm-step', { stepIndex: 2 });
    await victim.ended;
  }, 60_000);

  test('leaves nothing undone and nothing done twice once there is another worker', async () => {
    await nodes.start();
    for (const point of ['multistep-message', 'multistep-message-taken'] as const) {
      // The step ran again elsewhere: it was paid once, and not refused as paid before.
      const escrow = left(point);
      await eventually(async () => expect(await workflowOf(escrow).query('surety-view')).toMatchObject({ version: 2, lastRefusal: null }), { withinMs: 40_000, everyMs: 500 });
      await workflowOf(escrow).signal('surety-refund');
      await ends(escrow, { resolution: 'buyer_refund', spentAmount: '0.300000', refundedAmount: '0.300000' });
    }
    for (const point of ['multistep-due', 'multistep-looked'] as const) await ends(left(point), { resolution: 'expired', refundedAmount: '0.600000' });
  }, 120_000);
});

describe.each(requestPoints)('a process that dies at %s', (point) => {
  test('has taken the step once or not at all, and the client that asks again with its key hears what happened', async () => {
    const victim = await prepare(point);
    if (victim === undefined) throw new Error(`No process for ${point}.`);
    void prepare(requestPoints[requestPoints.indexOf(point) + 1]);
    if (point === 'multistep-held' || point === 'multistep-begun') return diesCreating(victim);
    const escrow = await anOpenMultistep(front);
    const step = (at: PlatformNode): Promise<Reply> =>
      (point.endsWith('refund') || point.endsWith('refunded') ? refund(at, escrow, escrow.buyer, 'key') : confirm(at, escrow, 1, { key: 'key' }));
    expect(await orGone(step(victim))).toBe('gone');
    const { status, body } = await step(front);
    expect(status).toBe(200);
    if (body.escrow.status === 'open') {
      expect(await moneyIn(nodes.pool, escrow.sellers[1] ?? escrow.buyer)).toEqual({ available: 200_000, escrowed: 0 });
      await refund(front, escrow);
    }
    await ends(escrow, { refundedAmount: body.escrow.status === 'open' ? '0.400000' : '0.600000' });
  }, 120_000);
});

/** The money of an escrow is held once, and its workflow is started by somebody. */
async function diesCreating(victim: PlatformNode): Promise<void> {
  const plan = await aPlan(front);
  expect(await orGone(create(victim, plan, {}, 'make'))).toBe('gone');
  const again = await create(front, plan, {}, 'make');
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([201, 'true']);
  expect(await moneyIn(nodes.pool, plan.buyer)).toEqual({ available: 0, escrowed: 600_000 });
  const { id, workflowId } = again.body.escrow;
  const escrow = { ...plan, id, workflowId };
  await eventually(async () => expect(await workflowOf(escrow).query('surety-view')).toMatchObject({ state: 'open' }), { withinMs: 30_000, everyMs: 200 });
  await refund(front, escrow);
  await ends(escrow, { refundedAmount: '0.600000' });
}

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
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut, mend: () => { isCut = false; }, close: () => { cut(); server.close(); } };
}

test('without Temporal every step works, deadlines are kept, and the workflows hear of it when it is back', async () => {
  const way = await cuttableWay();
  try {
    const node = await nodes.start({ TEMPORAL_ADDRESS: way.address });
    const before = await anOpenMultistep(node);
    way.cut();
    expect((await confirm(node, before, 0)).status).toBe(200);
    const during = await anOpenMultistep(node, undefined, { expiresIn: '1s' });
    const kept = await anOpenMultistep(node);
    expect((await confirm(node, kept, 0)).status).toBe(200);
    // Its workflow was never started: the sweeper ends it ten seconds after its deadline.
    await eventually(async () => expect((await read(node, during)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }), { withinMs: 30_000, everyMs: 500 });
    expect(await moneyIn(nodes.pool, during.buyer)).toEqual({ available: 600_000, escrowed: 0 });
    way.mend();
    await eventually(async () => expect((await nodes.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0), { withinMs: 60_000, everyMs: 500 });
    for (const escrow of [before, kept]) {
      await eventually(async () => expect(await workflowOf(escrow).query('surety-view')).toMatchObject({ version: 2, state: 'open' }), { withinMs: 30_000, everyMs: 500 });
      await refund(node, escrow);
      await ends(escrow, { spentAmount: '0.100000', refundedAmount: '0.500000' });
    }
    await node.kill();
  } finally {
    way.close();
  }
}, 180_000);
