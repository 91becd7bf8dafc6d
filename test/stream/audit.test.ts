/** The audit of streams finds what it says it finds: for every rule a row is broken by hand, and exactly that must be told. */
import { createStreamStore, type StreamStore } from '../../activities/stream/store.ts';
import { parseAmount } from '../../domain/money.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createDamage } from '../support/damage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let store: StreamStore;
/** Open with ticks, closed with ticks, closed without any, and ended by the clock. */
const ids = { live: '', closed: '', unused: '', stale: '' };

async function aStoredStream(ticks: number): Promise<string> {
  const [id, buyer] = [newId('stream'), anAddress()];
  await aDeposit(db.pool, buyer, '1.00');
  await store.open({
    id, buyer, seller: anAddress(), tenantId: null, serviceId: null, depositMicros: parseAmount('1.00'),
    pricePerTickMicros: parseAmount('0.10'), staleTimeoutMs: 60_000,
    workflowId: `stream-${id}`, idempotency: null,
  });
  if (ticks > 0) await store.tickBatch({ streamId: id, agent: buyer, fromSeq: 1, count: ticks, ticks: null, idempotency: null });
  return id;
}

beforeAll(async () => {
  db = await createTestDatabase();
  store = createStreamStore({ pool: db.pool, metrics: createMetrics({ runtime: false }) });
  Object.assign(ids, { live: await aStoredStream(3), closed: await aStoredStream(10), unused: await aStoredStream(0),
    stale: await aStoredStream(2) });
  await store.close(ids.closed, 'buyer', null, null);
  await store.close(ids.unused, 'seller', 'nothing to do', null);
  await db.pool.query(`UPDATE stream SET last_tick_at = last_tick_at - interval '1 hour' WHERE id = $1`, [ids.stale]);
  await store.look(ids.stale);
}, 30_000);
afterAll(async () => db.close());

const findingsAfter = createDamage({ db: () => db, ids, unchecked: ['stream'] });

test('streams that were kept by the rules have no finding', async () => {
  const { rows } = await db.pool.query(`SELECT status FROM stream ORDER BY created_at`);
  expect(rows.map(({ status }) => status)).toEqual(['open', 'closed', 'closed', 'stale_closed']);
  expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  expect(await findingsAfter('SELECT 1', 60_000)).toEqual([]);
});

test.each<[string, string, string, RegExp]>([
  ['an ended stream that nobody was paid for', `UPDATE posting SET ref = 'elsewhere' WHERE ref = :closed AND kind = 'capture'`, 'I4',
    /has one capture/],
  ['a payment for a stream that is open', `UPDATE posting SET ref = :live WHERE ref = :closed AND kind = 'capture'`, 'I4',
    /has one capture/],
  ['a payment that is not what was ticked', `UPDATE posting SET amount = amount - 1 WHERE ref = :closed AND kind = 'capture'`, 'I5',
    /paid its seller/],
  ['a payment to somebody else', `UPDATE stream SET seller = 'somebody' WHERE id = :closed`, 'I5', /paid its seller/],
  ['a rest that was not returned', `UPDATE posting SET ref = 'elsewhere' WHERE ref = :stale AND kind = 'release'`,
    'I5', /returned the rest/],
  ['a rest that went to somebody else',
    `UPDATE posting SET credit_account = (SELECT id FROM account WHERE owner = (SELECT buyer FROM stream WHERE id = :live)) WHERE ref = :unused AND kind = 'release'`, 'I5', /returned the rest/],
  ['a deposit without a hold', `UPDATE hold SET id = 'elsewhere' WHERE id = :live`, 'I6', /holds its whole deposit/],
  ['a top-up that was not held', `UPDATE stream SET deposit = deposit + 1 WHERE id = :live`, 'I6', /holds its whole deposit/],
  ['an ended stream that still holds', `UPDATE hold SET closed_at = NULL WHERE id = :unused`, 'I6', /nothing when it has ended/],
  ['a hold that was paid from too early', `UPDATE hold SET captured = 1 WHERE id = :live`, 'I6', /holds its whole deposit/],
  ['a stream that forgot what it spent', `UPDATE stream SET spent = spent - 1 WHERE id = :live`, 'I10', /sum of its ticks/],
  ['a stream that miscounted', `UPDATE stream SET tick_count = 7 WHERE id = :live`, 'I10', /sum of its ticks/],
  ['a tick that was removed', `DELETE FROM stream_tick WHERE stream_id = :closed AND seq = 4`, 'I10', /no gap/],
  ['a gap', `UPDATE stream_tick SET seq = 5 WHERE stream_id = :live AND seq = 3;UPDATE stream SET tick_count = 3 WHERE id = :live`, 'I10',
    /no gap/],
  ['a stream beyond its deposit', `UPDATE stream SET deposit = 1 WHERE id = :live`, 'I10', /within its deposit/],
  ['a tick that says another sum', `UPDATE stream_tick SET cumulative = cumulative + 1 WHERE stream_id = :live AND seq = 2`, 'I10',
    /what was spent with it/],
  ['a tick of nothing',
    `INSERT INTO stream_tick SELECT 'str_nowhere', seq, amount, cumulative, metadata, ticked_by, created_at FROM stream_tick WHERE stream_id = :live AND seq = 1`, 'I10', /belongs to a stream/],
  ['a seller who asked too much',
    `UPDATE stream_tick SET ticked_by = 'seller' WHERE stream_id = :live;UPDATE stream SET price_per_tick = 1 WHERE id = :live`, 'I10',
    /agreed price/],
  ['an end without its event', `DELETE FROM outbox WHERE ref = :stale AND topic = 'stream.stale_closed'`, 'I13', /one event/],
  ['an event that was written twice', `INSERT INTO outbox (topic, ref) VALUES ('stream.paused', :closed)`, 'I13', /one event/],
  ['a change that nobody was told of', `UPDATE stream SET version = version + 1 WHERE id = :live`, 'I13', /one event/],
  ['an end that was told as another', `UPDATE outbox SET topic = 'stream.closed' WHERE ref = :stale AND topic = 'stream.stale_closed'`,
    'I13', /one event/],
])('%s is found', async (_what, damage, invariant, sentence) => {
  const findings = await findingsAfter(damage);
  expect(findings.filter((finding) => finding.invariant === invariant && sentence.test(finding.detail))).toHaveLength(1);
});

test('a stream that is silent for longer than agreed, and still open, is found once it is overdue', async () => {
  const old = `UPDATE stream SET last_tick_at = now() - interval '3 minutes' WHERE id = :live`;
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
  const [id, buyer] = [newId('stream'), anAddress()];
  await aDeposit(db.pool, buyer, '1.00');
  await store.open({
    id, buyer, seller: anAddress(), tenantId: null, serviceId: null, depositMicros: parseAmount('1.00'),
    pricePerTickMicros: parseAmount('0.000001'), staleTimeoutMs: 60_000,
    workflowId: `stream-${id}`, idempotency: null,
  });
  for (let fromSeq = 1; fromSeq < 100_000;
    fromSeq += 1_000) await store.tickBatch({ streamId: id, agent: buyer, fromSeq, count: 1_000, ticks: null, idempotency: null });
  const startedAt = Date.now();
  expect((await auditBooks(db.pool)).findings).toEqual([]);
  // A tenth of that on a quiet machine; a quadratic rule would take hours.
  expect(Date.now() - startedAt).toBeLessThan(10_000);
}, 60_000);
