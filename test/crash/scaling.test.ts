/**
 * Workers join and leave under the load of every shape of payment, as processes of their own beside API processes that serve no queue:
 * one is killed, one drained, one added, and an API process is killed too. They serve different queues, and each queue always has one of
 * them. Every client that insists is served once, the clock is kept, and nothing is left behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../temporal/connection.ts';
import { freePort } from '../../platform/ports.ts';
import { callLoads, type RunningLoad } from '../support/loads.ts';
import { longLoads } from '../support/long-loads.ts';
import { createNodes, type Nodes, type PlatformNode, type WorkerNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { scratchDataDir, startProgram } from '../support/programs.ts';

/** Long enough for every client to pay several times in each situation, on a slow machine too. */
const PHASE_MS = 1_000;

const everyQueue = 'gateway,escrow,card,multistep,pipeline,stream';
/** The first is killed and the second drained; the third has what either of them leaves behind. */
const queuesOfWorkers = ['escrow,stream,gateway', 'pipeline,multistep', everyQueue];

let nodes: Nodes;
let safe: PlatformNode;
let doomed: PlatformNode;
let workers: WorkerNode[];
const running: RunningLoad[] = [];

beforeAll(async () => {
  nodes = await createNodes({ DRAIN_DEADLINE: '5s' });
  // One after the other: more at once only makes each of them slower.
  safe = await nodes.start({ WORKER_QUEUES: 'none' });
  doomed = await nodes.start({ WORKER_QUEUES: 'none' });
  workers = [];
  for (const queues of queuesOfWorkers) workers.push(await nodes.startWorker({ WORKER_QUEUES: queues }));
}, 180_000);

afterAll(async () => {
  await Promise.all(running.map((load) => load.close()));
  await nodes.close();
}, 30_000);

async function paidMore(): Promise<void> {
  const before = running.map((load) => load.paid());
  await sleep(PHASE_MS);
  await eventually(async () => {
    for (const [index, load] of running.entries()) if (load.paid() <= (before[index] ?? 0)) throw new Error(
      `Nobody was served any more: ${load.name}.`);
  }, { withinMs: 40_000 });
}

test('three workers, one killed, one drained, one added, and an API process killed: every payment ends well and the books are right',
    async () => {
  const [killed, drained, third] = workers;
  if (killed === undefined || drained === undefined || third === undefined) throw new Error('Three workers were to be started.');
  running.push(...(await Promise.all([...callLoads, ...longLoads].map((load) => load({ favourite: doomed, safe, pool: nodes.pool })))));
  await paidMore();

  await killed.kill();
  await paidMore();

  drained.send('SIGTERM');
  expect(await drained.ended).toBe(0);
  await paidMore();

  const added = await nodes.startWorker({ WORKER_QUEUES: everyQueue });
  await doomed.kill();
  await paidMore();

  // From here on only the one that joined last is there.
  third.send('SIGTERM');
  expect(await third.ended).toBe(0);
  await paidMore();

  await Promise.all(running.map((load) => load.stop()));
  await Promise.all(running.map((load) => load.check()));
  await servesAlone(added);
  await eventually(async () => expect((await nodes.pool.query(`SELECT id, state FROM gateway_call WHERE state = 'accepted'`)).rows)
    .toEqual([]), { withinMs: 20_000 });
  expect((await nodes.pool.query(`SELECT id FROM gateway_call WHERE state NOT IN ('settled', 'released')`)).rows).toEqual([]);
  await eventually(async () => expect((await nodes.pool.query('SELECT kind, payment_id FROM workflow_notice')).rows).toEqual([]),
    { withinMs: 20_000 });
  await safe.booksAreRight({ overdueMs: 60_000 });
  await noWorkflowIsLeft();
  added.send('SIGTERM');
  expect(await added.ended).toBe(0);
}, 180_000);

/** A session is closed by its workflow, every task of which this worker did: neither API process serves a queue. */
async function servesAlone({ pid }: WorkerNode): Promise<void> {
  const { client, close } = await connectClient(nodes.temporal);
  try {
    const session = await safe.aSession();
    expect((await safe.closeSession(session)).body.session.status).toBe('closed');
    const handle = client.workflow.getHandle(`gateway-session-${session.token}`);
    expect(await handle.result()).toMatchObject({ id: session.token, state: 'closed' });
    const { events } = await handle.fetchHistory();
    const by = (events ?? [])
      .flatMap(({ workflowTaskCompletedEventAttributes: done }) =>
      (done?.identity === undefined || done.identity === null ? [] : [done.identity.split('@')[0]]));
    expect(new Set(by)).toEqual(new Set([String(pid)]));
  } finally {
    await close();
  }
}

/** Those of the killed processes are finished by the one that is left. */
async function noWorkflowIsLeft(): Promise<void> {
  const { client, close } = await connectClient(nodes.temporal);
  try {
    const { count } = await client.workflow.count('');
    expect(count).toBeGreaterThan(10);
    await eventually(async () => {
      const left: string[] = [];
      for await (const { workflowId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" })) left.push(workflowId);
      // A probe or a session whose closing went on without Temporal keeps its workflow until it expires; it has nothing more to pay.
      const { rows } = await nodes.pool.query(
        `SELECT id FROM payment WHERE deadline IS NOT NULL AND workflow_id = ANY ($1)`, [left]);
      expect([rows, left.filter((id) => !id.startsWith('gateway-session-'))]).toEqual([[], []]);
    }, { withinMs: 60_000, everyMs: 500 });
  } finally {
    await close();
  }
}

describe('a worker', () => {
  test('shows its figures and that it lives on METRICS_PORT, and nothing else', async () => {
    const port = await freePort();
    const worker = await nodes.startWorker({ WORKER_QUEUES: 'gateway', METRICS_PORT: String(port) });
    const url = `http://127.0.0.1:${port}`;
    expect(worker.output()).toContain(`queues: gateway  metrics: ${url}/metrics`);
    const figures = await fetch(`${url}/metrics`);
    expect([figures.status, figures.headers.get('content-type')]).toEqual([200, expect.stringContaining('text/plain')]);
    expect(await figures.text()).toMatch(/^surety_db_pool_connections\{pool="money",state="total"\} \d+$/m);
    expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'alive' });
    expect((await fetch(`${url}/v1/platform`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);

    const second = startProgram('workers/main.ts', settingsOf({ METRICS_PORT: String(port) }));
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain(`Cannot listen on METRICS_PORT ${port} of HOST 127.0.0.1`);
    worker.send('SIGTERM');
    expect(await worker.ended).toBe(0);
    await expect(fetch(`${url}/health/live`)).rejects.toThrow();
  }, 60_000);

  test('without queues says that it would have nothing to do', async () => {
    const worker = startProgram('workers/main.ts', settingsOf({ WORKER_QUEUES: 'none' }));
    expect(await worker.ended).toBe(1);
    expect(worker.output()).toContain('WORKER_QUEUES: none is for API processes');
  });

  test.each(['gatevay', 'none,gateway', 'gateway;escrow'])('with the queues %p is refused by name', async (queues) => {
    const worker = startProgram('workers/main.ts', settingsOf({ WORKER_QUEUES: queues }));
    expect(await worker.ended).toBe(1);
    expect(worker.output()).toMatch(/These settings are wrong:\n {2}WORKER_QUEUES: /);
  });
});

const scratch = scratchDataDir();
afterAll(() => scratch.remove());

function settingsOf(more: Record<string, string>): Record<string, string> {
  const { address, namespace } = nodes.temporal;
  return { DATA_DIR: scratch.dir, DATABASE_URL: databaseUrl(), TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace,
    LOG_LEVEL: 'warn', ...more };
}

function databaseUrl(): string {
  return nodes.pool.options.connectionString ?? '';
}
