/** Temporal stands still, and nothing of a stream's money waits for it; when it goes on, the workflows hear what has happened. */
import pg from 'pg';
import { connectClient } from '../../temporal/connection.ts';
import { startStack, type Stack } from '../../temporal/stack.ts';
import { usdc } from '../support/market.ts';
import { nodesOn, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { anOpenMultistep } from '../support/multistep.ts';
import { eventually } from '../support/platform-suite.ts';
import { scratchDataDir } from '../support/programs.ts';
import { aStream, step, streamNow } from '../support/streams.ts';

const scratch = scratchDataDir();
let stack: Stack;
let nodes: Nodes;
let node: PlatformNode;
let pool: pg.Pool;

beforeAll(async () => {
  stack = await startStack({ env: { DATA_DIR: scratch.dir, TEMPORAL_NAMESPACE: 'default', TEMPORAL_CLI: process.env['TEMPORAL_CLI'], CACHE_DIR: process.env['CACHE_DIR'] }, notice: () => undefined });
  pool = new pg.Pool({ connectionString: stack.databaseUrl, max: 4 });
  nodes = nodesOn({ databaseUrl: stack.databaseUrl, temporalAddress: stack.temporalAddress, namespace: 'default' }, pool, { WORKER_QUEUES: 'stream,multistep' });
  node = await nodes.start();
}, 120_000);

afterAll(async () => {
  await nodes.close();
  await pool.end();
  await stack.stop();
  scratch.remove();
}, 60_000);

function toTemporal(signal: NodeJS.Signals): void {
  const pid = stack.pids()[1];
  if (pid === undefined) throw new Error('Temporal is not running.');
  process.kill(pid, signal);
}

test('while Temporal stands still streams are opened, ticked, topped up, closed and ended by the clock; afterwards their workflows know', async () => {
  const [running, paused] = [await aStream(node), await aStream(node, { buyer: await node.aTrader('2.00') })];
  toTemporal('SIGSTOP');
  let late;
  try {
    const startedAt = Date.now();
    expect((await step(node, running, 'tick')).status).toBe(200);
    expect((await step(node, running, 'close')).body.stream).toMatchObject({ status: 'closed', spentAmount: '0.100000' });
    expect((await step(node, paused, 'ticks', { count: 10 })).body.paused).toBe(true);
    expect((await step(node, paused, 'top-up', { amount: '1.00' })).body.stream.paused).toBe(false);
    // None of these asks Temporal anything.
    expect(Date.now() - startedAt).toBeLessThan(3_500);
    // What is new gives it a second, and goes on alone.
    for (const open of [() => aStream(node), () => anOpenMultistep(node)]) {
      const openedAt = Date.now();
      await open();
      expect(Date.now() - openedAt).toBeLessThan(3_000);
    }
    late = await aStream(node, { staleTimeoutSecs: 1 });
    expect((await step(node, late, 'tick')).status).toBe(200);
    const silent = late;
    await eventually(async () => expect((await streamNow(node, silent))['status']).toBe('stale_closed'), { withinMs: 30_000 });
    expect((await node.moneyOf(late.seller)).available).toBe(usdc('0.10'));
  } finally {
    toTemporal('SIGCONT');
  }
  const temporal = await connectClient({ address: stack.temporalAddress, namespace: 'default' });
  try {
    await eventually(async () => {
      expect((await temporal.client.workflow.getHandle(running.workflowId).describe()).status.name).toBe('COMPLETED');
      expect(await temporal.client.workflow.getHandle(paused.workflowId).query('surety-view')).toMatchObject({ state: 'open', version: 5 });
      expect((await pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0);
    }, { withinMs: 40_000 });
  } finally {
    await temporal.close();
  }
  await step(node, paused, 'close');
  await node.booksAreRight({ overdueMs: 60_000 });
}, 120_000);
