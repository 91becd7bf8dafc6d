/** `npm start` and `npm run worker` as processes of their own. */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { killAll, processesOf, scratchDataDir, startProgram, type Program } from '../support/programs.ts';

jest.setTimeout(60_000);

describe('a platform on embedded servers', () => {
  const { dir, remove } = scratchDataDir();
  let platform: Program;
  let url: string;
  beforeAll(async () => {
    platform = startProgram('api/main.ts', { DATA_DIR: dir, PORT: '0', LOG_LEVEL: 'warn' });
    [, url = ''] = await platform.prints(/Surety is ready {2}API: (\S+)/);
  });
  afterAll(() => {
    killAll([platform.pid]);
    remove();
  });

  test('says that it is ready when it is', async () => {
    const response = await fetch(`${url}/health/ready`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ status: 'ready', checks: { database: 'healthy', temporal: 'healthy' } });
    expect(platform.output()).toMatch(/Docs: \S+\/docs {2}Temporal UI: http:/);
  });

  test('its Temporal UI answers', async () => {
    const [, ui = ''] = /Temporal UI: (\S+)/.exec(platform.output()) ?? [];
    expect((await fetch(ui)).status).toBe(200);
  });

  test('a worker on the same DATA_DIR finds its servers by itself', async () => {
    const worker = startProgram('workers/main.ts', { DATA_DIR: dir, WORKER_QUEUES: 'gateway' });
    await worker.prints(/Surety worker is ready {2}queues: gateway/);
    worker.send('SIGTERM');
    expect(await worker.ended).toBe(0);
  });

  test('SIGTERM stops it and all it has started', async () => {
    platform.send('SIGTERM');
    expect(await platform.ended).toBe(0);
    expect(processesOf(dir)).toEqual([]);
    await expect(fetch(url)).rejects.toThrow();
  });
});

test('a port that is taken stops the start with a sentence, before anything else is started', async () => {
  const { dir, remove } = scratchDataDir();
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as AddressInfo;
  const program = startProgram('api/main.ts', { DATA_DIR: dir, PORT: String(port) });
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain(`Port ${port} of 127.0.0.1 is taken`);
  holder.close();
  remove();
});

test('a worker without a platform says what it needs', async () => {
  const { dir, remove } = scratchDataDir();
  const worker = startProgram('workers/main.ts', { DATA_DIR: dir });
  expect(await worker.ended).toBe(1);
  expect(worker.output()).toMatch(/A worker needs DATABASE_URL and TEMPORAL_ADDRESS/);
  remove();
});
