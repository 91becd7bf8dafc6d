/** Leases on work of jobs: each part is done by one process at a time, and parts that fail hide no others. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createClaims } from '../../workers/claims.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
}, 60_000);
beforeEach(() => db.pool.query('DELETE FROM sweep_claim'));
afterAll(() => db.close());

const overdue = Array.from({ length: 25 }, (_, n) => `p${String(n).padStart(2, '0')}`);
/** The longest waiting first, as the queries of the stores. */
const find = (limit: number): Promise<string[]> => Promise.resolve(overdue.slice(0, limit));
const aProcess = (leaseMs?: number) => createClaims({ pool: db.pool, job: 'test', ...(leaseMs === undefined ? {} : { leaseMs }) });

test('processes that claim at once never get the same row, and later rounds get the rows behind those that are claimed', async () => {
  const rounds: string[][] = [];
  for (let round = 0; round < 3; round += 1) rounds.push(...(await Promise.all([aProcess().take(5, find), aProcess().take(5, find)])));
  const claimed = rounds.flat();
  expect(new Set(claimed).size).toBe(claimed.length);
  // Two that ask at the same moment may have found the same five, of which each row goes to one.
  expect(claimed.length).toBeGreaterThanOrEqual(15);
  expect([...claimed].sort()).toEqual(overdue.slice(0, claimed.length));
});

test('a row comes back when its lease has run out, and only then', async () => {
  expect(await aProcess(300).take(2, find)).toEqual(['p00', 'p01']);
  expect(await aProcess(300).take(2, () => Promise.resolve(['p00', 'p01']))).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(await aProcess(300).take(2, find)).toEqual(['p00', 'p01']);
});

test('the claims of one sweeper are nothing to another', async () => {
  await aProcess().take(2, find);
  expect(await createClaims({ pool: db.pool, job: 'other' }).take(2, find)).toEqual(['p00', 'p01']);
});

test('claims are forgotten a minute after they have run out', async () => {
  await aProcess().take(3, find);
  await db.pool.query(
    `UPDATE sweep_claim SET claimed_until = claimed_until - CASE id WHEN 'p00' THEN interval '0' ELSE interval '2 minutes' END`);
  await aProcess().take(3, () => Promise.resolve([]));
  expect((await db.pool.query('SELECT id FROM sweep_claim')).rows).toEqual([{ id: 'p00' }]);
});

// `IN (SELECT … LIMIT …)` beside UPDATE or DELETE may be run again for each row, as the plan of the moment has it: then it takes more.
test('whatever claims so many rows finds out which they are once', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const namesIn = (folder: string) => (readdirSync(root + folder, { recursive: true }) as string[]).map((name) => `${folder}/${name}`);
  const sources = ['activities', 'ledger', 'payments', 'prisma/functions', 'trust', 'workers'].flatMap(namesIn)
    .filter((name) => /\.(ts|sql)$/.test(name));
  const claims = sources.flatMap((name) => [...readFileSync(root + name, 'utf8').matchAll(/\(\s*SELECT[^;`]*?SKIP LOCKED/g)]
    .filter(([text]) => text.includes('LIMIT')).map(({ index }) => ({ name, index })));
  expect(claims.length).toBeGreaterThan(5);
  const before = ({ name, index }: { name: string; index: number }): string =>
    readFileSync(root + name, 'utf8').slice(0, index).trimEnd().slice(-5);
  expect(claims.filter((claim) => before(claim) !== 'ARRAY')).toEqual([]);
});
