/** Who may ask the seller of a call: its driver, while it gives a sign of life; then another one, who knows whether somebody was asked. */
import { auditBooks } from '../../ledger/audit.ts';
import type { GatewayStore } from '../../activities/gateway/store.ts';
import { anAddress } from '../support/builders.ts';
import { aCandidate, aGivenUp, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/platform-suite.ts';

const LEASE_MS = 600;
let db: TestDatabase;
let first: GatewayStore;
let second: GatewayStore;

beforeAll(async () => {
  db = await createTestDatabase();
  first = aStore(db.pool, { driver: 'first', leaseMs: LEASE_MS });
  second = aStore(db.pool, { driver: 'second', leaseMs: LEASE_MS });
}, 30_000);
afterEach(async () => expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] }));
afterAll(async () => db.close());

async function accepted(): Promise<string> {
  const session = await anOpenSession(db.pool);
  const call = aNewCall(session, [aCandidate(anAddress(), '0.10', { idempotent: false }), aCandidate(anAddress(), '0.10')]);
  expect((await first.accept(call)).outcome).toBe('accepted');
  return call.id;
}
const fallSilent = (id: string) =>
  db.pool.query(`UPDATE gateway_call SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1`, [id]);

test('whoever takes a call over knows whether its seller was asked', async () => {
  const [unasked, asked, movedOn] = [await accepted(), await accepted(), await accepted()];
  expect(await first.noteAsking({ callId: asked, attempt: 0 })).toBe(true);
  expect(await first.noteAsking({ callId: movedOn, attempt: 0 })).toBe(true);
  expect(await first.nextAttempt(movedOn, 0, 1, [])).toBe('moved');
  for (const id of [unasked, asked, movedOn]) await fallSilent(id);
  const taken = await second.takeOver([unasked, asked, movedOn]);
  expect(Object.fromEntries(taken.map((call) => [call.id, [call.asked, call.attempt]])))
    .toEqual({ [unasked]: [false, 0], [asked]: [true, 0], [movedOn]: [false, 1] });
});

test('nobody may ask for a call that has ended, has moved on, or is driven by somebody else', async () => {
  const [ended, movedOn, taken] = [await accepted(), await accepted(), await accepted()];
  await first.release(aGivenUp(ended));
  await first.nextAttempt(movedOn, 0, 1, []);
  await fallSilent(taken);
  expect(await second.takeOver([taken])).toHaveLength(1);
  const asks = (store: GatewayStore) => Promise.all([ended, movedOn, taken].map((callId) => store.noteAsking({ callId, attempt: 0 })));
  expect([await asks(first), await asks(second)]).toEqual([[false, false, false], [false, false, true]]);
});

test('after the database was away, silence counts only when those who live have had time to renew', async () => {
  const [id, locked] = [await accepted(), await accepted()];
  const client = await db.pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM gateway_call WHERE id = $1 FOR UPDATE', [locked]);
    const lost = second.release(aGivenUp(locked)).then(() => null, (error: { code?: string }) => error.code);
    // The connection over which the second process asks is cut.
    await eventually(async () => {
      const { rowCount } = await db.pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'`);
      expect(rowCount).toBe(1);
    });
    expect(await lost).toBe('unavailable');
    await client.query('ROLLBACK');
  } finally {
    client.release(true);
  }
  await fallSilent(id);
  expect(await second.takeOver([id])).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 50));
  expect(await second.takeOver([id])).toMatchObject([{ id }]);
});
