/** Two things at the same moment: one of them is first, and the money and the numbers know which. */
import { setTimeout as sleep } from 'node:timers/promises';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';
import { aStream, seqsOf, silent, step, streamNow, upTo } from '../support/streams.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });
const adminSecret = 'a-secret-for-tests';

test('of two ticks with one number, one is counted and the other is told', async () => {
  const stream = await aStream(platform(), { holdAmount: '10.00' });
  for (let seq = 1; seq <= 10; seq += 1) {
    const [one, two] = await Promise.all([step(platform(), stream, 'tick', { seq, metadata: 'one' }),
      step(platform(), stream, 'tick', { seq, metadata: 'two' }, { by: stream.seller })]);
    expect([one.status, two.status].sort()).toEqual([200, 409]);
    const [won, lost] = one.status === 200 ? [one, two] : [two, one];
    expect(lost.body).toMatchObject({ error: 'sequence_mismatch', expectedSeq: seq + 1,
      recordedTick: { id: won.body.tick.id, metadata: won.body.tick.metadata } });
  }
  expect(await seqsOf(platform(), stream)).toEqual(upTo(10));
});

test('fifty ticks at once on a deposit for ten: exactly ten are counted', async () => {
  const stream = await aStream(platform(), { holdAmount: '1.00', pricePerTick: '0.10' });
  const replies = await Promise.all(Array.from({ length: 50 },
    (_, n) => step(platform(), stream, 'tick', {}, { by: n % 2 === 0 ? stream.buyer : stream.seller })));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(10);
  expect(replies.filter(({ status }) => status === 402)).toHaveLength(40);
  expect(new Set(replies.flatMap(({ body }) => (body.tick === undefined ? [] : [body.tick.seq]))).size).toBe(10);
  expect(await streamNow(platform(), stream)).toMatchObject({ tickCount: 10, spentAmount: '1.000000', paused: true });
});

test.each([1, 2, 3])('ticks against a close: every counted tick is paid, none is counted afterwards (round %s)', async () => {
  const stream = await aStream(platform(), { holdAmount: '10.00', pricePerTick: '0.01' });
  const ticks = Array.from({ length: 60 },
    (_, n) => sleep(n).then(() => (n % 6 === 0 ? step(platform(), stream, 'ticks', { count: 5 }) : step(platform(), stream, 'tick'))));
  const closed = sleep(30).then(() => step(platform(), stream, 'close', {}, { by: stream.seller }));
  const replies = await Promise.all(ticks);
  const { body } = await closed;
  const counted = replies.filter(({ status }) => status === 200)
    .reduce((sum, reply) => sum + ((reply.body.accepted as number | undefined) ?? 1), 0);
  for (const { status, body: refused } of replies) if (status !== 200) expect([status, refused.error]).toEqual([409, 'stream_closed']);
  expect(body.stream.tickCount).toBe(counted);
  expect(await seqsOf(platform(), stream)).toEqual(upTo(counted));
  expect((await platform().moneyOf(stream.seller)).available).toBe(BigInt(counted) * usdc('0.01'));
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('10.00') - BigInt(counted) * usdc('0.01'), pending: 0n });
});

test('of many closes at once, by both parties and by signal, one pays', async () => {
  const stream = await aStream(platform());
  await step(platform(), stream, 'tick');
  const handle = platform().temporal.client.workflow.getHandle(stream.workflowId);
  const [replies] = await Promise.all([
    Promise.all(Array.from({ length: 8 },
      (_, n) => step(platform(), stream, 'close', {}, { by: n % 2 === 0 ? stream.buyer : stream.seller }))),
    handle.signal('surety-close').catch(() => undefined),
  ]);
  expect(replies.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
  for (const { status, body } of replies) if (status !== 200) expect([status, body.error]).toEqual([409, 'already_closed']);
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('0.90'), pending: 0n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('0.10'));
});

test('top-ups against ticks at the end of the deposit: nothing is counted that was not held', async () => {
  const stream = await aStream(platform(), { buyer: await platform().aTrader('1.50'), holdAmount: '0.50', pricePerTick: '0.10' });
  const replies = await Promise.all([
    ...Array.from({ length: 30 }, (_, n) => sleep(n * 2).then(() => step(platform(), stream, 'tick'))),
    ...Array.from({ length: 10 }, (_, n) => sleep(n * 6).then(() => step(platform(), stream, 'top-up', { amount: '0.10' }))),
  ]);
  expect(replies.slice(30).map(({ status }) => status)).toEqual(Array(10).fill(200));
  const counted = replies.slice(0, 30).filter(({ status }) => status === 200).length;
  expect(counted).toBeGreaterThanOrEqual(5);
  expect(counted).toBeLessThanOrEqual(15);
  const { body } = await step(platform(), stream, 'close');
  expect(body.stream).toMatchObject({ holdAmount: '1.500000', tickCount: counted });
  expect((await platform().moneyOf(stream.seller)).available).toBe(BigInt(counted) * usdc('0.10'));
});

test('a top-up against a close either comes first and is returned, or is refused', async () => {
  for (let n = 0; n < 5; n += 1) {
    const stream = await aStream(platform(), { buyer: await platform().aTrader('2.00') });
    const [more] = await Promise.all([step(platform(), stream, 'top-up', { amount: '1.00' }), step(platform(), stream, 'close')]);
    expect([200, 409]).toContain(more.status);
    expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('2.00'), pending: 0n });
  }
});

test('a stale close against a tick in the same instant: the tick is counted and keeps the stream open, or comes too late', async () => {
  for (let n = 0; n < 8; n += 1) {
    const stream = await aStream(platform());
    await silent(platform().db.pool, stream);
    const [tick] = await Promise.all([step(platform(), stream, 'tick', { seq: 1 }),
      platform().ask('POST', '/v1/admin/streams/force-close-stale', { adminSecret, body: {} })]);
    const now = await streamNow(platform(), stream);
    const counted = tick.status === 200 ? 1 : 0;
    expect([now['status'], now.tickCount]).toEqual(counted === 1 ? ['open', 1] : ['stale_closed', 0]);
    if (counted === 0) expect(tick.body.error).toBe('stream_closed');
    else await step(platform(), stream, 'close');
    expect((await platform().moneyOf(stream.seller)).available).toBe(BigInt(counted) * usdc('0.10'));
  }
});

test('thirty-two streams tick at once, one by one and in batches: the sellers have the sum of the ticks', async () => {
  const streams = await Promise.all(Array.from({ length: 32 }, () => aStream(platform(), { holdAmount: '1.00', pricePerTick: '0.001' })));
  await Promise.all(streams.map(async (stream, s) => {
    for (let seq = 1; seq <= 20;
      seq += 1) expect((await step(platform(), stream, 'tick', { seq }, { by: seq % 2 === 0 ? stream.buyer : stream.seller })).status)
      .toBe(200);
    expect((await step(platform(), stream, 'ticks', { fromSeq: 21, count: 100 + s })).status).toBe(200);
  }));
  await Promise.all(streams.map((stream) => step(platform(), stream, 'close')));
  for (const [s, stream] of streams.entries()) {
    expect(await seqsOf(platform(), stream)).toEqual(upTo(120 + s));
    expect((await platform().moneyOf(stream.seller)).available).toBe(BigInt(120 + s) * usdc('0.001'));
  }
}, 60_000);
