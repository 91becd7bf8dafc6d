/** The embedded servers as a user meets them: real processes, killed and started again. */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { takeLock } from '../../platform/lock.ts';
import { isAlive, pidsWorkingIn } from '../../platform/processes.ts';
import { connectClient } from '../../temporal/connection.ts';
import { killAll, processesOf, scratchDataDir, startProgram, type Program } from '../support/programs.ts';
import { createStories } from '../support/stories.ts';

jest.setTimeout(60_000);

interface Ready {
  databaseUrl: string;
  temporalAddress: string;
  pids: number[];
}

/** Two at once: each starts servers, and waits for them. */
const { story } = createStories(2);
const cleanups: (() => void)[] = [];
afterAll(() => {
  for (const clean of cleanups.splice(0).reverse()) clean();
});

function newDir(): string {
  const { dir, remove } = scratchDataDir();
  cleanups.push(remove);
  return dir;
}

function start(dir: string, args: readonly string[] = []): Program {
  const program = startProgram('test/runtime/stack-main.ts', { DATA_DIR: dir }, args);
  cleanups.push(() => killAll([program.pid]));
  return program;
}

async function ready(program: Program): Promise<Ready> {
  const [, json] = await program.prints(/READY (.*)\n/);
  return JSON.parse(json ?? '') as Ready;
}

async function query<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<T>(sql);
  await client.end();
  return rows;
}

async function startSleepingWorkflow(address: string): Promise<void> {
  const { client, close } = await connectClient({ address, namespace: 'default' });
  await client.workflow.start('nobodyRunsThis', { workflowId: 'remembered', taskQueue: 'none' });
  await close();
}

async function workflowStatus(address: string): Promise<string> {
  const { client, close } = await connectClient({ address, namespace: 'default' });
  const { status } = await client.workflow.getHandle('remembered').describe();
  await close();
  return status.name;
}

story('after kill -9 of everything the next start has all rows and all workflows', async () => {
  const dir = newDir();
  const first = start(dir);
  const before = await ready(first);
  await query(before.databaseUrl, 'CREATE TABLE kept (n int)');
  await query(before.databaseUrl, 'INSERT INTO kept SELECT generate_series(1, 1000)');
  await startSleepingWorkflow(before.temporalAddress);
  killAll([first.pid, ...before.pids, ...pidsWorkingIn(path.join(dir, 'postgres'))]);
  await first.ended;

  const second = await ready(start(dir));
  expect(await query(second.databaseUrl, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 1000 }]);
  expect(await workflowStatus(second.temporalAddress)).toBe('RUNNING');
});

story('servers that outlived a killed platform are stopped by the next start', async () => {
  const dir = newDir();
  const first = start(dir);
  const before = await ready(first);
  await query(before.databaseUrl, 'CREATE TABLE kept (n int)');
  first.send('SIGKILL');
  await first.ended;
  expect(before.pids.every(isAlive)).toBe(true);

  const program = start(dir);
  const after = await ready(program);
  expect(before.pids.some(isAlive)).toBe(false);
  expect(after.pids).toHaveLength(2);
  expect(await query(after.databaseUrl, 'SELECT * FROM kept')).toEqual([]);
  expect(program.output()).toContain('A Postgres of an earlier start is still running');
});

story('two platforms live side by side, and a second one on the same DATA_DIR is refused with the pid of the first', async () => {
  const [dirA, dirB] = [newDir(), newDir()];
  const [a, b] = [start(dirA), start(dirB)];
  const [readyA, readyB] = await Promise.all([ready(a), ready(b)]);
  expect(readyA.temporalAddress).not.toBe(readyB.temporalAddress);
  await Promise.all([query(readyA.databaseUrl, 'SELECT 1'), query(readyB.databaseUrl, 'SELECT 1')]);

  const refused = start(dirA);
  expect(await refused.ended).toBe(1);
  expect(refused.output()).toContain(`is in use by process ${a.pid}`);
  expect(refused.output()).not.toContain('    at ');
  expect(readyA.pids.every(isAlive)).toBe(true);
});

story('a second Ctrl-C ends a stop that hangs, and still leaves no process behind', async () => {
  const dir = newDir();
  const program = start(dir, ['--hang']);
  await ready(program);
  program.send('SIGINT');
  await program.prints(/Stopping/);
  await sleep(900);
  program.send('SIGINT');
  expect(await program.ended).toBe(130);
  for (let waited = 0; processesOf(dir).length > 0 && waited < 5_000; waited += 50) await sleep(50);
  expect(processesOf(dir)).toEqual([]);
});

describe('one platform, from its start to Ctrl-C', () => {
  const { dir, remove } = scratchDataDir();
  let program: Program;
  let servers: Ready;
  beforeAll(async () => {
    program = startProgram('test/runtime/stack-main.ts', { DATA_DIR: dir });
    servers = await ready(program);
  });
  afterAll(() => {
    killAll([program.pid]);
    remove();
  });

  test('the database password is in a file for its owner only, and in no log', async () => {
    const { password } = new URL(servers.databaseUrl);
    expect(statSync(path.join(dir, 'postgres.password')).mode & 0o777).toBe(0o600);
    expect(statSync(path.join(dir, 'connections.json')).mode & 0o777).toBe(0o600);
    expect(statSync(path.join(dir, 'temporal.db')).mode & 0o077).toBe(0);
    for (const log of ['postgres.log', 'temporal.log']) expect(readFileSync(path.join(dir, log), 'utf8')).not.toContain(password);
    await expect(query(servers.databaseUrl.replace(password, 'guess'), 'SELECT 1')).rejects.toThrow('password authentication failed');
  });

  test('a server that is killed while the platform runs comes back at the same address', async () => {
    await query(servers.databaseUrl, 'CREATE TABLE kept (n int)');
    killAll(servers.pids);
    await program.prints(/It answers again[\s\S]*It answers again/);
    expect(await query(servers.databaseUrl, 'SELECT * FROM kept')).toEqual([]);
    await startSleepingWorkflow(servers.temporalAddress);
  });

  test('Ctrl-C leaves no process behind, even when npm sends it twice', async () => {
    program.send('SIGINT');
    program.send('SIGINT');
    expect(await program.ended).toBe(0);
    expect(processesOf(dir)).toEqual([]);
    expect(pidsWorkingIn(path.join(dir, 'postgres'))).toEqual([]);
  });
});

test('a lock is refused while its process lives and taken over when another process has got its pid', async () => {
  const file = path.join(newDir(), 'test.lock');
  const mine = await takeLock(file);
  expect(await takeLock(file)).toEqual({ heldBy: process.pid });
  if ('release' in mine) await mine.release();

  // The parent lives, but is not the process that wrote this.
  writeFileSync(file, JSON.stringify({ pid: process.ppid, started: 'another boot:1' }));
  expect(await takeLock(file)).toHaveProperty('release');
  // Half a lock, from a disk that was full.
  writeFileSync(file, '{"pid":');
  expect(await takeLock(file)).toHaveProperty('release');
});

test('a wrong setting stops the start with a sentence that names it', async () => {
  const program = startProgram('test/runtime/stack-main.ts', { DATA_DIR: newDir(), PORT: '80a', RATE_LIMIT_RPM: '-1' });
  expect(await program.ended).toBe(1);
  expect(program.output()).toMatch(/PORT: must be a whole number/);
  expect(program.output()).toMatch(/RATE_LIMIT_RPM: /);
  expect(program.output()).not.toContain('    at ');
});
