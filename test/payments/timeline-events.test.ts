/** What timelines are made of: events out of the outbox, sentences, and amounts as the wire has them. */
import { afterAmong, amountIn, BEGINNING, events, isKey, keyOf, readTimeline, shownData, type Entry } from '../../api/payments/timeline.ts';
import { readTimelineEvents } from '../../ledger/timeline.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const written = 'INSERT INTO outbox (ref, topic, data) VALUES ($1, $2, $3)';

test('events of one payment come in their order, page by page, with amounts as decimal text', async () => {
  const client = await db.pool.connect();
  // One transaction, hence one time for all: the order is that of writing.
  await client.query('BEGIN');
  for (const topic of ['escrow.created', 'escrow.delivered', 'escrow.released']) {
    await client.query(written, ['esc_a', topic, '{"amountMicros": "1500000", "by": "0x1"}']);
  }
  await client.query('COMMIT');
  client.release();
  await db.pool.query(written, ['esc_b', 'escrow.created', null]);
  const source = events(db.pool, 'esc_a', (topic) => `It is ${topic}.`);
  const seen: Entry[] = [];
  for (let after = BEGINNING; ;) {
    const { entries, more } = await readTimeline([source], after, 1);
    seen.push(...entries);
    const last = entries.at(-1);
    if (!more || last === undefined) break;
    after = { atMicros: last.atMicros, key: keyOf(last) };
  }
  expect(seen.map(({ what }) => what)).toEqual(['It is escrow.created.', 'It is escrow.delivered.', 'It is escrow.released.']);
  expect(seen[1]?.data).toEqual({ state: 'delivered', amount: '1.500000', by: '0x1' });
});

test('events are found by index, however many payments and calls there are', async () => {
  await db.pool.query(
    `INSERT INTO outbox (topic, ref) SELECT CASE n % 2 WHEN 0 THEN 'call.settled' ELSE 'escrow.created' END, 'esc_' || n
       FROM generate_series(1, 20000) n`);
  await db.pool.query('ANALYZE outbox');
  const { rows } = await db.pool.query<{ 'QUERY PLAN': string }>(
    `EXPLAIN SELECT id FROM outbox WHERE ref = 'esc_77' AND topic NOT LIKE 'call.%'
        AND (created_at, id) > (timestamptz 'epoch', -1) ORDER BY created_at, id LIMIT 10`);
  expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('outbox_by_ref');
  expect(await readTimelineEvents(db.pool, 'esc_77', { limit: 10 })).toHaveLength(1);
  expect(await readTimelineEvents(db.pool, 'esc_78', { limit: 10 })).toEqual([]);
});

test.each([
  [{ amountMicros: '1' }, { amount: '0.000001' }],
  [{ releasedMicros: '400000', refundedMicros: '0' }, { released: '0.400000', refunded: '0.000000' }],
  [{ stepIndex: 3, amount: '20' }, { stepIndex: 3, amount: '0.000020' }], [{ amount: '0.10' }, { amount: '0.10' }],
  [{ by: '17', reason: '5' }, { by: '17', reason: '5' }],
])('data %j is shown as %j', (data, shown) => expect(shownData(data)).toEqual(shown));

test('a sentence names the amount of an event, or none where there is none', () => {
  expect([amountIn({ releasedMicros: '400000' }, 'released'), amountIn({}, 'released')]).toEqual(['0.400000 USDC', 'money']);
});

test('keys sort a step before the money it moved, and read back as the place they name', () => {
  const at = { atMicros: 5n };
  const keys = [keyOf({ kind: 'state', id: 9n }), keyOf({ kind: 'posting', id: 2n }), keyOf({ kind: 'posting', id: 10n }),
    keyOf({ kind: 'attempt', id: 0n }), keyOf({ kind: 'call', id: `call_${'0'.repeat(24)}` }), keyOf({ kind: 'ticks', id: 0n })];
  expect(keys.toSorted()).toEqual(keys);
  expect(keys.every(isKey)).toBe(true);
  const place = { ...at, key: keys[1] ?? '' };
  expect(afterAmong('posting', place)).toEqual({ ...at, id: 2n });
  expect(afterAmong('attempt', place).id).toBeLessThan(0n);
  expect(afterAmong('state', place).id).toBeGreaterThan(1_000_000_000n);
});
