/** Steps that come by message are taken once each, however often and in whatever order their handlers run. */
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { anOpenMultistep, read, type OpenMultistep } from '../support/multistep.ts';
import { createNodes } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

let connection: Connection;
beforeAll(async () => {
  connection = await Connection.connect({ address: testServers().temporalAddress });
}, 30_000);
afterAll(() => connection.close(), 30_000);

const refusalOf = (answer: Promise<unknown>): Promise<unknown> => answer.then(() => 'no refusal', (error: unknown) => {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return (inner as { type?: string }).type;
});

test('a worker dies behind a confirmed step, and another message comes before the next attempt: both steps are paid', async () => {
  const nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  try {
    const front = await nodes.start({ WORKER_QUEUES: 'none' });
    const first = await nodes.startWorker();
    const escrow = await anOpenMultistep(front);
    const handle = handleOf(escrow, nodes.servers.namespace);
    await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ version: 1 }), { withinMs: 20_000 });
    await first.kill();
    const victim = await nodes.startWorker({ CRASH_AT: 'payment-committed' });
    // The first attempt knows only the update. It has paid step 0 when its worker dies, and history knows nothing of it.
    const answer = handle.executeUpdate('surety-confirm-step', { updateId: 'first', args: [{ stepIndex: 0 }] });
    answer.catch(() => undefined);
    await victim.ended;
    // The second attempt finds a signal in the history, whose handler runs before that of the update.
    await handle.signal('surety-confirm-step', { stepIndex: 1 });
    await nodes.start();
    await eventually(async () => expect((await read(front, escrow)).body.escrow)
      .toMatchObject({ confirmedSteps: 2, spentAmount: '0.300000' }), { withinMs: 40_000, everyMs: 250 });
    await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ version: 3, lastRefusal: null }),
      { withinMs: 20_000 });
    await front.booksAreRight({ overdueMs: 60_000 });
  } finally {
    await nodes.close();
  }
}, 120_000);

test('the same update id takes a step once, even in a workflow that was lost and started anew; for another step it is refused',
    async () => {
  const nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  try {
    const node = await nodes.start();
    const escrow = await anOpenMultistep(node);
    const handle = handleOf(escrow, nodes.servers.namespace);
    const confirm = (updateId: string, stepIndex: number): Promise<unknown> =>
      handle.executeUpdate('surety-confirm-step', { updateId, args: [{ stepIndex }] });
    expect(await confirm('one', 0)).toMatchObject({ version: 2 });
    expect(await confirm('one', 0)).toMatchObject({ version: 2 });
    await handle.terminate('lost');
    // The next change brings the workflow back.
    await node.ask('POST', `/v1/escrow/multistep/${escrow.id}/confirm-step`, {
      key: escrow.buyer.key, body: { stepIndex: 2, sellerAddr: escrow.sellers[2]?.address, amount: escrow.amounts[2] },
    });
    await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ version: 3 }));
    expect(await confirm('one', 0)).toMatchObject({ version: 3 });
    expect(await refusalOf(confirm('two', 0))).toBe('duplicate_step');
    expect((await read(node, escrow)).body.escrow).toMatchObject({ confirmedSteps: 2, spentAmount: '0.400000' });
    await handle.terminate('lost again');
    await nodes.pool.query(`INSERT INTO workflow_notice (payment_id, kind, version) VALUES ($1, 'multistep', 3)`, [escrow.id]);
    await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'), { withinMs: 20_000 });
    expect(await refusalOf(confirm('one', 1))).toBe('idempotency_mismatch');
    expect((await read(node, escrow)).body.escrow).toMatchObject({ confirmedSteps: 2 });
  } finally {
    await nodes.close();
  }
}, 90_000);

function handleOf({ workflowId }: OpenMultistep, namespace: string): WorkflowHandle {
  return new Client({ connection, namespace }).workflow.getHandle(workflowId);
}
