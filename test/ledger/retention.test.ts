/** What leaves after its time, what stays, and that the books are right afterwards. */
import { describe, expect, test } from '@jest/globals';
import { retentionKinds, type RetentionKind } from '../../domain/retention.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { createRetention, type RetentionOptions, type RetentionTimes } from '../../ledger/retention.ts';
import { readEnv } from '../../platform/env.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createIdDigits } from '../../platform/random.ts';
import type { NewCall } from '../../activities/gateway/rows.ts';
import { createReputationJob } from '../../trust/reputation-job.ts';
import { createReputationReader } from '../../trust/reputation.ts';
import { createRetentionRounds } from '../../workers/retention.ts';
import { aDeposit, anAddress, anAgent, aRegistry, silent } from '../support/builders.ts';
import { aCandidate, aDelivery, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const DAY_MS = 86_400_000;
const keptMs = Object.fromEntries(retentionKinds.map((kind) => [kind, 30 * DAY_MS])) as RetentionTimes;

const nothing = Object.fromEntries(retentionKinds.map((kind) => [kind, 0]));

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => db.close());
beforeEach(async () => void (await db.pool.query(`
  TRUNCATE idempotency, outbox, seller_failure, seller_failure_past, payment_refusal, ownership_challenge, retention_mark, sweep_claim,
    gateway_call, payment, payment_event, meter, posting, hold, account, unfolded_fee, agent_stats`)));

const remove = (kind: RetentionKind, change: Partial<RetentionOptions> = {}): Promise<number> =>
  createRetention({ pool: db.pool, keptMs, ...change }).remove(kind);
const countOf = async (table: string): Promise<number> =>
  (await db.pool.query<{ n: number }>(`SELECT count(*)::integer AS n FROM ${table}`)).rows[0]?.n ?? -1;
const callIdOf = (daysAgo: number): string =>
  `call_${createIdDigits({ now: () => Date.now() - daysAgo * DAY_MS, random: () => Math.floor(Math.random() * 2 ** 32) })()}`;

/** `$1` days ago is when the row was done with. */
const rows: readonly [RetentionKind, string, string][] = [
  ['idempotency_keys', 'idempotency', `INSERT INTO idempotency (agent_address, key, request_hash, resource_id, created_at)
    SELECT 'a', $1 || '-' || n, 'h', 'r', now() - $1 * interval '1 day' FROM generate_series(1, $2) n`],
  ['call_events', 'outbox', `INSERT INTO outbox (topic, ref, delivered_at)
    SELECT 'call.settled', 'c' || n, now() - $1 * interval '1 day' FROM generate_series(1, $2) n`],
  ['seller_failures', 'seller_failure', `INSERT INTO seller_failure (call_id, seller, buyer, failed_at)
    SELECT 'call_' || $1 || '-' || n, 's', 'b', now() - $1 * interval '1 day' FROM generate_series(1, $2) n`],
  ['attempt_refusals', 'payment_refusal', `INSERT INTO payment_refusal (attempt, payment_id, refusal, created_at)
    SELECT $1 || '-' || n, 'p', '{}', now() - $1 * interval '1 day' FROM generate_series(1, $2) n`],
  ['ownership_challenges', 'ownership_challenge', `INSERT INTO ownership_challenge (id, address, message, expires_at)
    SELECT $1 || '-' || n, 'a', 'm', now() - $1 * interval '1 day' FROM generate_series(1, $2) n`],
];
const insert = (sql: string, daysAgo: number, count: number) => db.pool.query(
  sql.replaceAll('$1', String(daysAgo)).replaceAll('$2', String(count)));

describe('rows that were kept long enough', () => {
  test.each(rows)('leave: %s', async (kind, table, sql) => {
    await insert(sql, 31, 3);
    await insert(sql, 29, 2);
    expect(await remove(kind)).toBe(3);
    expect(await countOf(table)).toBe(2);
    expect(await remove(kind)).toBe(0);
  });

  test.each(rows)('leave in batches, and what somebody works with is passed over: %s', async (kind, table, sql) => {
    await insert(sql, 31, 25);
    const other = await db.pool.connect();
    try {
      await other.query('BEGIN');
      await other.query(`SELECT 1 FROM ${table} LIMIT 2 FOR UPDATE`);
      // Nobody waits: with so short a time for a lock, waiting would be an error.
      expect(await remove(kind, { batchMax: 10, pauseMs: 0, budgetMs: 0 })).toBe(10);
      expect(await remove(kind, { batchMax: 10, pauseMs: 0 })).toBe(13);
      expect(await countOf(table)).toBe(2);
    } finally {
      await other.query('ROLLBACK');
      other.release();
    }
    expect(await remove(kind, { batchMax: 10 })).toBe(2);
  });
});

describe('a call', () => {
  const idempotency = { key: 'again', requestHash: 'h' };

  /** A settled call of that age, with everything that belongs to it. */
  async function aSettledCall({ daysAgo = 31, change = {} }: { daysAgo?: number; change?: Partial<NewCall> } = {}): Promise<NewCall> {
    const store = aStore(db.pool);
    const session = await anOpenSession(db.pool, { maxTotal: '5.00' });
    const call = aNewCall(session, [aCandidate(anAddress())], { id: callIdOf(daysAgo), idempotency, ...change });
    expect(await store.accept(call)).toMatchObject({ outcome: 'accepted' });
    await store.settle(aDelivery(call.id));
    const age = `- ${daysAgo} * interval '1 day'`;
    await db.pool.query(`UPDATE gateway_call SET accepted_at = accepted_at ${age}, finished_at = finished_at ${age}`);
    await db.pool.query(`UPDATE idempotency SET created_at = created_at ${age}`);
    return call;
  }
  const again = (call: NewCall): NewCall => ({ ...call, id: callIdOf(0) });
  const audited = () => auditBooks(db.pool, { overdueMs: 60_000 });
  const fine = { ok: true, findings: [] };

  test('may be bought again with its key once that has left, and the books stay right', async () => {
    const [store, first] = [aStore(db.pool), await aSettledCall()];
    expect(await store.accept(again(first))).toMatchObject({ outcome: 'replay', existingId: first.id });
    expect(await remove('idempotency_keys')).toBe(1);
    const second = again(first);
    expect(await store.accept(second)).toMatchObject({ outcome: 'accepted' });
    expect(await audited()).toEqual(fine);
    await store.settle(aDelivery(second.id));
    expect(await audited()).toEqual(fine);
    expect(await store.accept(again(first))).toMatchObject({ outcome: 'replay', existingId: second.id });
  });

  test.each<[string, string]>([
    ['an hour after the first', `UPDATE gateway_call SET accepted_at = now() - interval '1 hour' WHERE id = :first`],
    ['long after the first, while the key is that of the first',
      `UPDATE idempotency SET resource_id = :first, created_at = (SELECT accepted_at FROM gateway_call WHERE id = :first)`],
  ])('is charged twice, as the audit says, when its twin was accepted %s', async (_, damage) => {
    const first = await aSettledCall();
    await remove('idempotency_keys');
    const second = again(first);
    await aStore(db.pool).accept(second);
    await db.pool.query(damage.replaceAll(':first', `'${first.id}'`));
    expect((await audited()).findings).toMatchObject([{ invariant: 'I8', count: 1, detail: expect.stringContaining('again') }]);
  });

  test('loses its answer, and neither its row, its posting nor the answer of a younger one', async () => {
    const [old, young] = [await aSettledCall(), await aSettledCall({ daysAgo: 0, change: { idempotency: null } })];
    const postings = await countOf('posting');
    expect(await remove('answers')).toBe(1);
    const { rows: [left, right] } = await db.pool.query('SELECT id, state, price, response FROM gateway_call ORDER BY id');
    expect(left).toMatchObject({ id: old.id, state: 'settled', price: '100000', response: null });
    expect(right).toMatchObject({ id: young.id, response: '{"done":true}' });
    expect(await countOf('posting')).toBe(postings);
    expect(await audited()).toEqual(fine);
  });

  test('keeps its answer as long as its compensation may have to be sent it', async () => {
    const call = await aSettledCall();
    await db.pool.query(`UPDATE gateway_call SET undo_state = 'pending' WHERE id = $1`, [call.id]);
    expect(await remove('answers')).toBe(0);
  });

  test('gives its answers up in batches, each going on where the one before ended', async () => {
    for (let n = 0; n < 5; n += 1) await aSettledCall({ change: { idempotency: null } });
    expect(await remove('answers', { batchMax: 2, budgetMs: 0 })).toBe(2);
    expect(await remove('answers', { batchMax: 2, pauseMs: 0 })).toBe(3);
    const { rows } = await db.pool.query('SELECT after_id = (SELECT max(id) FROM gateway_call) AS through FROM retention_mark');
    expect(rows).toEqual([{ through: true }]);
  });

  test('may lose its event once that was delivered long ago; one that was never written is still found', async () => {
    const call = await aSettledCall();
    await db.pool.query(`DELETE FROM outbox WHERE ref <> $1`, [call.id]);
    expect(await remove('call_events')).toBe(0);
    await db.pool.query(`UPDATE outbox SET delivered_at = now() - interval '31 days'`);
    await db.pool.query(`UPDATE gateway_call SET finished_at = finished_at - interval '1 day'`);
    expect(await remove('call_events')).toBe(1);
    const eventless = () => audited().then(({ findings }) => findings.filter(({ detail }) => detail.includes(call.id)));
    expect(await eventless()).toEqual([]);
    await db.pool.query('UPDATE gateway_call SET finished_at = now()');
    expect(await eventless()).toMatchObject([{ invariant: 'I13' }]);
  });
});

test('events from which a timeline is told stay, however long ago they were delivered', async () => {
  await db.pool.query(`INSERT INTO outbox (topic, ref, delivered_at) VALUES ('stream.closed', 's', now() - interval '9 years')`);
  expect(await remove('call_events')).toBe(0);
});

test('a failure of a seller that has left still counts among all its failures, and is not noted a second time', async () => {
  const registry = aRegistry(db);
  const { address } = await anAgent(registry);
  await aDeposit(db.pool, address, '1');
  await db.pool.query(`
    INSERT INTO gateway_call (id, session_id, buyer, service_type, attempts, state, finished_at)
    VALUES ('call_x', 'gw_x', $1, 't', $2, 'released', now() - interval '31 days')`,
    [anAddress(), JSON.stringify([{ seller: address, outcome: 'timeout' }])]);
  const failures = async () => (await createReputationReader({ pool: db.pool }).of([address]))[0]?.failed;
  const score = () => createReputationJob({ pool: db.pool, log: silent }).runOnce();
  await score();
  expect([await countOf('seller_failure'), await failures()]).toEqual([1, 1]);
  expect(await remove('seller_failures')).toBe(1);
  await db.pool.query(`UPDATE agent_stats SET updated_at = now() - interval '2 days'`);
  await score();
  expect([await countOf('seller_failure'), await failures()]).toEqual([0, 1]);
});

describe('a round', () => {
  const metrics = createMetrics({ runtime: false });
  const settings = { KEEP_IDEMPOTENCY_KEYS_DAYS: '2', RETENTION_EVERY: '1h' };
  const rounds = () => createRetentionRounds({ env: readEnv(settings), pool: db.pool, metrics, log: silent });
  const quietly = (signal = new AbortController().signal) => ({ signal, onProgress: () => undefined });
  const keysLeft = () => countOf('idempotency');

  test('removes by the settings, counts what it removed, and says so', async () => {
    await insert(rows[0]![2], 3, 4);
    await insert(rows[0]![2], 1, 1);
    expect(await rounds().round(quietly())).toEqual({ failed: [], removed: { ...nothing, idempotency_keys: 4 } });
    expect(await keysLeft()).toBe(1);
    expect((await metrics.render()).text).toContain('surety_retention_removed_total{kind="idempotency_keys"} 4');
    expect((await metrics.render()).text).toContain('surety_retention_removed_total{kind="answers"} 0');
  });

  test('is done by one process at a time, and by another when that one is gone', async () => {
    await rounds().round(quietly());
    await insert(rows[0]![2], 3, 4);
    expect(await rounds().round(quietly())).toEqual({ failed: [], removed: {} });
    expect(await keysLeft()).toBe(4);
    await db.pool.query(`UPDATE sweep_claim SET claimed_until = now() - interval '1 second' WHERE job = 'retention'`);
    await rounds().round(quietly());
    expect(await keysLeft()).toBe(0);
  });

  test('goes on with the other kinds when one cannot be removed', async () => {
    await insert(rows[0]![2], 3, 1);
    await insert(rows[4]![2], 3, 1);
    await db.pool.query('ALTER TABLE idempotency RENAME TO elsewhere');
    const { failed } = await rounds().round(quietly());
    await db.pool.query('ALTER TABLE elsewhere RENAME TO idempotency');
    expect([failed, await keysLeft(), await countOf('ownership_challenge')]).toEqual([['idempotency_keys'], 1, 0]);
    expect((await metrics.render()).text).toContain('surety_background_errors_total{component="sweeper-retention"} 1');
  });

  test('goes on until nothing is due, and shows that it lives', async () => {
    let signs = 0;
    await insert(rows[0]![2], 3, 45_000);
    const { removed } = await rounds().round({ ...quietly(), onProgress: () => void (signs += 1) });
    expect(removed.idempotency_keys).toBe(45_000);
    expect(signs).toBeGreaterThan(retentionKinds.length + 1);
  });

  test('ends early when its process stops, and the next process need not wait', async () => {
    await insert(rows[0]![2], 3, 2);
    const stopping = new AbortController();
    stopping.abort(new Error('stopping'));
    await expect(rounds().round(quietly(stopping.signal))).rejects.toThrow('stopping');
    await insert(rows[0]![2], 3, 2);
    expect((await rounds().round(quietly())).removed.idempotency_keys).toBe(2);
  });

  test('is done by the local job only for kinds that nobody has seen to for two intervals', async () => {
    const backstop = () => rounds().backstop.run(new AbortController().signal);
    await rounds().round(quietly());
    await db.pool.query('TRUNCATE sweep_claim');
    await insert(rows[0]![2], 3, 1);
    await insert(rows[4]![2], 3, 1);
    const seenTo = (ago: string) => db.pool.query(
      `UPDATE retention_mark SET removed_before = now() - interval '2 days' - interval '${ago}' WHERE kind = 'idempotency_keys'`);
    await seenTo('119 minutes');
    await backstop();
    expect([await keysLeft(), await countOf('ownership_challenge')]).toEqual([1, 1]);
    await seenTo('121 minutes');
    await backstop();
    expect([await keysLeft(), await countOf('ownership_challenge')]).toEqual([0, 1]);
  });

  test('is not the local job\'s in the first two intervals of a process that finds no marks', async () => {
    await insert(rows[0]![2], 3, 1);
    const { backstop } = rounds();
    await backstop.run(new AbortController().signal);
    expect(await keysLeft()).toBe(1);
  });
});

test('answers are kept at least as long as the keys under which they are asked for again', () => {
  expect(() => readEnv({ KEEP_ANSWERS_DAYS: '10', KEEP_IDEMPOTENCY_KEYS_DAYS: '20' })).toThrow(/KEEP_ANSWERS_DAYS/);
  expect(() => readEnv({ KEEP_IDEMPOTENCY_KEYS_DAYS: '0' })).toThrow(/KEEP_IDEMPOTENCY_KEYS_DAYS/);
});
