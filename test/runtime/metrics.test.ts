/** What Temporal's SDK and its server say of the workers, on our own /metrics. */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createMetrics } from '../../platform/metrics.ts';
import { freePort } from '../../platform/ports.ts';
import { sdkMetrics } from '../../temporal/sdk-metrics.ts';
import { watchBacklog } from '../../workers/backlog.ts';
import { createNodes, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { startOwnServers } from '../support/own-servers.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller } from '../support/sellers.ts';
import { connectTestTemporal, type TestTemporal } from '../support/temporal.ts';

jest.setTimeout(90_000);

describe('processes of their own', () => {
  let nodes: Nodes;
  let node: PlatformNode;
  beforeAll(async () => {
    nodes = await createNodes();
    node = await nodes.start({ WORKER_QUEUES: 'gateway,escrow' });
  });
  afterAll(() => nodes?.close());
  const text = async (url = node.url): Promise<string> => (await fetch(`${url}/metrics`)).text();

  test('show the figures of the SDK beside their own', async () => {
    const seller = await startSeller('Good', { kind: 'ok' });
    await node.offers(seller, { serviceType: 'seen' });
    const session = await node.aSession();
    expect(await node.buy(session, { serviceType: 'seen' })).toMatchObject({ status: 200 });
    // The beginning of a workflow comes with the answer to its start; its later tasks are polled for, and wait.
    await node.closeSession(session);
    await eventually(async () => {
      const figures = await text();
      const names = new Set([...figures.matchAll(/^temporal_\w+/gm)].map(([name]) => name));
      expect([...names]).toEqual(expect.arrayContaining(['worker_task_slots_available', 'worker_task_slots_used', 'num_pollers',
        'sticky_cache_size', 'request_latency_bucket', 'workflow_task_schedule_to_start_latency_bucket',
        'local_activity_execution_latency_bucket'].map((name) => `temporal_${name}`)));
      // Not `figures` itself: a failure would print all of it.
      const slots = /^temporal_worker_task_slots_available\{.*task_queue="surety-gateway".*worker_type="WorkflowWorker"\} \d+$/m;
      expect(slots.test(figures)).toBe(true);
      expect(/^surety_gateway_calls_total\{outcome="settled"\} 1$/m.test(figures)).toBe(true);
      expect(/^surety_worker_up\{queue="escrow"\} 1$/m.test(figures)).toBe(true);
    });
    await seller.close();
  });

  test('show a zero for each outcome from the beginning, so that the first of them is an increase', async () => {
    const figures = await text();
    expect(figures).toMatch(/^surety_pipelines_total\{outcome="failed"\} 0$/m);
    expect(figures).toMatch(/^surety_payments_ended_total\{kind="escrow",outcome="refunded"\} 0$/m);
  });

  test('show how much waits in the queues they serve, and no others', async () => {
    expect(await text()).toMatch(/^surety_task_queue_backlog\{queue="gateway",kind="workflow"\} 0$/m);
    expect(await text()).toMatch(/^surety_task_queue_backlog\{queue="escrow",kind="activity"\} 0$/m);
    expect(await text()).not.toMatch(/queue="stream"/);
  });

  test('show it for all queues where they serve none, and for their own where they have no API', async () => {
    const edge = await nodes.start({ WORKER_QUEUES: 'none' });
    expect(await text(edge.url)).toMatch(/^surety_task_queue_backlog\{queue="stream",kind="workflow"\} 0$/m);
    const port = await freePort();
    await nodes.startWorker({ WORKER_QUEUES: 'stream', METRICS_PORT: String(port) });
    const worker = `http://127.0.0.1:${port}`;
    expect(await text(worker)).toMatch(/^temporal_num_pollers\{.*task_queue="surety-stream".*\} \d+$/m);
    expect(await text(worker)).toMatch(/^surety_task_queue_backlog\{queue="stream",kind="workflow"\} 0$/m);
    expect(await (await fetch(`${worker}/health/ready`)).json()).toEqual({ status: 'ready' });
  });
});

test('a Temporal that stands still holds up no scrape for long, and is no reason to call the process unready', async () => {
  const own = await startOwnServers({});
  try {
    expect(await (await fetch(`${own.node.url}/metrics`)).text()).toMatch(/^surety_task_queue_backlog\{/m);
    own.freezeTemporal();
    // The latest answer is good for a quarter of a minute.
    await eventually(async () => {
      const begunAt = performance.now();
      const figures = await (await fetch(`${own.node.url}/metrics`)).text();
      expect(performance.now() - begunAt).toBeLessThan(3_000);
      expect(/^surety_worker_up\{queue="escrow"\} 1$/m.test(figures)).toBe(true);
      expect(/^temporal_worker_task_slots_available\{/m.test(figures)).toBe(true);
      expect(/^surety_task_queue_backlog\{/m.test(figures)).toBe(false);
    }, { withinMs: 30_000, everyMs: 1_000 });
    expect((await fetch(`${own.node.url}/health/ready`)).status).toBe(200);
    own.thawTemporal();
  } finally {
    await own.close();
  }
});

describe('the backlog', () => {
  let temporal: TestTemporal;
  beforeAll(async () => {
    temporal = await connectTestTemporal();
  });
  afterAll(() => temporal?.close());

  test('is the number of tasks that nobody takes, with the age of the oldest', async () => {
    const taskQueue = temporal.taskQueue('unserved');
    const metrics = createMetrics({ runtime: false });
    watchBacklog({ metrics, temporal, queues: ['escrow'], taskQueue: () => taskQueue, everyMs: 0 });
    for (let n = 0; n < 3; n += 1) await temporal.client.workflow.start('escrow', { workflowId: `${taskQueue}-${n}`, taskQueue, args: [] });
    await eventually(async () => {
      const { text } = await metrics.render();
      expect(text).toMatch(/^surety_task_queue_backlog\{queue="escrow",kind="workflow"\} 3$/m);
      expect(text).toMatch(/^surety_task_queue_backlog\{queue="escrow",kind="activity"\} 0$/m);
      const age = /^surety_task_queue_backlog_age_seconds\{queue="escrow",kind="workflow"\} (\S+)$/m.exec(text)?.[1];
      expect(Number(age)).toBeGreaterThan(0.1);
    });
    for (let n = 0; n < 3; n += 1) await temporal.client.workflow.getHandle(`${taskQueue}-${n}`).terminate();
  });

  test('is asked for once in its time, however many scrape', async () => {
    const metrics = createMetrics({ runtime: false });
    const asked = jest.spyOn(temporal.client.workflowService, 'describeTaskQueue');
    watchBacklog({ metrics, temporal, queues: ['escrow', 'card'], taskQueue: (queue) => temporal.taskQueue(queue) });
    await Promise.all([metrics.render(), metrics.render()]);
    await metrics.render();
    expect(asked).toHaveBeenCalledTimes(4);
    asked.mockRestore();
  });

  test('is absent where the server does not answer, and the scrape has the rest soon', async () => {
    const other = await connectTestTemporal();
    const metrics = createMetrics({ runtime: false });
    watchBacklog({ metrics, temporal: other, queues: ['escrow'], taskQueue: () => 'escrow' });
    metrics.backgroundError('test');
    await other.close();
    const { text } = await metrics.render();
    expect(text).toContain('surety_background_errors_total{component="test"} 1');
    expect(text).not.toMatch(/^surety_task_queue_backlog\{/m);
  });
});

describe('figures of the SDK that do not come', () => {
  const servers: Server[] = [];
  afterAll(() => servers.forEach((server) => {
    server.close();
    server.closeAllConnections();
  }));
  async function exporter(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
  }
  const renderWith = async (url: string): Promise<{ text: string; ms: number }> => {
    const metrics = createMetrics({ runtime: false });
    metrics.addText(sdkMetrics(url));
    const begunAt = performance.now();
    const { text } = await metrics.render();
    return { text, ms: performance.now() - begunAt };
  };

  test.each<[string, () => Promise<string>]>([
    ['nobody listens', async () => `http://127.0.0.1:${await freePort()}/metrics`],
    ['it does not answer', () => exporter(() => undefined)],
    ['it stops in the middle', () => exporter((_req, res) => void res.write('temporal_'))],
    ['it hangs up', () => exporter((req) => req.socket.destroy())],
    ['it fails', () => exporter((_req, res) => void res.writeHead(500).end('temporal_'))],
  ])('leave a comment in their place: %s', async (_what, url) => {
    const { text, ms } = await renderWith(await url());
    expect(text).toMatch(/^surety_gateway_calls_total\{outcome="settled"\} 0$/m);
    expect(text).toMatch(/^# Figures of Temporal's SDK are missing: .+$/m);
    expect(text).not.toMatch(/^temporal_/m);
    expect(ms).toBeLessThan(2_000);
  });
});
