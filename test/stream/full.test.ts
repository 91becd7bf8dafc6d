/** The last number of a stream: its ticks are counted by an integer of Postgres, and a busy meter reaches the end of it in weeks. */
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { aStream, step, streamNow, type OpenedStream } from '../support/streams.ts';

const LAST = 2_147_483_647;

// No suite of its own: the ticks that are said to have been counted are missing, which the audit would rightly find.
let platform: TestPlatform;
let stream: OpenedStream;

beforeAll(async () => {
  platform = await startPlatform();
}, 60_000);
afterAll(async () => platform.close(), 30_000);
beforeEach(async () => {
  stream = await aStream(platform, { holdAmount: '1.00', pricePerTick: '0.001' });
});

const counted = (ticks: number) => platform.db.pool.query('UPDATE meter SET uses = $2 WHERE id = $1', [stream.id, ticks]);

test('the last tick is counted, sent again it is found, and after it the stream is full', async () => {
  await counted(LAST - 1);
  expect((await step(platform, stream, 'tick', { seq: LAST })).body).toMatchObject({ tick: { seq: LAST }, stream: { tickCount: LAST } });
  const again = await step(platform, stream, 'tick', { seq: LAST });
  expect([again.status, again.body.error, again.body.recordedTick.seq]).toEqual([409, 'sequence_mismatch', LAST]);
  const next = await step(platform, stream, 'tick');
  expect([next.status, next.body.error, next.body.funds_status, next.body.room]).toEqual([409, 'stream_full', 'held_pending', 0]);
  expect((await step(platform, stream, 'ticks', { count: 1 })).body).toMatchObject({ error: 'stream_full', room: 0 });
  expect((await step(platform, stream, 'close')).body.stream).toMatchObject({ status: 'closed', spentAmount: '0.001000' });
});

test('a batch that goes beyond the last number is refused whole, and one that ends there is counted', async () => {
  await counted(LAST - 3);
  const four = await step(platform, stream, 'ticks', { count: 4 });
  expect([four.status, four.body.error, four.body.room]).toEqual([409, 'stream_full', 3]);
  const gap = await step(platform, stream, 'ticks', { fromSeq: LAST, count: 4 });
  expect([gap.status, gap.body.error, gap.body.expectedSeq]).toEqual([409, 'sequence_mismatch', LAST - 2]);
  expect(await streamNow(platform, stream)).toMatchObject({ tickCount: LAST - 3 });
  expect((await step(platform, stream, 'ticks', { fromSeq: LAST - 2, count: 3 })).body).toMatchObject({ accepted: 3, lastSeq: LAST });
});

test('a number that no stream reaches is a mistake of the request, and says why', async () => {
  for (const [name, body] of [['tick', { seq: LAST + 1 }], ['ticks', { fromSeq: LAST + 1, count: 1 }]] as const) {
    const reply = await step(platform, stream, name, body);
    expect([reply.status, reply.body.error]).toEqual([400, 'validation_error']);
    expect(reply.body.message).toContain(`a stream counts at most ${LAST} ticks`);
  }
});

test('the page of ticks after the billionth has a cursor that is taken, and a cursor beyond all numbers is refused', async () => {
  await counted(1_999_999_999);
  await step(platform, stream, 'ticks', { count: 2 });
  const page = (query: string) => platform.ask('GET', `/v1/streams/${stream.id}/ticks?${query}`, { key: stream.buyer.key });
  const first = await page('limit=1');
  const second = await page(`limit=1&cursor=${first.body.next_cursor}`);
  expect([first.body.ticks[0].seq, second.body.ticks[0]?.seq, second.body.has_more]).toEqual([2_000_000_000, 2_000_000_001, false]);
  const beyond = await page(`cursor=${LAST + 1}`);
  expect([beyond.status, beyond.body.error]).toEqual([400, 'invalid_cursor']);
});
