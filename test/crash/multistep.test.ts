/**
 * A process dies at each point of a multistep escrow; another one is alive. A step is paid once or not at all, the client that asks
 * again with its key hears what happened, the workflow goes on elsewhere, and the books are right.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { paymentCrashPoints, type PaymentCrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { anOpenMultistep, aPlan, confirm, create, moneyIn, read, refund, type OpenMultistep, type Plan } from '../support/multistep.ts';
import { createLanes } from '../support/lanes.ts';
import { createNodes, orGone, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

const { story } = createLanes({ WORKER_QUEUES: 'multistep' });
const worker = { WORKER_QUEUES: 'multistep' };
const tried = new Set<PaymentCrashPoint>();
let connection: Connection;

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

/** What its workflow knows. */
const knows = (place: Place, escrow: OpenMultistep, view: object): Promise<void> =>
  eventually(async () => expect(await workflowOf(place, escrow).query('surety-view')).toMatchObject(view),
    { withinMs: 40_000, everyMs: 250 });

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

/** A database of its own: a process that serves requests and no queue, and workers apart from it. */
async function apart(run: (place: Place) => Promise<void>): Promise<void> {
  const nodes = await createNodes({ WORKER_QUEUES: 'none' });
  try {
    await run({ nodes, front: await nodes.start() });
  } finally {
    await nodes.close();
  }
}

/** Escrows whose workflow was begun by a worker that is gone. */
async function leftByAWorker(place: Place, count: number): Promise<OpenMultistep[]> {
  const first = await place.nodes.startWorker(worker);
  const escrows = await Promise.all(Array.from({ length: count }, () => anOpenMultistep(place.front)));
  for (const escrow of escrows) await knows(place, escrow, { version: 1, state: 'open' });
  await first.kill();
  return escrows;
}

/** A worker that will die at this point. */
function doomedWorker({ nodes }: Place, point: PaymentCrashPoint) {
  tried.add(point);
  return nodes.startWorker({ ...worker, CRASH_AT: point });
}

story('a worker that dies at any of its points leaves nothing undone and nothing done twice once there is another worker',
    () => apart(async (place) => {
  const [committed, answered, nobody] = await leftByAWorker(place, 3);
  if (committed === undefined || answered === undefined || nobody === undefined) throw new Error('Three escrows were made.');
  for (const [escrow, point] of [[committed, 'payment-committed'], [answered, 'payment-answered']] as const) {
    const victim = await doomedWorker(place, point);
    await workflowOf(place, escrow).signal('surety-confirm-step', { stepIndex: 2 });
    await victim.ended;
  }
  // As for a worker that dies before it has begun with a step.
  await workflowOf(place, nobody).signal('surety-confirm-step', { stepIndex: 2 });
  const timekeeper = await doomedWorker(place, 'payment-expired');
  const late = await anOpenMultistep(place.front, undefined, { expiresIn: '1s' });
  await timekeeper.ended;

  await place.nodes.startWorker(worker);
  for (const escrow of [committed, answered, nobody]) {
    // Where the step ran again elsewhere, it was paid once, and not refused as paid before.
    await knows(place, escrow, { version: 2, lastRefusal: null, facts: [{ step: 'open' }, { step: 'confirm-step', paid: '0.300000' }] });
    await workflowOf(place, escrow).signal('surety-refund');
    await ends(place, escrow, { resolution: 'buyer_refund', spentAmount: '0.300000', refundedAmount: '0.300000' });
  }
  await ends(place, late, { resolution: 'expired', refundedAmount: '0.600000' });
}), 180_000);

for (const point of ['payment-committed', 'payment-answered'] as const) {
  story(`the worker dies at ${point} of a step that a request waits for: it is answered, and the step is paid once`,
      () => apart(async (place) => {
    const { front, nodes } = place;
    const [escrow] = await leftByAWorker(place, 1);
    if (escrow === undefined) throw new Error('An escrow was made.');
    await doomedWorker(place, point);
    for (const replayed of [null, 'true']) {
      const { status, body, headers } = await confirm(front, escrow, 1, { key: 'key' });
      expect([status, headers.get('idempotent-replayed'), body.escrow]).toMatchObject([200, replayed, { confirmedSteps: 1 }]);
    }
    expect(await moneyIn(nodes.pool, escrow.sellers[1] ?? escrow.buyer)).toEqual({ available: 200_000, escrowed: 0 });
    await nodes.startWorker(worker);
    await knows(place, escrow, { version: 2, state: 'open' });
    expect((await refund(front, escrow, escrow.buyer, 'back')).status).toBe(200);
    await ends(place, escrow, { spentAmount: '0.200000', refundedAmount: '0.400000' });
  }), 120_000);
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

/** The money of an escrow is held once, and its workflow is started by somebody. */
async function isOpenedOnce(place: Place, plan: Plan): Promise<void> {
  const { nodes, front } = place;
  const again = await create(front, plan, {}, 'make');
  expect(again.status).toBe(201);
  expect(await moneyIn(nodes.pool, plan.buyer)).toEqual({ available: 0, escrowed: 600_000 });
  const { id, workflowId } = again.body.escrow;
  const escrow = { ...plan, id, workflowId };
  await knows(place, escrow, { state: 'open' });
  await refund(front, escrow);
  await ends(place, escrow, { refundedAmount: '0.600000' });
}

for (const point of ['payment-opening', 'payment-committed', 'payment-answered'] as const) {
  story(`a worker that dies at ${point} of an opening has held the money once or not at all, and the request is answered without it`,
      () => apart(async (place) => {
    const [plan, victim] = [await aPlan(place.front), await doomedWorker(place, point)];
    expect((await create(place.front, plan, {}, 'make')).status).toBe(201);
    await victim.ended;
    await place.nodes.startWorker(worker);
    await isOpenedOnce(place, plan);
  }), 120_000);
}

story('a process that dies behind a direct step has taken it once, and the client that asks again with its key hears what happened',
    () => apart(async (place) => {
  tried.add('payment-direct');
  const { front, nodes } = place;
  const victim = () => nodes.start({ CRASH_AT: 'payment-direct' });
  const dies = async (step: (at: PlatformNode) => Promise<Reply>): Promise<Reply> => {
    const doomed = await victim();
    expect(await orGone(step(doomed))).toBe('gone');
    await doomed.ended;
    const again = await step(front);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    return again;
  };
  const plan = await aPlan(front);
  const made = await dies((at) => create(at, plan, {}, 'make'));
  expect([made.status, await moneyIn(nodes.pool, plan.buyer)]).toEqual([201, { available: 0, escrowed: 600_000 }]);
  const escrow: OpenMultistep = { ...plan, id: made.body.escrow.id as string, workflowId: made.body.escrow.workflowId as string };
  const confirmed = await dies((at) => confirm(at, escrow, 1, { key: 'pay' }));
  expect([confirmed.status, confirmed.body.escrow]).toMatchObject([200, { status: 'open', confirmedSteps: 1 }]);
  expect(await moneyIn(nodes.pool, escrow.sellers[1] ?? escrow.buyer)).toEqual({ available: 200_000, escrowed: 0 });
  expect((await dies((at) => refund(at, escrow, escrow.buyer, 'back'))).body.escrow).toMatchObject({ status: 'aborted' });
  await nodes.startWorker(worker);
  await ends(place, escrow, { spentAmount: '0.200000', refundedAmount: '0.400000' });
}), 180_000);

for (const afterMs of [0, 4, 12, 40]) {
  story(`a process that is killed ${afterMs} ms after it was asked has taken the step once or not at all, whichever it was`,
      async ({ nodes, survivor: front }) => {
    const place = { nodes, front };
    const [opening, plan] = [await nodes.start(), await aPlan(front)];
    const made = orGone(create(opening, plan, {}, 'make'));
    await sleep(afterMs);
    await opening.kill();
    await made;
    await isOpenedOnce(place, plan);
    for (const name of ['confirm', 'refund'] as const) {
      const [victim, escrow] = [await nodes.start(), await anOpenMultistep(front)];
      const step = (at: PlatformNode): Promise<Reply> =>
        (name === 'refund' ? refund(at, escrow, escrow.buyer, 'key') : confirm(at, escrow, 1, { key: 'key' }));
      const asked = orGone(step(victim));
      await sleep(afterMs);
      await victim.kill();
      await asked;
      expect((await step(front)).status).toBe(200);
      if (name === 'confirm') {
        expect(await moneyIn(nodes.pool, escrow.sellers[1] ?? escrow.buyer)).toEqual({ available: 200_000, escrowed: 0 });
        await refund(front, escrow);
      }
      await ends(place, escrow, { refundedAmount: name === 'confirm' ? '0.400000' : '0.600000' });
    }
  }, 180_000);
}

test('dies at every point there is', () => expect([...tried].sort()).toEqual([...paymentCrashPoints].sort()));
