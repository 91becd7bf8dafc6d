/** A stream from opening to end, as its parties see it. */
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { aStream, seqsOf, silent, step, streamNow, upTo } from '../support/streams.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });

test('a stream holds its deposit, counts ticks of both parties, and its close pays what was ticked and returns the rest', async () => {
  const buyer = await platform().aTrader('3.00');
  const stream = await aStream(platform(), { buyer, holdAmount: '1.00', pricePerTick: '0.10' });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('2.00'), pending: usdc('1.00') });

  const first = await step(platform(), stream, 'tick');
  expect(first.status).toBe(200);
  expect(first.body).toMatchObject({
    tick: { id: expect.stringMatching(/^tick_[0-9a-f]{32}$/), streamId: stream.id, seq: 1, amount: '0.100000',
      cumulative: '0.100000', tickedBy: 'buyer' },
    stream: { id: stream.id, status: 'open', spentAmount: '0.100000', remaining: '0.900000', tickCount: 1,
      workflowId: `stream-${stream.id}` },
    remaining: '0.900000', depositLow: false, paused: false,
  });
  const second = await step(platform(), stream, 'tick', { seq: 2, amount: '0.05', metadata: 'page 2' }, { by: stream.seller });
  expect(second.body.tick).toMatchObject({ seq: 2, amount: '0.050000', cumulative: '0.150000', metadata: 'page 2', tickedBy: 'seller' });
  // Ticks touch no account.
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('2.00'), pending: usdc('1.00') });

  const closed = await step(platform(), stream, 'close', { reason: 'enough' }, { by: stream.seller });
  expect([closed.status, closed.body.stream])
    .toEqual([200, expect.objectContaining({ status: 'closed', closeReason: 'enough', spentAmount: '0.150000',
    remaining: '0.000000', tickCount: 2 })]);
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('2.85'), pending: 0n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('0.15'));

  const { body } = await platform().ask('GET', `/v1/streams/${stream.id}/ticks`, { key: stream.seller.key });
  expect(body).toMatchObject({ count: 2, has_more: false, ticks: [{ seq: 1 }, { seq: 2, metadata: 'page 2' }] });
});

test('a stream that never ticked is closed for nothing', async () => {
  const stream = await aStream(platform());
  expect((await step(platform(), stream, 'close')).body.stream).toMatchObject({ status: 'closed', spentAmount: '0.000000' });
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('1.00'), pending: 0n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(0n);
});

test('a batch counts all its ticks at once, by number or by list', async () => {
  const stream = await aStream(platform(), { holdAmount: '10.00', pricePerTick: '0.001' });
  const counted = await step(platform(), stream, 'ticks', { fromSeq: 1, count: 1_000 }, { by: stream.seller });
  expect([counted.status, counted.body])
    .toEqual([200, expect.objectContaining({ accepted: 1_000, firstSeq: 1, lastSeq: 1_000, remaining: '9.000000' })]);
  const listed = await step(platform(), stream, 'ticks', { ticks: [{}, { amount: '0.5', metadata: 'a heavy one' }, { amount: '0.002' }] });
  expect(listed.body).toMatchObject({ accepted: 3, firstSeq: 1_001, lastSeq: 1_003,
    stream: { spentAmount: '1.503000', tickCount: 1_003 } });
  expect(await seqsOf(platform(), stream)).toEqual(upTo(1_003));
  const { body } = await platform().ask('GET', `/v1/streams/${stream.id}/ticks?cursor=1000`, { key: stream.buyer.key });
  expect(body.ticks.map(({ amount, cumulative, metadata }: Record<string, string>) => [amount, cumulative, metadata])).toEqual([
    ['0.001000', '1.001000', undefined], ['0.500000', '1.501000', 'a heavy one'], ['0.002000', '1.503000', undefined],
  ]);
  await step(platform(), stream, 'close');
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('1.503'));
});

test('a workflow of the same name keeps the stream, hears of no tick, and ends with it', async () => {
  const stream = await aStream(platform());
  const handle = platform().temporal.client.workflow.getHandle(stream.workflowId);
  await step(platform(), stream, 'ticks', { count: 10 });
  expect(await streamNow(platform(), stream)).toMatchObject({ paused: true, depositLow: true });
  await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ state: 'open', version: 1, ended: false }));
  const { searchAttributes } = await handle.describe();
  expect(searchAttributes)
    .toMatchObject({ Buyer: [stream.buyer.address], Seller: [stream.seller.address], PaymentState: ['open'], AmountUsd: [1] });
  await step(platform(), stream, 'close', { reason: 'all read' });
  expect(await handle.result()).toMatchObject({
    state: 'closed', resolution: 'closed', by: stream.buyer.address, role: 'buyer', reason: 'all read',
    paid: [{ to: stream.seller.address, amount: '1.000000' }], returned: '0.000000',
  });
  expect((await handle.describe()).searchAttributes).toMatchObject({ PaymentState: ['closed'], PaymentOutcome: ['paid'] });
  await eventually(async () => expect((await platform().db.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0));
  expect((await streamNow(platform(), stream)).status).toBe('closed');
});

test('a tick that comes after the stale time, and before anybody has looked, is counted; so is a close and a top-up', async () => {
  const { pool } = platform().db;
  const [stream, other] = [await aStream(platform()), await aStream(platform(), { buyer: await platform().aTrader('2.00') })];
  await silent(pool, stream, 5);
  expect((await step(platform(), stream, 'tick')).body).toMatchObject({ tick: { seq: 1 }, stream: { status: 'open' } });
  await silent(pool, stream, 5);
  expect((await step(platform(), stream, 'close')).body.stream).toMatchObject({ status: 'closed', spentAmount: '0.100000' });
  await silent(pool, other, 5);
  expect((await step(platform(), other, 'top-up', { amount: '1.00' })).body.stream)
    .toMatchObject({ status: 'open', holdAmount: '2.000000' });
});

test('the timeline tells of steps, of the low deposit and the pause, of the money, and of all ticks as one', async () => {
  const stream = await aStream(platform(), { buyer: await platform().aTrader('2.00') });
  await step(platform(), stream, 'ticks', { count: 10 });
  await step(platform(), stream, 'top-up', { amount: '1.00' });
  await step(platform(), stream, 'tick');
  await step(platform(), stream, 'close', {}, { by: stream.seller });
  const told: string[] = [];
  let cursor = '';
  do {
    const { body: { payment, has_more: more, next_cursor: next } } = await platform()
      .ask('GET', `/v1/payments/${stream.id}?limit=2${cursor}`, { key: stream.buyer.key });
    expect(payment).toMatchObject({ kind: 'stream', state: 'closed',
      amounts: { deposit: '2.000000', spent: '1.100000', refunded: '0.900000' } });
    told.push(...payment.timeline.map(({ what }: { what: string }) => what));
    cursor = more ? `&cursor=${next}` : '';
  } while (cursor !== '');
  expect(told).toEqual([
    '1.000000 USDC of the buyer were set aside.', 'The stream was opened with a deposit of 1.000000 USDC, at 0.100000 USDC a tick.',
    'The deposit is nearly spent; 0.000000 USDC are left.', 'The rest of the deposit cannot pay another tick.',
    '1.000000 USDC of the buyer were set aside.', 'The buyer added 1.000000 USDC to the deposit.',
    expect.stringMatching(/^11 ticks were counted, together 1.100000 USDC/),
    '1.100000 USDC were paid to the seller.', '0.900000 USDC that had been set aside went back to the buyer.',
    'The stream ended (closed): 1.100000 USDC for the seller, 0.900000 USDC back to the buyer.',
  ]);
});
