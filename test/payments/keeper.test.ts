/**
 * The one keeper: processes share notices, one bad payment holds up no other, a slow Temporal is not asked more, and what is over before a
 * start was sent needs no workflow.
 */
import { jest } from '@jest/globals';
import { createNotices } from '../../ledger/notices.ts';
import { createCapacity, type Capacity } from '../../payments/capacity.ts';
import { createKeeper, type Family, type Keeper, type Subject } from '../../payments/keeper.ts';
import { isAboutOneRequest, type Began } from '../../payments/messages.ts';
import { createLog } from '../../platform/log.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/platform-suite.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
}, 60_000);
beforeEach(() => db.pool.query('DELETE FROM workflow_notice'));
afterEach(() => jest.restoreAllMocks());
afterAll(() => db.close());

async function someNotices(count: number, kind = 'stream'): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, n) => `${kind}${n}`);
  await db.pool.query(
    `INSERT INTO workflow_notice (payment_id, kind, version, noted_at)
     SELECT id, $2, 1, clock_timestamp() - interval '10 seconds' FROM unnest($1::text[]) AS id`, [ids, kind]);
  return ids;
}
const noticed = async (): Promise<string[]> =>
  (await db.pool.query<{ payment_id: string }>('SELECT payment_id FROM workflow_notice ORDER BY 1')).rows.map((row) => row.payment_id);

/** What Temporal says: of one payment that it is not to be had, or nothing at all. */
const refused = (): Error => Object.assign(new Error(), { cause: Object.assign(new Error('3 INVALID_ARGUMENT'), { code: 3 }) });
const silent = (): Error => Object.assign(new Error('4 DEADLINE_EXCEEDED'), { code: 4 });

interface Process {
  readonly keeper: Keeper;
  readonly capacity: Capacity;
  /** Payments whose workflow was asked, in order. */
  readonly asked: string[];
  readonly started: string[];
  readonly marked: string[];
  family(kind: string, subject?: Partial<Subject>, read?: Family<Subject>['read']): ReturnType<Keeper['of']>;
}

/** A process with a keeper of its own. `answer`: throws what Temporal says instead of taking the signal. */
function aProcess({ answer = () => 'accepted', leaseMs, began = 'queued', places = 4 }: {
  answer?: (id: string) => 'accepted' | 'missing'; leaseMs?: number; began?: Began; places?: number } = {}): Process {
  const [asked, started, marked]: [string[], string[], string[]] = [[], [], []];
  const moved = async (workflowId: string): Promise<'accepted' | 'missing'> => {
    asked.push(workflowId);
    return answer(workflowId);
  };
  const capacity = createCapacity({ atOnceMax: places, timeoutsMax: 3, probeEveryMs: 1_000 });
  const keeper = createKeeper({
    notices: createNotices(db.pool), messages: { moved }, capacity, log: createLog('silent', 'test'),
    metrics: createMetrics({ runtime: false }), ...(leaseMs === undefined ? {} : { leaseMs }),
  });
  const family: Process['family'] = (kind, subject = {}, read) => keeper.of({
    kinds: [kind],
    read: read ?? (async (id) => ({ id, kind, version: 1, ended: false, workflowId: id, workflowStarted: true, ...subject })),
    markStarted: async (id) => void marked.push(id),
    starting: async ({ id }) => async () => {
      started.push(id);
      return began;
    },
  });
  return { keeper, capacity, asked, started, marked, family };
}
function aStreamProcess(options: Parameters<typeof aProcess>[0] = {}): Process {
  const process = aProcess(options);
  process.family('stream');
  return process;
}

describe('the sweep', () => {
  test('three processes that sweep at once inform each workflow once', async () => {
    const ids = await someNotices(250);
    const processes = [aStreamProcess(), aStreamProcess(), aStreamProcess()];
    for (let round = 0; round < 3; round += 1) await Promise.all(processes.map(({ keeper }) => keeper.sweep()));
    expect(processes.flatMap(({ asked }) => asked).sort()).toEqual(ids.sort());
    expect(await noticed()).toEqual([]);
  });

  test('what a process claimed and did not bring through is tried again after its lease, by anybody', async () => {
    const ids = await someNotices(2);
    const [dead, other] = [aStreamProcess({ leaseMs: 300, answer: () => { throw silent(); } }), aStreamProcess({ leaseMs: 300 })];
    await dead.keeper.sweep();
    await other.keeper.sweep();
    expect([dead.asked.toSorted(), other.asked]).toEqual([ids, []]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await other.keeper.sweep();
    expect(other.asked.sort()).toEqual(ids);
  });

  test('a notice that is written anew after it was claimed does not wait for the lease', async () => {
    await someNotices(1);
    const one = aStreamProcess({ answer: () => { throw refused(); } });
    await one.keeper.sweep();
    await db.pool.query(`UPDATE workflow_notice SET version = 2, noted_at = claimed_until - interval '14 seconds'`);
    // Believed to be seen to by its writer for three seconds; the clock of this test goes no faster than others.
    await new Promise((resolve) => setTimeout(resolve, 4_200));
    await one.keeper.sweep();
    expect(one.asked).toEqual(['stream0', 'stream0']);
  }, 15_000);

  test('payments that fail again and again come after those that nobody has tried', async () => {
    const ids = await someNotices(70);
    const bad = new Set(ids.slice(0, 50));
    const one = aStreamProcess({ leaseMs: 1, answer: (id) => {
      if (bad.has(id)) throw refused();
      return 'accepted';
    } });
    await db.pool.query(`UPDATE workflow_notice SET noted_at = noted_at - interval '1 minute' WHERE payment_id = ANY ($1)`, [[...bad]]);
    await one.keeper.sweep();
    expect(new Set(one.asked)).toEqual(bad);
    await one.keeper.sweep();
    expect(one.asked.filter((id) => !bad.has(id))).toHaveLength(20);
    expect(await noticed()).toEqual([...bad].sort());
  });

  test('a payment that cannot be read does not keep the others from being seen to, nor counts against Temporal', async () => {
    await someNotices(8);
    const one = aProcess();
    one.family('stream', {}, async (id) => {
      if (/[0-4]/.test(id)) throw new Error('not a row');
      return { id, kind: 'stream', version: 1, ended: false, workflowId: id, workflowStarted: true };
    });
    await one.keeper.sweep();
    expect(one.asked.sort()).toEqual(['stream5', 'stream6', 'stream7']);
    expect(one.capacity.isOpen()).toBe(false);
  });

  test('families are swept by one keeper, each read and started in its own way', async () => {
    await someNotices(2);
    await someNotices(2, 'pipeline');
    const one = aStreamProcess({ answer: (id) => (id.startsWith('pipeline') ? 'missing' : 'accepted') });
    one.family('pipeline');
    await one.keeper.sweep();
    expect([one.asked.toSorted(), one.started.toSorted(), one.marked])
      .toEqual([['pipeline0', 'pipeline1', 'stream0', 'stream1'], ['pipeline0', 'pipeline1'], []]);
    expect(await noticed()).toEqual([]);
  });

  test('while nothing comes through the pause doubles up to half a minute, few are tried after each, and success ends it', async () => {
    await someNotices(250);
    const start = Date.now();
    let seconds = 0;
    jest.spyOn(Date, 'now').mockImplementation(() => start + seconds * 1_000);
    let works = false;
    const one = aStreamProcess({ answer: () => {
      if (!works) throw silent();
      return 'accepted';
    } });
    const rounds: [atSecond: number, asked: number][] = [];
    for (; seconds <= 100; seconds += 2) {
      const before = one.asked.length;
      await one.keeper.sweep();
      if (one.asked.length > before) rounds.push([seconds, one.asked.length - before]);
    }
    expect(rounds).toEqual([[0, 3], [2, 1], [6, 1], [14, 1], [30, 1], [60, 1], [90, 1]]);
    works = true;
    seconds = 120;
    await one.keeper.sweep();
    expect(one.asked).toHaveLength(9 + 8);
    await one.keeper.sweep();
    expect(one.asked).toHaveLength(9 + 8 + 50);
  });
});

describe('one payment', () => {
  const soon = async (process: Process, subject: Partial<Subject>): Promise<void> => {
    await someNotices(1);
    process.family('stream', subject).soon('stream0');
    await process.keeper.flush(5_000);
  };

  test('that has no workflow yet is marked before its start is sent', async () => {
    const one = aProcess();
    await soon(one, { workflowStarted: false });
    expect([one.marked, one.started, one.asked, await noticed()]).toEqual([['stream0'], ['stream0'], [], []]);
  });
  test('that has ended before a start was sent needs no workflow', async () => {
    const one = aProcess();
    await soon(one, { workflowStarted: false, ended: true });
    expect([one.marked, one.started, one.asked]).toEqual([[], [], []]);
  });
  test('that has ended with its workflow is forgotten', async () => {
    const one = aProcess({ answer: () => 'missing' });
    await soon(one, { ended: true });
    expect([one.asked, one.started, await noticed()]).toEqual([['stream0'], [], []]);
  });
  test('whose start finds a workflow there sends it a signal as well: it may have been started with less', async () => {
    const one = aProcess({ began: 'was there' });
    await soon(one, { workflowStarted: false });
    expect([one.started, one.asked, await noticed()]).toEqual([['stream0'], ['stream0'], []]);
  });
  test('whose version has grown meanwhile stays noted', async () => {
    const one = aProcess();
    await someNotices(1);
    await db.pool.query('UPDATE workflow_notice SET version = 2');
    one.family('stream').confirmed('stream0', 1);
    await one.keeper.flush(5_000);
    expect(await noticed()).toEqual(['stream0']);
  });
  test('waits while there is no room, and is informed when there is some', async () => {
    const one = aProcess({ places: 1 });
    await someNotices(1);
    expect(one.capacity.take()).toBe(true);
    one.family('stream').soon('stream0');
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(one.asked).toEqual([]);
    one.capacity.release();
    await eventually(async () => expect([one.asked, await noticed()]).toEqual([['stream0'], []]));
  });
  test.each<[what: string, send: () => Promise<Began>, left: string[]]>([
    ['is forgotten when Temporal has it', () => Promise.resolve('eager'), []],
    ['stays noted when Temporal does not answer', () => Promise.reject(silent()), ['stream0']],
  ])('whose start goes out with it %s, and its place is free again', async (_what, send, left) => {
    const one = aProcess({ places: 1 });
    await someNotices(1);
    one.capacity.take();
    await one.family('stream').started({ id: 'stream0', version: 1, workflowId: 'stream0' }, send);
    await one.keeper.flush(5_000);
    expect([await noticed(), one.capacity.take()]).toEqual([left, true]);
  });
});

test.each<[what: string, error: unknown, aboutOne: boolean]>([
  ['an answer that the server does not take this one', refused(), true],
  ['a time-out', Object.assign(new Error(), { cause: silent() }), false],
  ['a server that has too much to do', Object.assign(new Error('8 RESOURCE_EXHAUSTED'), { code: 8 }), false],
  ['a connection that is gone', new Error('transport error'), false],
])('%s counts as what it is', (_what, error, aboutOne) => expect(isAboutOneRequest(error)).toBe(aboutOne));
