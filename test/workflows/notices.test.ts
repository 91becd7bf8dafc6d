/** Notices that nobody has confirmed: processes share them, one bad row holds up no other, and a slow Temporal is not asked more. */
import { jest } from '@jest/globals';
import { createLog } from '../../platform/log.ts';
import type { KeptKind, KeptRow } from '../../workers/keeper.ts';
import { createNotices, toldOf, type Notices, type Told } from '../../workers/notices.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
}, 60_000);
beforeEach(() => db.pool.query('DELETE FROM workflow_notice'));
afterEach(() => jest.restoreAllMocks());
afterAll(() => db.close());

const rowOf = (id: string): KeptRow => ({
  id, view: { version: 1, state: 'open', ended: false, deadlineMs: null }, summary: '', buyer: '0xb', seller: null,
  tenantId: null, amountUsd: 1,
});
const kind: KeptKind = { queue: 'stream', workflow: 'stream', read: async (ids) => ids.map(rowOf) };

async function someNotices(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, n) => `p${n}`);
  await db.pool.query(
    `INSERT INTO workflow_notice (payment_id, kind, version, noted_at)
     SELECT id, 'stream', 1, clock_timestamp() - interval '10 seconds' FROM unnest($1::text[]) AS id`, [ids]);
  return ids;
}

/** A process: what it told, and whether it came through. */
function aProcess({ outcome = () => 'told', leaseMs }: { outcome?: (id: string) => Told; leaseMs?: number } = {}): { notices: Notices;
    told: string[] } {
  const told: string[] = [];
  const tell = (_kind: KeptKind, { id }: KeptRow): Promise<Told> => {
    told.push(id);
    return Promise.resolve(outcome(id));
  };
  return { told, notices: createNotices({ pool: db.pool, log: createLog('silent', 'test'), tell,
    ...(leaseMs === undefined ? {} : { leaseMs }) }) };
}

test('three processes that sweep at once tell each workflow once', async () => {
  const ids = await someNotices(250);
  const processes = [aProcess(), aProcess(), aProcess()];
  for (let round = 0; round < 3; round += 1) await Promise.all(processes.map(({ notices }) => notices.sweep(kind)));
  expect(processes.flatMap(({ told }) => told).sort()).toEqual(ids.sort());
});

test('what a process claimed and did not bring through is tried again after its lease, by anybody', async () => {
  const ids = await someNotices(3);
  const [dead, other] = [aProcess({ outcome: () => 'unreachable', leaseMs: 300 }), aProcess({ leaseMs: 300 })];
  await dead.notices.sweep(kind);
  await other.notices.sweep(kind);
  expect(other.told).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 400));
  await other.notices.sweep(kind);
  expect(other.told.sort()).toEqual(ids);
});

test('a notice that is written anew after it was claimed does not wait for the lease', async () => {
  await someNotices(1);
  const one = aProcess();
  await one.notices.sweep(kind);
  await db.pool.query(`UPDATE workflow_notice SET version = 2, noted_at = claimed_until - interval '9 seconds'`);
  // Believed to be told by its writer for three seconds; the clock of this test goes no faster than others.
  await new Promise((resolve) => setTimeout(resolve, 4_200));
  await one.notices.sweep(kind);
  expect(one.told).toEqual(['p0', 'p0']);
}, 15_000);

test('rows that fail again and again come after those that nobody has tried', async () => {
  const ids = await someNotices(120);
  const bad = new Set(ids.slice(0, 100));
  const one = aProcess({ outcome: (id) => (bad.has(id) ? 'refused' : 'told'), leaseMs: 1 });
  await db.pool.query(`UPDATE workflow_notice SET noted_at = noted_at - interval '1 minute' WHERE payment_id = ANY ($1)`, [[...bad]]);
  await one.notices.sweep(kind);
  expect(new Set(one.told)).toEqual(bad);
  await one.notices.sweep(kind);
  expect(one.told.filter((id) => !bad.has(id))).toHaveLength(20);
});

test('a row that cannot be read does not keep the others from being told', async () => {
  await someNotices(3);
  const one = aProcess();
  await one.notices.sweep({ ...kind, read: async (ids) => (ids.includes('p1') ? Promise.reject(new Error('not a row')) : ids.map(rowOf)) });
  expect(one.told.sort()).toEqual(['p0', 'p2']);
});

test('while nothing comes through the pause doubles up to half a minute, a few are tried after each, and success ends it', async () => {
  await someNotices(250);
  const start = Date.now();
  let seconds = 0;
  jest.spyOn(Date, 'now').mockImplementation(() => start + seconds * 1_000);
  let works = false;
  const one = aProcess({ outcome: () => (works ? 'told' : 'unreachable') });
  const rounds: [atSecond: number, told: number][] = [];
  for (; seconds <= 100; seconds += 2) {
    const before = one.told.length;
    await one.notices.sweep(kind);
    if (one.told.length > before) rounds.push([seconds, one.told.length - before]);
  }
  expect(rounds).toEqual([[0, 100], [2, 8], [6, 8], [14, 8], [30, 8], [60, 8], [90, 8]]);
  works = true;
  seconds = 120;
  await one.notices.sweep(kind);
  expect(one.told).toHaveLength(156);
  await one.notices.sweep(kind);
  expect(one.told).toHaveLength(250);
});

test.each<[what: string, error: unknown, told: Told]>([
  ['an answer that the server does not take this one',
    Object.assign(new Error(), { cause: Object.assign(new Error('3 INVALID_ARGUMENT'), { code: 3 }) }), 'refused'],
  ['a time-out', Object.assign(new Error(), { cause: Object.assign(new Error('4 DEADLINE_EXCEEDED'), { code: 4 }) }), 'unreachable'],
  ['a server that has too much to do', Object.assign(new Error('8 RESOURCE_EXHAUSTED'), { code: 8 }), 'unreachable'],
  ['a connection that is gone', new Error('transport error'), 'unreachable'],
])('%s counts as what it is', (_what, error, told) => expect(toldOf(error)).toBe(told));
