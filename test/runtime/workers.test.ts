/** A Temporal worker that ends unasked: who asks whether the process is ready hears of it, it is counted, and another one is made. */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Worker as Thread } from 'node:worker_threads';
import { Worker } from '@temporalio/worker';
import { createMetrics } from '../../platform/metrics.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { createSupervisor, type Supervisor } from '../../workers/supervisor.ts';
import { tuning } from '../../workers/tuning.ts';
import { taskQueues } from '../../workflows/contracts/ids.ts';
import { silent } from '../support/builders.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';
import { connectTestTemporal, type TestTemporal } from '../support/temporal.ts';

jest.setTimeout(60_000);

/** Watched only: every worker is a real one. */
const create = jest.spyOn(Worker, 'create');
let platform: TestPlatform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform?.close());

/** The latest worker of the queue. */
async function workerOf(queue: 'escrow' | 'stream'): Promise<Worker> {
  const workers = await Promise.all(create.mock.results.map(({ value }) => value as Promise<Worker>));
  const found = workers.findLast(({ options }) => options.taskQueue === taskQueues[queue] + platform.queueSuffix);
  if (found === undefined) throw new Error(`No worker serves ${queue}.`);
  return found;
}

const ready = () => platform.ask('GET', '/health/ready');
const workers = { name: 'workers', healthy: true };
const figure = async (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec((await platform.ask('GET', '/metrics')).text)?.[1]);

/** A workflow that only a worker of the queue can bring to its end. */
async function escrowIsServed(): Promise<void> {
  const buyer = await platform.aTrader('5.00');
  const seller = await platform.aTrader();
  const { body } = await platform.ask('POST', '/v1/escrow', { key: buyer.key,
    body: { buyerAddr: buyer.address, sellerAddr: seller.address, amount: '1.00' } });
  const view = await platform.temporal.client.workflow.getHandle(body.escrow.workflowId as string).query('surety-view');
  expect(view).toMatchObject({ state: 'pending' });
}

async function openStream() {
  const [buyer, seller] = [await platform.aTrader('5.00'), await platform.aTrader()];
  return platform.ask('POST', '/v1/streams', { key: buyer.key,
    body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount: '1.00', pricePerTick: '0.01' } });
}

test('shows in /health/ready by the name of its queue, and not in /health/live, until another one serves the queue', async () => {
  expect(await ready()).toMatchObject({ status: 200, body: { subsystems: expect.arrayContaining([workers]) } });
  await escrowIsServed();
  (await workerOf('escrow')).shutdown();

  const unready = await eventually(async () => {
    const reply = await ready();
    expect(reply.status).toBe(503);
    return reply;
  }, { withinMs: 1_500 });
  expect(unready.body).toMatchObject({ status: 'degraded', checks: { workers: 'unhealthy', temporal: 'healthy' } });
  expect(unready.body.subsystems).toContainEqual(
    { name: 'workers', healthy: false, detail: 'no worker serves escrow here; one is being made' });
  expect(await platform.ask('GET', '/health/live')).toMatchObject({ status: 200 });

  await eventually(async () => expect((await ready()).status).toBe(200), { withinMs: 15_000 });
  expect((await workerOf('escrow')).getState()).toBe('RUNNING');
  await escrowIsServed();
  expect(await figure('surety_workers_ended_total{queue="escrow"}')).toBe(1);
  expect(await figure('surety_workers_ended_total{queue="stream"}')).toBe(0);
  expect(await figure('surety_worker_up{queue="escrow"}')).toBe(1);
});

test('comes back too when the thread of its workflows has died', async () => {
  const dying = await workerOf('stream');
  const threads = Reflect.get(Reflect.get(dying, 'workflowCreator') as object, 'workerThreadClients') as { workerThread: Thread }[];
  await threads[0]?.workerThread.terminate();
  // The first task that comes finds it dead; the stream is opened all the same.
  expect(await openStream()).toMatchObject({ status: 201 });
  await eventually(async () => expect((await ready()).body.checks).toMatchObject({ workers: 'unhealthy' }), { withinMs: 1_500 });
  expect(dying.getState()).toBe('FAILED');

  await eventually(async () => expect((await ready()).status).toBe(200), { withinMs: 15_000 });
  const { body } = await openStream();
  const view = await platform.temporal.client.workflow.getHandle(body.stream.workflowId as string).query('surety-view');
  expect(view).toMatchObject({ state: 'open' });
  expect(await figure('surety_workers_ended_total{queue="stream"}')).toBe(1);
});

describe('a supervisor', () => {
  let temporal: TestTemporal;
  beforeAll(async () => {
    temporal = await connectTestTemporal();
  });
  // Closing is refused while a worker has the connection.
  afterAll(() => temporal?.close());

  const aWorker = async (): Promise<Worker> => Worker.create({
    connection: temporal.nativeConnection, taskQueue: temporal.taskQueue('supervised'),
    workflowBundle: await workflowBundle(process.env['CACHE_DIR']),
  });
  const supervise = (temporalAnswers: () => Promise<unknown>, creates: readonly (() => Promise<Worker>)[] = [aWorker]): Supervisor =>
    createSupervisor({
      queues: creates.map((make, n) => ({ queue: `queue-${n}`, create: make })), log: silent, metrics: createMetrics({ runtime: false }),
      temporalAnswers, pauseMs: 600_000,
    });

  test.each([
    ['refuses everybody', () => Promise.reject(new Error('away'))],
    ['stands still', () => new Promise(() => undefined)],
  ])('does not call the process unhealthy for a missing worker while Temporal %s', async (_what, temporalAnswers) => {
    const supervisor = supervise(temporalAnswers);
    await supervisor.start('all');
    const worker = await (create.mock.results.at(-1)?.value as Promise<Worker>);
    expect(await supervisor.health()).toEqual({ healthy: true });
    worker.shutdown();
    expect(await supervisor.health()).toEqual({ healthy: true, detail: 'no worker serves queue-0 here; Temporal does not answer' });
    await supervisor.stop();
  });

  test('leaves no worker behind where one of them cannot be made', async () => {
    const supervisor = supervise(() => Promise.resolve(), [aWorker, () => Promise.reject(new Error('not allowed')), aWorker]);
    await expect(supervisor.start('all')).rejects.toThrow('not allowed');
  });

  test('tries again until a worker can be made', async () => {
    let tries = 0;
    const supervisor = createSupervisor({
      queues: [{ queue: 'card', create: () => ((tries += 1) === 2 || tries === 3 ? Promise.reject(new Error('not now')) : aWorker()) }],
      log: silent, metrics: createMetrics({ runtime: false }), temporalAnswers: () => Promise.resolve(), pauseMs: 20,
    });
    await supervisor.start('all');
    (await (create.mock.results.at(-1)?.value as Promise<Worker>)).shutdown();
    await eventually(async () => expect([tries, await supervisor.health()]).toEqual([4, { healthy: true }]));
    await supervisor.stop();
  });

  test('stops without waiting for a worker that is being made', async () => {
    let tries = 0;
    const supervisor = createSupervisor({
      queues: [{ queue: 'card', create: () => ((tries += 1) === 1 ? aWorker() : new Promise<Worker>(() => undefined)) }],
      log: silent, metrics: createMetrics({ runtime: false }), temporalAnswers: () => Promise.resolve(), pauseMs: 1,
    });
    await supervisor.start('all');
    (await (create.mock.results.at(-1)?.value as Promise<Worker>)).shutdown();
    await eventually(async () => expect(tries).toBe(2));
    await supervisor.stop();
    expect(await supervisor.health()).toEqual({ healthy: true });
  });
});

describe('the dimensions of the queues', () => {
  test.each(Object.entries(tuning))('leave slots for eager starts beside all that pollers can reserve: %s', (_queue, row) => {
    const { workflowTaskPollerBehavior: pollers, maxConcurrentWorkflowTaskExecutions: slots } = row;
    // Pollers on demand are counted for the queue and for what the worker has cached, fixed ones are shared by both.
    const reserved = (pollers.maximum ?? Infinity) * (pollers.type === 'autoscaling' ? 2 : 1);
    expect(slots).toBeGreaterThanOrEqual(reserved + 10);
  });
  test('let cached workflows take 80 MB at most', () => {
    const cached = Object.values(tuning).reduce((sum, { maxCachedWorkflows }) => sum + maxCachedWorkflows, 0);
    expect(cached * 0.1).toBeLessThanOrEqual(80);
  });
});
