/** Temporal stands still, and nothing of a stream's money waits for it; when it goes on, the workflows hear what has happened. */
import { connectClient } from '../../temporal/connection.ts';
import { usdc } from '../support/market.ts';
import { anOpenMultistep } from '../support/multistep.ts';
import { startOwnServers, type OwnServers } from '../support/own-servers.ts';
import { eventually } from '../support/platform-suite.ts';
import { aStream, step, streamNow } from '../support/streams.ts';

let servers: OwnServers;
beforeAll(async () => {
  servers = await startOwnServers({ WORKER_QUEUES: 'stream,multistep' });
}, 120_000);
afterAll(() => servers.close(), 60_000);

test('while Temporal stands still streams are opened, ticked, topped up, closed and ended by the clock; afterwards their workflows know',
    async () => {
  const { node, pool, temporalAddress } = servers;
  const [running, paused] = [await aStream(node), await aStream(node, { buyer: await node.aTrader('2.00') })];
  servers.freezeTemporal();
  let late;
  try {
    const startedAt = Date.now();
    expect((await step(node, running, 'tick')).status).toBe(200);
    expect((await step(node, running, 'close')).body.stream).toMatchObject({ status: 'closed', spentAmount: '0.100000' });
    expect((await step(node, paused, 'ticks', { count: 10 })).body.paused).toBe(true);
    expect((await step(node, paused, 'top-up', { amount: '1.00' })).body.stream.paused).toBe(false);
    // None of these asks Temporal anything.
    expect(Date.now() - startedAt).toBeLessThan(4_000);
    // What is new gives it a second, and goes on alone.
    for (const open of [() => aStream(node), () => anOpenMultistep(node)]) {
      const openedAt = Date.now();
      await open();
      expect(Date.now() - openedAt).toBeLessThan(4_000);
    }
    late = await aStream(node, { staleTimeoutSecs: 1 });
    expect((await step(node, late, 'tick')).status).toBe(200);
    const silent = late;
    await eventually(async () => expect((await streamNow(node, silent))['status']).toBe('stale_closed'), { withinMs: 30_000 });
    expect((await node.moneyOf(late.seller)).available).toBe(usdc('0.10'));
  } finally {
    servers.thawTemporal();
  }
  const temporal = await connectClient({ address: temporalAddress, namespace: 'default' });
  try {
    await eventually(async () => {
      expect((await temporal.client.workflow.getHandle(running.workflowId).describe()).status.name).toBe('COMPLETED');
      expect(await temporal.client.workflow.getHandle(paused.workflowId).query('surety-view')).toMatchObject({ state: 'open', version: 2 });
      expect((await pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0);
    }, { withinMs: 40_000 });
  } finally {
    await temporal.close();
  }
  await step(node, paused, 'close');
  await node.booksAreRight({ overdueMs: 60_000 });
}, 120_000);
