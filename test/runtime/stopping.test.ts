/** A process that is asked to stop: it begins nothing more, answers what it has accepted if it can, and is gone in time. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { connectClient } from '../../temporal/connection.ts';
import { taskQueues } from '../../workflows/contracts/ids.ts';
import { createNodes, orGone, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';

let nodes: Nodes;
const sellers: Seller[] = [];
beforeAll(async () => {
  nodes = await createNodes({ SELLER_TIMEOUT: '60s', REQUEST_TIMEOUT: '70s' });
}, 30_000);
afterAll(async () => {
  await Promise.all(sellers.map((seller) => seller.close()));
  await nodes.close();
}, 30_000);

/** Buys of a seller that behaves so; resolves when the seller has been asked. */
async function aCallUnderWay(node: PlatformNode, behaviour: Behaviour): Promise<{ reply: ReturnType<PlatformNode['buyOnce']> }> {
  const seller = await startSeller('Slow', behaviour);
  sellers.push(seller);
  const type = `slow-${randomBytes(4).toString('hex')}`;
  await node.offers(seller, { serviceType: type });
  const buyer = await node.aTrader('5.00');
  const reply = node.buyOnce(buyer, { serviceType: type, maxPrice: '1.00' });
  const early = orGone(reply).then((answer) => { throw new Error(`It was answered at once: ${JSON.stringify(answer)}`); });
  await Promise.race([early, eventually(async () => expect(seller.requests.length).toBe(1))]);
  early.catch(() => undefined);
  return { reply };
}

test('it takes no further task from its queues while it answers what it has accepted; another process gets them at once', async () => {
  const [stopping, other] = [await nodes.start({ DRAIN_DEADLINE: '15s' }), await nodes.start()];
  const { reply } = await aCallUnderWay(stopping, { kind: 'slow', ms: 8_000 });
  stopping.send('SIGTERM');
  await eventually(async () => expect((await stopping.ask('GET', '/health/ready')).status).toBe(503));
  const { client, close } = await connectClient(nodes.temporal);
  try {
    const doneBy: string[] = [];
    const begunAt = Date.now();
    for (let n = 0; n < 12; n += 1) {
      const handle = await client.workflow.start('gatewayCalls',
        { workflowId: `after-sigterm-${n}`, taskQueue: taskQueues.gateway, args: [{ callIds: ['call_that_is_not_there'] }] });
      await handle.result();
      const { events } = await handle.fetchHistory();
      doneBy.push(...(events ?? []).flatMap(({ workflowTaskCompletedEventAttributes: done }) => done?.identity?.split('@')[0] ?? []));
    }
    // A task that is handed to a process which does not take it comes back after ten seconds.
    expect(Date.now() - begunAt).toBeLessThan(9_500);
    expect(new Set(doneBy)).toEqual(new Set([String(other.pid)]));
  } finally {
    await close();
  }
  expect((await reply).status).toBe(200);
  expect(await stopping.ended).toBe(0);
}, 120_000);

test('with a seller that never answers it is gone within STOP_DEADLINE, all stages together', async () => {
  const node = await nodes.start({ DRAIN_DEADLINE: '4s', STOP_DEADLINE: '8s' });
  const { reply } = await aCallUnderWay(node, { kind: 'hang' });
  const askedAt = Date.now();
  node.send('SIGTERM');
  expect(await node.ended).toBe(0);
  expect(Date.now() - askedAt).toBeLessThan(8_000);
  expect(await orGone(reply)).toBe('gone');
}, 120_000);
