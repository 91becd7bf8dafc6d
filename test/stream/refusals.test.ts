/** Bad input and wrong moments: each has its code, and none of them moves money. */
import { anAddress } from '../support/builders.ts';
import type { Trader } from '../support/market.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';
import { aStream, seqsOf, step, streamNow, upTo, type OpenedStream } from '../support/streams.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });

let buyer: Trader;
let seller: Trader;
let stranger: Trader;

beforeAll(async () => {
  [buyer, seller, stranger] = await Promise.all([platform().aTrader('100.00'), platform().aTrader(), platform().aTrader()]);
}, 30_000);

type Change = Record<string, unknown>;
const open = (change: Change = {}, key = buyer.key) =>
  platform().ask('POST', '/v1/streams',
    { key, body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount: '1.00', pricePerTick: '0.10', ...change } });

test.each<[what: string, change: Change, status: number, code: string]>([
  ['another buyer than the caller', { buyerAddr: anAddress() }, 403, 'unauthorized'],
  ['a buyer who is no address', { buyerAddr: '0x12' }, 400, 'invalid_address'],
  ['no seller', { sellerAddr: undefined }, 400, 'invalid_address'],
  ['no deposit', { holdAmount: undefined }, 400, 'invalid_amount'],
  ['a deposit of zero', { holdAmount: '0.000000' }, 400, 'invalid_amount'],
  ['a deposit with seven places', { holdAmount: '1.0000001' }, 400, 'invalid_amount'],
  ['a price of zero', { pricePerTick: '0' }, 400, 'invalid_amount'],
  ['a negative price', { pricePerTick: '-1' }, 400, 'invalid_amount'],
  ['a price above the deposit', { pricePerTick: '1.000001' }, 400, 'invalid_amount'],
  ['a silence of more than thirty days', { staleTimeoutSecs: 2_592_001 }, 400, 'validation_error'],
  ['a silence of half a second', { staleTimeoutSecs: 0.5 }, 400, 'validation_error'],
  ['a session key', { sessionKeyId: 'sk_1' }, 400, 'validation_error'],
  ['a field that does not exist', { holdamount: '1.00' }, 400, 'validation_error'],
  ['more than the buyer has', { holdAmount: '1000.00' }, 402, 'insufficient_balance'],
])('a stream with %s is not opened', async (_what, change, status, code) => {
  const before = await platform().moneyOf(buyer);
  const reply = await open(change);
  expect([reply.status, reply.body.error, reply.body.funds_status]).toEqual([status, code, 'no_change']);
  if (status === 402) expect(reply.body).toMatchObject({ price: '1000.000000', currency: 'USDC' });
  expect(await platform().moneyOf(buyer)).toEqual(before);
});

test('a stream whose service is empty text, or null, has none', async () => {
  for (const none of ['', null]) {
    const { status, body } = await open({ serviceId: none, sessionKeyId: none });
    expect([status, body.stream.serviceId]).toEqual([201, undefined]);
  }
});

test('nobody opens a stream to themselves, in any case of the letters', async () => {
  const reply = await open({ sellerAddr: buyer.address.toUpperCase().replace('0X', '0x') });
  expect([reply.status, reply.body.error]).toEqual([400, 'self_trade']);
});

test.each<[secs: number | undefined, means: number]>([[undefined, 60], [0, 60], [-5, 60], [1, 1], [2_592_000, 2_592_000]])(
    'a stale timeout of %s seconds means %s', async (secs, means) => {
  const { body } = await open({ staleTimeoutSecs: secs });
  expect(body.stream.staleTimeoutSecs).toBe(means);
});

describe('a tick', () => {
  let stream: OpenedStream;
  beforeEach(async () => {
    stream = await aStream(platform(), { buyer, seller, holdAmount: '1.00', pricePerTick: '0.10' });
    await step(platform(), stream, 'tick', { amount: '0.25', metadata: 'the first' });
  });

  test.each<[what: string, body: unknown, by: 'buyer' | 'seller' | 'stranger', status: number, code: string]>([
    ['by somebody who is no party', {}, 'stranger', 403, 'unauthorized'],
    ['of zero', { amount: '0' }, 'buyer', 400, 'invalid_amount'],
    ['of a number instead of text', { amount: 1 }, 'buyer', 400, 'invalid_amount'],
    ['by the seller above the price', { amount: '0.100001' }, 'seller', 400, 'invalid_amount'],
    ['with number zero', { seq: 0 }, 'buyer', 400, 'validation_error'],
    ['with a broken number', { seq: 1.5 }, 'buyer', 400, 'validation_error'],
    ['with a number larger than any', { seq: 2_147_483_648 }, 'buyer', 400, 'validation_error'],
    ['with too much to say', { metadata: 'x'.repeat(1_001) }, 'buyer', 400, 'validation_error'],
    ['with a NUL', { metadata: 'a\u0000b' }, 'buyer', 400, 'validation_error'],
    ['with metadata that is no text', { metadata: { page: 1 } }, 'buyer', 400, 'validation_error'],
    ['with a field that does not exist', { sequence: 2 }, 'buyer', 400, 'validation_error'],
    ['of broken JSON', '{"seq":', 'buyer', 400, 'invalid_request'],
    ['with a gap', { seq: 3 }, 'buyer', 409, 'sequence_mismatch'],
    ['that was sent before', { seq: 1 }, 'buyer', 409, 'sequence_mismatch'],
    ['beyond the deposit', { amount: '0.750001' }, 'buyer', 402, 'hold_exhausted'],
  ])('%s is refused and changes nothing', async (_what, body, by, status, code) => {
    const reply = await step(platform(), stream, 'tick', body, { by: { buyer, seller, stranger }[by] });
    expect([reply.status, reply.body.error]).toEqual([status, code]);
    expect(await streamNow(platform(), stream)).toMatchObject({ tickCount: 1, spentAmount: '0.250000' });
  });

  test('with a gap or a duplicate is told the next number, and the tick that has its number', async () => {
    const gap = await step(platform(), stream, 'tick', { seq: 9 });
    expect(gap.body).toMatchObject({ expectedSeq: 2, funds_status: 'held_pending' });
    expect(gap.body.recordedTick).toBeUndefined();
    const twice = await step(platform(), stream, 'tick', { seq: 1 }, { by: seller });
    expect(twice.body).toMatchObject({ expectedSeq: 2,
      recordedTick: { seq: 1, amount: '0.250000', cumulative: '0.250000', metadata: 'the first', tickedBy: 'buyer' } });
  });

  test('beyond the deposit is told what is left, and a smaller one still counts', async () => {
    const { body } = await step(platform(), stream, 'tick', { amount: '5' });
    expect(body).toMatchObject({ remaining: '0.750000', price: '5.000000', currency: 'USDC', funds_status: 'held_pending' });
    expect((await step(platform(), stream, 'tick', { amount: '0.75' })).body.stream)
      .toMatchObject({ spentAmount: '1.000000', paused: true });
    const next = await step(platform(), stream, 'tick', {}, { by: seller });
    expect([next.status, next.body.error, next.body.price, next.body.remaining]).toEqual([402, 'hold_exhausted', '0.100000', '0.000000']);
  });

  test('without a body, or with nulls and empty text, takes the defaults', async () => {
    const empty = await platform()
      .ask('POST', `/v1/streams/${stream.id}/tick`, { key: buyer.key, headers: { 'content-type': 'application/json' } });
    expect(empty.body.tick).toMatchObject({ seq: 2, amount: '0.100000' });
    const nulls = await step(platform(), stream, 'tick', { seq: null, amount: null, metadata: '' });
    expect(nulls.body.tick).toMatchObject({ seq: 3, amount: '0.100000' });
    expect(nulls.body.tick).not.toHaveProperty('metadata');
    expect((await step(platform(), stream, 'tick', { amount: '' })).body.tick).toMatchObject({ seq: 4, amount: '0.100000' });
  });

  test('after the end is refused, and says whether it was counted before', async () => {
    await step(platform(), stream, 'close');
    const late = await step(platform(), stream, 'tick', { seq: 2 });
    expect([late.status, late.body.error, late.body.funds_status, late.body.recordedTick])
      .toEqual([409, 'stream_closed', 'settled_safe', undefined]);
    const counted = await step(platform(), stream, 'tick', { seq: 1 });
    expect(counted.body).toMatchObject({ error: 'stream_closed', recordedTick: { seq: 1, amount: '0.250000' } });
  });
});

describe('a batch', () => {
  let stream: OpenedStream;
  beforeEach(async () => {
    stream = await aStream(platform(), { buyer, seller, holdAmount: '1.00', pricePerTick: '0.001' });
  });

  test.each<[what: string, body: unknown, status: number, code: string]>([
    ['of nothing', { ticks: [] }, 400, 'validation_error'],
    ['of zero', { count: 0 }, 400, 'validation_error'],
    ['of 1,001 by number', { count: 1_001 }, 400, 'validation_error'],
    ['of 1,001 by list', { ticks: Array(1_001).fill({}) }, 400, 'validation_error'],
    ['of both kinds', { count: 1, ticks: [{}] }, 400, 'validation_error'],
    ['of neither kind', {}, 400, 'validation_error'],
    ['with one bad amount', { ticks: [{}, { amount: '0' }] }, 400, 'invalid_amount'],
    ['with a field that does not exist', { ticks: [{ seq: 1 }] }, 400, 'validation_error'],
    ['with a misspelt field', { fromseq: 1, count: 1 }, 400, 'validation_error'],
    ['with a gap', { fromSeq: 2, count: 1 }, 409, 'sequence_mismatch'],
    ['whose amounts add up to more than any number holds', { ticks: Array(1_000).fill({ amount: '999999999999.999999' }) }, 402,
      'hold_exhausted'],
  ])('%s is refused and changes nothing', async (_what, body, status, code) => {
    const reply = await step(platform(), stream, 'ticks', body);
    expect([reply.status, reply.body.error]).toEqual([status, code]);
    expect(await streamNow(platform(), stream)).toMatchObject({ tickCount: 0, spentAmount: '0.000000' });
  });

  test('of one and of a thousand is counted, and sent again it is told where to go on', async () => {
    expect((await step(platform(), stream, 'ticks', { fromSeq: 1, ticks: [{}] })).body)
      .toMatchObject({ accepted: 1, firstSeq: 1, lastSeq: 1 });
    expect((await step(platform(), stream, 'ticks', { fromSeq: 2, count: 999 })).body)
      .toMatchObject({ accepted: 999, firstSeq: 2, lastSeq: 1_000, paused: true });
    const again = await step(platform(), stream, 'ticks', { fromSeq: 2, count: 999 });
    expect([again.status, again.body.error, again.body.expectedSeq]).toEqual([409, 'sequence_mismatch', 1_001]);
    const other = await aStream(platform(), { buyer, seller, holdAmount: '1.00', pricePerTick: '0.001' });
    expect((await step(platform(), other, 'ticks', { ticks: Array(1_000).fill({}) }, { by: seller })).body)
      .toMatchObject({ accepted: 1_000, remaining: '0.000000' });
    expect(await seqsOf(platform(), other)).toEqual(upTo(1_000));
  });

  test('that the deposit cannot pay whole is refused whole, and told how many it could pay', async () => {
    const { status, body } =
      await step(platform(), stream, 'ticks', { ticks: [{ amount: '0.4' }, { amount: '0.4' }, { amount: '0.3' }, {}] });
    expect([status, body.error, body.affordable, body.remaining]).toEqual([402, 'hold_exhausted', 2, '1.000000']);
    expect(await seqsOf(platform(), stream)).toEqual([]);
  });

  test('of the seller has no tick above the price', async () => {
    const { status, body } = await step(platform(), stream, 'ticks', { ticks: [{}, { amount: '0.002' }] }, { by: seller });
    expect([status, body.error]).toEqual([400, 'invalid_amount']);
  });

  test('by a stranger, or after the end, is refused', async () => {
    expect((await step(platform(), stream, 'ticks', { count: 1 }, { by: stranger })).status).toBe(403);
    await step(platform(), stream, 'close');
    const late = await step(platform(), stream, 'ticks', { count: 1 });
    expect([late.status, late.body.error]).toEqual([409, 'stream_closed']);
  });
});

describe('other steps and reads', () => {
  let stream: OpenedStream;
  beforeAll(async () => {
    stream = await aStream(platform(), { buyer, seller, holdAmount: '1.00', pricePerTick: '0.10' });
  });

  test.each<[who: string, method: string, path: string, body: unknown, status: number, code: string]>([
    ['a stranger', 'POST', '/close', {}, 403, 'unauthorized'],
    ['a stranger', 'POST', '/top-up', { amount: '1' }, 403, 'unauthorized'],
    ['the seller', 'POST', '/top-up', { amount: '1' }, 403, 'unauthorized'],
    ['a stranger', 'GET', '', undefined, 403, 'unauthorized'],
    ['a stranger', 'GET', '/ticks', undefined, 403, 'unauthorized'],
    ['the buyer', 'POST', '/close', { reason: 'x'.repeat(501) }, 400, 'validation_error'],
    ['the buyer', 'POST', '/top-up', {}, 400, 'invalid_amount'],
    ['the buyer', 'POST', '/top-up', { amount: '999999999999.999999' }, 400, 'invalid_amount'],
    ['the buyer', 'POST', '/top-up', { amount: '5000' }, 402, 'insufficient_balance'],
    ['the buyer', 'GET', '/ticks?cursor=x', undefined, 400, 'invalid_cursor'],
  ])('%s who asks %s %s is told why not', async (who, method, path, body, status, code) => {
    const { key } = { 'a stranger': stranger, 'the seller': seller, 'the buyer': buyer }[who] ?? stranger;
    const reply = await platform().ask(method, `/v1/streams/${stream.id}${path}`, { key, ...(body === undefined ? {} : { body }) });
    expect([reply.status, reply.body.error]).toEqual([status, code]);
    expect((await streamNow(platform(), stream)).status).toBe('open');
  });

  test.each([['GET', ''], ['GET', '/ticks'], ['POST', '/tick'], ['POST', '/ticks'], ['POST', '/close'], ['POST', '/top-up']])(
      '%s …%s of a stream that does not exist is 404', async (method, path) => {
    const body = path === '/ticks' ? { count: 1 } : path === '/top-up' ? { amount: '1' } : {};
    const reply = await platform()
      .ask(method, `/v1/streams/str_000000000000000000000000${path}`, { key: buyer.key, ...(method === 'POST' ? { body } : {}) });
    expect([reply.status, reply.body.error]).toEqual([404, 'not_found']);
  });

  test('closing or topping up what has ended is refused, and the money stays where it is', async () => {
    const ended = await aStream(platform(), { buyer, seller });
    await step(platform(), ended, 'close');
    const before = await platform().moneyOf(buyer);
    const [again, more] = [await step(platform(), ended, 'close'), await step(platform(), ended, 'top-up', { amount: '1' })];
    expect([again.status, again.body.error, more.status, more.body.error]).toEqual([409, 'already_closed', 409, 'stream_closed']);
    expect(await platform().moneyOf(buyer)).toEqual(before);
  });

  test('the admin sees every stream, and a list is for its agent alone', async () => {
    const adminSecret = 'a-secret-for-tests';
    expect((await platform().ask('GET', `/v1/streams/${stream.id}`, { adminSecret })).body.stream.id).toBe(stream.id);
    expect((await platform().ask('GET', `/v1/streams/${stream.id}/ticks`, { adminSecret })).body)
      .toMatchObject({ ticks: [], count: 0, has_more: false });
    expect((await platform().ask('GET', `/v1/agents/${buyer.address}/streams`, { key: stranger.key })).status).toBe(403);
    expect((await platform().ask('GET', `/v1/agents/${buyer.address}/streams`, { adminSecret })).body.count).toBeGreaterThan(0);
  });

  test('an agent finds what it buys and what it sells in one list, newest first, page by page, each once', async () => {
    const [one, two] = await Promise.all([platform().aTrader('50.00'), platform().aTrader('50.00')]);
    const made: string[] = [];
    for (let n = 0; n < 7; n += 1) {
      made.unshift((await aStream(platform(), { buyer: n % 2 === 0 ? one : two, seller: n % 2 === 0 ? two : one })).id);
    }
    const seen: string[] = [];
    let next = '';
    do {
      const { body } = await platform().ask('GET', `/v1/agents/${one.address}/streams?limit=3${next}`, { key: one.key });
      seen.push(...body.streams.map(({ id }: { id: string }) => id));
      next = body.has_more ? `&cursor=${body.next_cursor}` : '';
    } while (next !== '');
    expect(seen).toEqual(made);
  });
});

test('money that was refused is still there for the next stream', async () => {
  const poor = await platform().aTrader('1.00');
  await open({ buyerAddr: poor.address, holdAmount: '2.00' }, poor.key);
  await aStream(platform(), { buyer: poor, seller });
  expect(await platform().moneyOf(poor)).toEqual({ available: 0n, pending: usdc('1.00') });
});
