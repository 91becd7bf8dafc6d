/** The audit by schedule: in slices, one process at a time, with its result on record, in metrics and in health. */
import { booksProbe } from '../../api/books-probe.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { tables } from '../../ledger/audit/rule.ts';
import { latestAudit, recordAudit } from '../../ledger/audit/runs.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createAudit } from '../../workers/audit.ts';
import { aDeposit, anAddress, platformAddress, silent } from '../support/builders.ts';
import { aCandidate, aDelivery, aNewCall, anOpenSession, aStore } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());
beforeEach(() => db.pool.query('TRUNCATE audit_run, sweep_claim'));

const HOUR_MS = 3_600_000;
const going = new AbortController().signal;
const quietly = { signal: going, onProgress: () => undefined };
/** The audit of one process, and its local job, which is due at once when nobody has audited yet. */
function aJob(firstAfterMs = 0) {
  const metrics = createMetrics({ runtime: false });
  const { round, backstop } = createAudit({ pool: db.pool, log: silent, metrics, everyMs: HOUR_MS, firstAfterMs });
  return { metrics, round, run: backstop.run };
}
const runs = async (): Promise<number> => Number((await db.pool.query<{ n: string }>('SELECT count(*) AS n FROM audit_run')).rows[0]?.n);

test('is run by one of three processes, and not again before its time', async () => {
  const jobs = [aJob(), aJob(), aJob()];
  await Promise.all(jobs.map(({ run }) => run(going)));
  expect(await runs()).toBe(1);
  await db.pool.query('TRUNCATE sweep_claim');
  await Promise.all(jobs.map(({ run }) => run(going)));
  expect(await runs()).toBe(1);
  await db.pool.query(`UPDATE audit_run SET ended_at = ended_at - interval '119 minutes'`);
  await Promise.all(jobs.map(({ run }) => run(going)));
  expect(await runs()).toBe(1);
  await db.pool.query(`UPDATE audit_run SET ended_at = ended_at - interval '1 minute'`);
  await Promise.all(jobs.map(({ run }) => run(going)));
  expect(await runs()).toBe(2);
});

test('is made by the schedule whenever that comes, and by one process only', async () => {
  const jobs = [aJob(), aJob(), aJob()];
  expect((await Promise.all(jobs.map(({ round }) => round(quietly)))).filter(({ done }) => done)).toEqual(
    [{ done: true, rowsAtFault: 0, findings: [] }]);
  await db.pool.query('TRUNCATE sweep_claim');
  expect(await aJob().round(quietly)).toMatchObject({ done: true });
  expect(await runs()).toBe(2);
});

test('gives the books free when its process stops, so that another one begins at once', async () => {
  const stopping = new AbortController();
  const onProgress = () => stopping.abort(new Error('stopping'));
  await expect(aJob().round({ signal: stopping.signal, onProgress })).rejects.toThrow('aborted');
  expect(await aJob().round(quietly)).toMatchObject({ done: true });
  expect(await runs()).toBe(1);
});

test('waits for a while after the start where there was none before', async () => {
  await aJob(60_000).run(going);
  expect(await runs()).toBe(0);
});

test('says what it found: on record, in the metrics of every process, and in health', async () => {
  const probe = booksProbe(db.pool, HOUR_MS);
  expect(await probe.check()).toEqual({ detail: 'not audited yet' });
  const other = aJob();
  await aJob().run(going);
  await other.run(going);
  expect((await other.metrics.render()).text).toMatch(/surety_audit_findings 0\n/);
  expect((await other.metrics.render()).text).toMatch(/surety_audit_timestamp_seconds 1\d{9}/);
  expect(await probe.check()).toMatchObject({ healthy: true, detail: expect.stringContaining('right by the audit') });

  const owner = anAddress();
  await aDeposit(db.pool, owner, '1');
  await db.pool.query('UPDATE account SET pending = 1 WHERE owner = $1', [owner]);
  await db.pool.query('TRUNCATE audit_run, sweep_claim');
  const { metrics, run } = aJob();
  await run(going);
  await db.pool.query('UPDATE account SET pending = 0 WHERE owner = $1', [owner]);
  expect((await latestAudit(db.pool))?.findings.map(({ invariant }) => invariant)).toEqual(expect.arrayContaining(['I1', 'I2', 'I6']));
  expect((await metrics.render()).text).toMatch(/surety_audit_findings 4\n/);
  expect(await probe.check()).toMatchObject({ healthy: false, detail: expect.stringContaining('found 4 rows at fault') });
});

test('is missed when it does not come', async () => {
  await recordAudit(db.pool, new Date(), { ok: true, findings: [] });
  await db.pool.query(`UPDATE audit_run SET ended_at = ended_at - interval '4 hours'`);
  expect(await booksProbe(db.pool, HOUR_MS).check()).toMatchObject({ healthy: false, detail: expect.stringContaining('no audit since') });
});

test('ends between two statements when the process stops, and is not on record', async () => {
  const stopping = new AbortController();
  let statements = 0;
  const stopAtFifth = () => {
    statements += 1;
    if (statements === 5) stopping.abort(new Error('stopping'));
    return Promise.resolve();
  };
  await expect(auditBooks(db.pool, { signal: stopping.signal, onStatement: stopAtFifth })).rejects.toThrow('stopping');
  expect(statements).toBe(5);
  expect((await db.pool.query('SELECT 1')).rows).toHaveLength(1);
});

describe('with slices of three rows', () => {
  const real = Object.fromEntries(Object.entries(tables).map(([name, { rows }]) => [name, rows]));
  const slices = (rows: (name: string) => number): void => {
    for (const [name, table] of Object.entries(tables)) Object.assign(table, { rows: rows(name) });
  };
  afterEach(() => slices((name) => real[name] ?? 0));

  test('finds nothing in books that are right, and in others the same as in one go', async () => {
    const store = aStore(db.pool);
    const session = await anOpenSession(db.pool, { maxTotal: '5.00' });
    for (let n = 0; n < 11; n += 1) {
      const call = aNewCall(session, [aCandidate(anAddress())], { feeBps: 250 });
      await store.accept(call);
      if (n < 9) await store.settle(aDelivery(call.id));
    }
    slices(() => 3);
    expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });

    await db.pool.query(`UPDATE gateway_call SET price = price + 1 WHERE state = 'settled'`);
    await db.pool.query('UPDATE account SET available = available + 1, total_in = total_in + 1 WHERE owner = $1', [platformAddress]);
    const sliced = await auditBooks(db.pool);
    slices((name) => real[name] ?? 0);
    expect(sliced).toEqual(await auditBooks(db.pool));
    expect(sliced.findings.map(({ invariant, count }) => [invariant, count])).toEqual(expect.arrayContaining([['I5', 9], ['I9', 1]]));
  });
});
