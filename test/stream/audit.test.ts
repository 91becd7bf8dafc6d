/** The audit of streams finds what it says it finds: for every rule a row is broken by hand, and exactly that must be told. */
import { auditBooks } from '../../ledger/audit.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { directStreams, type DirectStreams } from '../support/stream-rules.ts';
import { silent } from '../support/streams.ts';

let db: TestDatabase;
let streams: DirectStreams;
/** Open with ticks and a top-up, closed with ticks until it was empty, closed without any, and ended by the clock. */
const ids = { live: '', closed: '', unused: '', stale: '' };

async function aStoredStream(count: number): Promise<string> {
  const { id, buyer } = await streams.open();
  if (count > 0) await streams.ticks.tickBatch({ streamId: id, agent: buyer, fromSeq: 1, count, ticks: null, idempotency: null });
  return id;
}
const asParty = (as: 'buyer' | 'seller') => ({ address: null, as });

beforeAll(async () => {
  db = await createTestDatabase();
  streams = await directStreams(db.pool);
  Object.assign(ids, { live: await aStoredStream(3), closed: await aStoredStream(10), unused: await aStoredStream(0),
    stale: await aStoredStream(2) });
  const { buyer } = await streams.read(ids.live);
  await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 500000, 'for-a-top-up', NULL)`, [buyer]);
  await streams.step(ids.live, 'topup', asParty('buyer'), { amount: '0.50' });
  await streams.step(ids.closed, 'close', asParty('buyer'));
  await streams.step(ids.unused, 'close', asParty('seller'), { reason: 'nothing to do' });
  await silent(db.pool, { id: ids.stale });
  await streams.clock(ids.stale);
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['payment', 'meter', 'hold'] });

test('streams that were kept by the rules have no finding', async () => {
  const { rows } = await db.pool.query(`SELECT state FROM payment`);
  expect(rows.map(({ state }) => state).sort()).toEqual(['closed', 'closed', 'open', 'stale_closed']);
  expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

test.each<[string, string, string, RegExp]>([
  ['an ended stream that nobody was paid for',
    `UPDATE posting SET (ref, payment_id) = ('elsewhere', 'elsewhere') WHERE ref = :closed AND kind = 'capture'`,
    'I4', /postings for exactly/],
  ['a payment for a stream that is open', `UPDATE posting SET ref = :live WHERE ref = :closed AND kind = 'capture'`, 'I4',
    /postings for exactly/],
  ['a top-up without its posting', `DELETE FROM posting WHERE ref = :live || ':2'`, 'I4', /postings for exactly/],
  ['a top-up under the id of no stream',
    `UPDATE posting SET (ref, payment_id) = ('str_nowhere:2', 'str_nowhere') WHERE ref = :live || ':2'`,
    'I15', /every posting belongs/],
  ['a payment that is not what was ticked', `UPDATE posting SET amount = amount - 1 WHERE ref = :closed AND kind = 'capture'`, 'I4',
    /postings for exactly/],
  ['an end that paid less than was ticked',
    `UPDATE payment SET paid = paid - 1, returned = returned + 1 WHERE id = :closed`, 'I5', /paid its seller what was ticked/],
  ['an end that returned less than the rest', `UPDATE payment SET returned = returned - 1 WHERE id = :stale`, 'I5', /returned the rest/],
  ['an open stream that has paid', `UPDATE payment SET paid = 1 WHERE id = :live`, 'I5', /an open one nothing/],
  ['a payment to somebody else', `UPDATE payment SET seller = 'somebody' WHERE id = :closed`, 'I5', /reached its payees/],
  ['a top-up by somebody else', `UPDATE posting
    SET debit_account = (SELECT credit_account FROM posting WHERE ref = :closed AND kind = 'capture')
    WHERE ref = :live || ':2'`, 'I5', /reached its payees/],
  ['a rest that was not returned',
    `UPDATE posting SET (ref, payment_id) = ('elsewhere', 'elsewhere') WHERE ref = :stale AND kind = 'release'`,
    'I4', /postings for exactly/],
  ['a rest that went to somebody else',
    `UPDATE posting SET credit_account = (SELECT id FROM account WHERE owner = (SELECT buyer FROM payment WHERE id = :live))
      WHERE ref = :unused AND kind = 'release'`, 'I5', /returned reached its buyer/],
  ['a deposit without a hold', `UPDATE hold SET id = 'elsewhere' WHERE id = :live`, 'I6', /the hold of a payment/],
  ['a top-up that was not held', `UPDATE payment SET held = held + 1 WHERE id = :live`, 'I6', /the hold of a payment/],
  ['a top-up that the meter does not know', `UPDATE meter SET capacity = capacity - 1 WHERE id = :live`, 'I6', /its whole deposit/],
  ['a stream without a meter', `DELETE FROM meter WHERE id = :unused`, 'I6', /has a meter/],
  ['an ended stream that could tick', `UPDATE meter SET open = true WHERE id = :closed`, 'I6', /open as long as the stream/],
  ['an open stream that could not', `UPDATE meter SET open = false WHERE id = :live`, 'I6', /open as long as the stream/],
  ['a price that was not agreed on', `UPDATE meter SET price_max = price_max + 1 WHERE id = :live`, 'I6', /has a meter/],
  ['a silence that was not agreed on', `UPDATE meter SET idle_ms = NULL WHERE id = :live`, 'I6', /has a meter/],
  ['a meter of somebody else', `UPDATE meter SET owner = 'somebody' WHERE id = :live`, 'I6', /has a meter/],
  ['an ended stream that still holds', `UPDATE hold SET closed_at = NULL WHERE id = :unused`, 'I6', /the hold of a payment/],
  ['a hold that was paid from too early', `UPDATE hold SET captured = 1 WHERE id = :live`, 'I6', /the hold of a payment/],
  ['a stream that forgot what it spent', `UPDATE meter SET used = used - 1 WHERE id = :live`, 'I10', /sum of its ticks/],
  ['a stream that miscounted', `UPDATE meter SET uses = 7 WHERE id = :live`, 'I10', /sum of its ticks/],
  ['a tick that was removed', `DELETE FROM stream_tick WHERE stream_id = :closed AND seq = 4`, 'I10', /one before it/],
  ['a gap', `UPDATE stream_tick SET seq = 5 WHERE stream_id = :live AND seq = 3`, 'I10', /no gap/],
  ['a stream beyond its deposit', `UPDATE payment SET held = 1 WHERE id = :live`, 'I10', /within its deposit/],
  ['a tick that says another sum', `UPDATE stream_tick SET cumulative = cumulative + 1 WHERE stream_id = :live AND seq = 2`, 'I10',
    /what was spent with it/],
  ['a tick of nothing', `INSERT INTO stream_tick SELECT 'str_nowhere', seq, amount, cumulative, metadata, ticked_by, created_at
    FROM stream_tick WHERE stream_id = :live AND seq = 1`, 'I10', /belongs to a stream/],
  ['a seller who asked too much', `UPDATE stream_tick SET ticked_by = 'seller' WHERE stream_id = :live;
    UPDATE payment SET terms = terms || '{"pricePerTickMicros": "1"}' WHERE id = :live`, 'I10', /agreed price/],
  ['an end without its event', `DELETE FROM outbox WHERE ref = :stale AND topic = 'stream.clock'`, 'I13', /has one event/],
  ['an end that is not on record', `DELETE FROM payment_event WHERE payment_id = :stale AND step = 'clock'`, 'I13', /has one event/],
  ['a change that nobody was told of', `UPDATE payment SET version = version + 1 WHERE id = :live`, 'I13', /has one event/],
  ['a pause that was told twice', `INSERT INTO outbox (topic, ref) VALUES ('stream.paused', :closed)`, 'I13', /once for each time/],
  ['a low deposit that was not told', `DELETE FROM outbox WHERE ref = :closed AND topic = 'stream.deposit_low'`, 'I13', /tells that/],
])('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('a stream that is silent for longer than agreed, and still open, is found once it is overdue', async () => {
  const old = `UPDATE payment SET deadline = now() - interval '2 minutes' WHERE id = :live`;
  const [finding, ...others] = await findingsAfter(old, 60_000);
  expect([others, finding?.invariant]).toEqual([[], 'I12']);
  expect(finding?.detail).toContain(ids.live);
  expect(await findingsAfter(old, 180_000)).toEqual([]);
});

test('a tick, once counted, cannot be changed or taken away', async () => {
  for (const statement of ['UPDATE stream_tick SET amount = 1', 'DELETE FROM stream_tick']) await expect(db.pool.query(statement))
    .rejects.toThrow('A tick, once counted, stays.');
});

test('a stream of a hundred thousand ticks is audited in seconds', async () => {
  const { id, buyer } = await streams.open({ price: '0.000001' });
  for (let fromSeq = 1; fromSeq < 100_000; fromSeq += 1_000) {
    await streams.ticks.tickBatch({ streamId: id, agent: buyer, fromSeq, count: 1_000, ticks: null, idempotency: null });
  }
  const startedAt = Date.now();
  expect((await auditBooks(db.pool)).findings).toEqual([]);
  // A tenth of that on a quiet machine; a quadratic rule would take hours.
  expect(Date.now() - startedAt).toBeLessThan(10_000);
}, 60_000);
