/**
 * Processes die under ticks, and at each point of a stream's life. Every tick that was answered is there once, the numbers have no gap,
 * and the end pays exactly what was ticked.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { streamCrashPoints } from '../../platform/crash.ts';
import { connectClient } from '../../temporal/connection.ts';
import type { Reply } from '../support/app.ts';
import { usdc } from '../support/market.ts';
import { createNodes, orGone, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { aStream, eventsOf, seqsOf, step, upTo, type OpenedStream } from '../support/streams.ts';

let nodes: Nodes;
/** Stays alive all the time. */
let survivor: PlatformNode;

beforeAll(async () => {
  nodes = await createNodes({ WORKER_QUEUES: 'stream' });
  survivor = await nodes.start();
}, 90_000);
afterAll(async () => {
  await nodes.close();
}, 30_000);


/** Ticks as a careful meter does: with numbers, and when an answer was lost the same number again, at whoever is there. */
async function meter(stream: OpenedStream, ticks: number, at: () => PlatformNode): Promise<Map<number, string>> {
  const counted = new Map<number, string>();
  for (let seq = 1; seq <= ticks; ) {
    const reply = await orGone(step(at(), stream, 'tick', { seq, metadata: `unit ${seq}` },
      { by: seq % 2 === 0 ? stream.buyer : stream.seller }));
    if (reply === 'gone' || reply.status === 503) {
      await sleep(20);
      continue;
    }
    const tick = reply.status === 200 ? reply.body.tick : reply.body.recordedTick;
    expect([reply.status, tick?.seq, tick?.metadata]).toEqual([expect.any(Number), seq, `unit ${seq}`]);
    counted.set(seq, tick.id as string);
    seq += 1;
  }
  return counted;
}

test('a process killed under the ticks of sixteen meters: every answered tick is counted once, none is lost, none is doubled', async () => {
  const doomed = await nodes.start();
  const streams = await Promise.all(Array.from({ length: 16 }, () => aStream(doomed, { holdAmount: '1.00', pricePerTick: '0.001' })));
  let alive = doomed;
  const meters = streams.map((stream) => meter(stream, 60, () => alive));
  const before = await eventually(async () => {
    const { rows: [row] } = await nodes.pool.query<{ ticks: string }>('SELECT count(*) AS ticks FROM stream_tick');
    expect(Number(row?.ticks)).toBeGreaterThan(100);
    return Number(row?.ticks);
  }, { everyMs: 10 });
  const killed = doomed.kill();
  alive = survivor;
  await killed;
  // It died in the middle, not after.
  expect(before).toBeLessThan(16 * 60);
  const counted = await Promise.all(meters);
  for (const [n, stream] of streams.entries()) {
    expect(await seqsOf(survivor, stream)).toEqual(upTo(60));
    expect(new Set(counted[n]?.values()).size).toBe(60);
    expect((await step(survivor, stream, 'close')).status).toBe(200);
    expect((await survivor.moneyOf(stream.seller)).available).toBe(usdc('0.06'));
    expect(await survivor.moneyOf(stream.buyer)).toEqual({ available: usdc('0.94'), pending: 0n });
  }
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

/** Processes that serve requests and no queue, so that each takes its steps itself, and workers apart from them. */
async function apart(run: (nodes: Nodes, desk: PlatformNode) => Promise<void>): Promise<void> {
  const others = await createNodes({ WORKER_QUEUES: 'none' });
  try {
    await run(others, await others.start());
  } finally {
    await others.close();
  }
}

/** What a process does last. A step that is in the books and that nobody knows of is a point of all payments. */
const deaths = [['open', 'payment-direct'], ['tick', streamCrashPoints[0]], ['close', 'payment-direct']] as const;

test.each(deaths)('a process that dies right after the %s leaves a stream that goes on and is kept by its workflow', (last, point) =>
  apart(async (others, desk) => {
    const doomed = await others.start({ CRASH_AT: point });
    const [buyer, seller] = [await desk.aTrader('1.00'), await desk.aTrader()];
    const open = (at: PlatformNode): Promise<Reply> => at.ask('POST', '/v1/streams', {
      key: buyer.key, headers: { 'idempotency-key': 'open' },
      body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount: '1.00', pricePerTick: '0.10' },
    });
    const opened = await orGone(open(last === 'open' ? doomed : desk));
    expect(opened === 'gone').toBe(last === 'open');
    // Asking again with the same key finds the stream that is there.
    const { status, body } = await open(desk);
    expect(status).toBe(201);
    const stream: OpenedStream = { id: body.stream.id, workflowId: body.stream.workflowId, buyer, seller };
    expect(await desk.moneyOf(buyer)).toEqual({ available: 0n, pending: usdc('1.00') });

    const ticked = await orGone(step(last === 'tick' ? doomed : desk, stream, 'tick', { seq: 1 }));
    expect(ticked === 'gone').toBe(last === 'tick');
    expect((await step(desk, stream, 'tick', { seq: 1 })).body)
      .toMatchObject({ error: 'sequence_mismatch', expectedSeq: 2, recordedTick: { seq: 1 } });

    const closed = await orGone(step(last === 'close' ? doomed : desk, stream, 'close', {}, { key: 'close' }));
    expect(closed === 'gone').toBe(last === 'close');
    await doomed.ended;
    expect((await step(desk, stream, 'close', {}, { key: 'close' })).body.stream).toMatchObject({ status: 'closed', tickCount: 1 });
    expect((await desk.moneyOf(seller)).available).toBe(usdc('0.10'));

    // Whatever the dead process had still to tell, somebody tells; the start and the update that nobody took find what was done.
    await others.startWorker({ WORKER_QUEUES: 'stream' });
    const temporal = await connectClient(others.temporal);
    try {
      expect(await temporal.client.workflow.getHandle(stream.workflowId).result())
        .toMatchObject({ state: 'closed', paid: [{ to: seller.address, amount: '0.100000' }], returned: '0.900000' });
    } finally {
      await temporal.close();
    }
    expect(await eventsOf(others.pool, stream)).toEqual(['open', 'close']);
    await eventually(async () => expect((await others.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0), { withinMs: 30_000 });
    await desk.booksAreRight({ overdueMs: 60_000 });
  }), 90_000);

test('a stream whose process died right after opening it is ended in time by a workflow that somebody else started', () =>
  apart(async (others, desk) => {
    const doomed = await others.start({ CRASH_AT: 'payment-direct' });
    await expect(aStream(doomed, { staleTimeoutSecs: 6 })).rejects.toThrow();
    await doomed.ended;
    const { rows: [row] } = await others.pool.query<{ id: string }>(`SELECT id FROM payment WHERE kind = 'stream' AND state = 'open'`);
    await others.startWorker({ WORKER_QUEUES: 'stream' });
    await eventually(async () => {
      const { rows } = await others.pool.query<{ state: string }>('SELECT state FROM payment WHERE id = $1', [row?.id]);
      expect(rows[0]?.state).toBe('stale_closed');
    }, { withinMs: 25_000 });
    await desk.booksAreRight({ overdueMs: 60_000 });
  }), 90_000);
