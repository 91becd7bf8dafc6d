/** A deposit that runs out, and one that grows: what is told, once, and how the stream goes on. Keys that make asking again safe. */
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { aStream, eventsOf, seqsOf, step, streamNow, upTo } from '../support/streams.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });

test('at nine tenths the deposit is low, when no further tick can be paid the stream pauses, and a top-up resumes it', async () => {
  const buyer = await platform().aTrader('3.00');
  const stream = await aStream(platform(), { buyer, holdAmount: '1.00', pricePerTick: '0.10' });
  const states = [];
  for (let n = 1; n <= 10; n += 1) {
    const { body } = await step(platform(), stream, 'tick', { seq: n });
    states.push([body.depositLow, body.paused]);
  }
  expect(states).toEqual([...Array(8).fill([false, false]), [true, false], [true, true]]);
  expect(await eventsOf(platform().db.pool, stream)).toEqual(['open', 'deposit_low', 'paused']);

  const refilled = await step(platform(), stream, 'top-up', { amount: '1.00' });
  expect(refilled.body.stream).toMatchObject({ holdAmount: '2.000000', remaining: '1.000000', paused: false, depositLow: false });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('1.00'), pending: usdc('2.00') });
  expect((await step(platform(), stream, 'ticks', { fromSeq: 11, count: 9 })).body).toMatchObject({ depositLow: true, paused: false });
  expect(await eventsOf(platform().db.pool, stream)).toEqual(['open', 'deposit_low', 'paused', 'topup', 'deposit_low']);
  await step(platform(), stream, 'close');
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('1.10'), pending: 0n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('1.90'));
});

test('a tick that takes the last of the deposit at once tells both, and a top-up too small for a tick resumes nothing', async () => {
  const stream = await aStream(platform(), { buyer: await platform().aTrader('2.00'), holdAmount: '1.00', pricePerTick: '0.10' });
  expect((await step(platform(), stream, 'tick', { amount: '1.00' })).body)
    .toMatchObject({ remaining: '0.000000', depositLow: true, paused: true });
  expect((await step(platform(), stream, 'top-up', { amount: '0.05' })).body.stream).toMatchObject({ paused: true, remaining: '0.050000' });
  expect(await eventsOf(platform().db.pool, stream)).toEqual(['open', 'deposit_low', 'paused', 'topup']);
  const handle = platform().temporal.client.workflow.getHandle(stream.workflowId);
  await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ state: 'open', version: 2 }));
  expect((await step(platform(), stream, 'top-up', { amount: '0.05' })).body.stream)
    .toMatchObject({ paused: false, remaining: '0.100000' });
  expect((await step(platform(), stream, 'tick')).body).toMatchObject({ remaining: '0.000000', paused: true });
  await step(platform(), stream, 'close');
});

test('ticks of many streams in one group can end many deposits at once', async () => {
  const streams = await Promise.all(Array.from({ length: 12 }, () => aStream(platform(), { holdAmount: '0.10', pricePerTick: '0.10' })));
  const replies = await Promise.all(streams.flatMap((stream) => [step(platform(), stream, 'tick'), step(platform(), stream, 'tick')]));
  expect(replies.map(({ status }) => status).sort()).toEqual([...Array(12).fill(200), ...Array(12).fill(402)]);
  for (const stream of streams) expect(await eventsOf(platform().db.pool, stream)).toEqual(['open', 'deposit_low', 'paused']);
  await eventually(async () => expect((await platform().db.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0));
});

describe('the same Idempotency-Key', () => {
  test('opens one stream, and refuses another one', async () => {
    const buyer = await platform().aTrader('5.00');
    const seller = await platform().aTrader();
    const open = (holdAmount: string) => platform().ask('POST', '/v1/streams', {
      key: buyer.key, headers: { 'idempotency-key': 'open' },
      body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount, pricePerTick: '0.10' },
    });
    const replies = await Promise.all([open('1.00'), open('1.00'), open('1.00')]);
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(new Set(replies.map(({ body }) => body.stream.id)).size).toBe(1);
    expect(replies.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(2);
    const other = await open('2.00');
    expect([other.status, other.body.error]).toEqual([422, 'idempotency_mismatch']);
    expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('4.00'), pending: usdc('1.00') });
  });

  test('is free again after a refusal', async () => {
    const buyer = await platform().aTrader();
    const seller = await platform().aTrader();
    const open = () => platform().ask('POST', '/v1/streams', {
      key: buyer.key, headers: { 'idempotency-key': 'poor' },
      body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount: '1.00', pricePerTick: '0.10' },
    });
    expect((await open()).status).toBe(402);
    await platform().db.pool.query(`SELECT ledger_deposit($1, 'USDC', 1000000, 'for-the-poor', NULL)`, [buyer.address]);
    expect((await open()).status).toBe(201);
  });

  test('tops up once, ticks once, counts a batch once and closes once', async () => {
    const stream = await aStream(platform(), { buyer: await platform().aTrader('5.00') });
    const twice = async (name: string, body: unknown) => {
      const replies = await Promise.all(Array.from({ length: 5 }, () => step(platform(), stream, name, body, { key: name })));
      expect(replies.map(({ status, text }) => (status === 200 ? 200 : text))).toEqual(Array(5).fill(200));
      expect(replies.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(4);
      return replies;
    };
    expect((await twice('top-up', { amount: '2.00' })).at(-1)?.body.stream.holdAmount).toBe('3.000000');
    expect(new Set((await twice('tick', { metadata: 'once' })).map(({ body }) => body.tick.seq))).toEqual(new Set([1]));
    expect(new Set((await twice('ticks', { count: 4 })).map(({ body }) => `${body.firstSeq}-${body.lastSeq}`))).toEqual(new Set(['2-5']));
    await twice('close', { reason: 'done' });
    expect(await seqsOf(platform(), stream)).toEqual(upTo(5));
    expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('4.50'), pending: 0n });
    // Also after the end the first answer is there.
    expect((await step(platform(), stream, 'tick', { metadata: 'once' }, { key: 'tick' })).body.tick.seq).toBe(1);
    const other = await step(platform(), stream, 'tick', { metadata: 'another' }, { key: 'tick' });
    expect([other.status, other.body.error]).toEqual([422, 'idempotency_mismatch']);
  });
});

test('a refused tick leaves its key free', async () => {
  const stream = await aStream(platform(), { buyer: await platform().aTrader('5.00'), holdAmount: '0.10' });
  await step(platform(), stream, 'tick');
  expect((await step(platform(), stream, 'tick', {}, { key: 'later' })).status).toBe(402);
  await step(platform(), stream, 'top-up', { amount: '0.10' });
  expect((await step(platform(), stream, 'tick', {}, { key: 'later' })).status).toBe(200);
  expect((await streamNow(platform(), stream)).tickCount).toBe(2);
});
