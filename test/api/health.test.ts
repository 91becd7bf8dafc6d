import { afterEach, describe, expect, test } from '@jest/globals';
import type { HealthProbe } from '../../api/deps.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { startApp, type AppOptions, type TestApp } from '../support/app.ts';

let app: TestApp | undefined;
afterEach(() => app?.close());
const start = async (options: AppOptions): Promise<TestApp> => (app = await startApp(options));

const good: HealthProbe = { name: 'database', required: true, check: () => Promise.resolve({ detail: '3 connections' }) };
const broken: HealthProbe = { name: 'database', required: true,
  check: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.5:5432 user surety')) };
const optional: HealthProbe = { name: 'temporal', required: false, check: () => Promise.reject(new Error('gone')) };
const silent: HealthProbe = { name: 'database', required: true, check: () => new Promise(() => undefined) };

describe('health', () => {
  test('all is well', async () => {
    const { ask } = await start({ deps: { probes: [good] } });
    expect(await ask('GET', '/health'))
      .toMatchObject({ status: 200,
      body: { status: 'healthy', checks: { database: 'healthy' }, version: '0.0.0-test', timestamp: expect.any(String) } });
    expect(await ask('GET', '/health/ready'))
      .toMatchObject({ status: 200,
      body: { status: 'ready', subsystems: [{ name: 'database', healthy: true, detail: '3 connections' }] } });
  });

  test('a database that is away makes the process not ready, but never dead, and the answer names no host', async () => {
    const authenticate = () => Promise.reject(new Error('the database is away'));
    const { ask } = await start({ deps: { probes: [broken], keys: { authenticate } as never } });
    const ready = await ask('GET', '/health/ready', { key: 'sk_1' });
    expect(ready).toMatchObject({ status: 503, body: { status: 'degraded', checks: { database: 'unhealthy' } } });
    expect(ready.text).not.toMatch(/10\.0\.0\.5|surety/);
    expect((await ask('GET', '/health')).status).toBe(503);
    expect(await ask('GET', '/health/live', { key: 'sk_1' })).toMatchObject({ status: 200, body: { status: 'alive' } });
  });

  test('a part one can do without degrades health and leaves the process ready', async () => {
    const { ask } = await start({ deps: { probes: [good, optional] } });
    expect(await ask('GET', '/health')).toMatchObject({ status: 200, body: { status: 'degraded' } });
    expect(await ask('GET', '/health/ready')).toMatchObject({ status: 200, body: { status: 'ready' } });
  });

  test('a part that never answers is given two seconds', async () => {
    const { ask } = await start({ deps: { probes: [silent] } });
    const startedAt = Date.now();
    expect((await ask('GET', '/health/ready')).status).toBe(503);
    expect(Date.now() - startedAt).toBeLessThan(10_000);
  });

  test('many who ask at once make the parts answer once', async () => {
    let asked = 0;
    const counting: HealthProbe = { ...good, check: () => Promise.resolve({ detail: String((asked += 1)) }) };
    const { ask } = await start({ deps: { probes: [counting] } });
    await Promise.all(Array.from({ length: 20 }, () => ask('GET', '/health/ready')));
    expect(asked).toBe(1);
  });
});

describe('metrics', () => {
  test('count answers by pattern and class, never by id, alias or made-up path', async () => {
    const { ask } = await start({});
    await ask('GET', '/v1/platform');
    for (const path of ['/no/such/1', '/no/such/2', '/v1/agents/0x1']) await ask('GET', path);
    const { text } = await ask('GET', '/metrics');
    expect(text).toContain('surety_http_requests_total{method="GET",path="/v1/platform",status="2xx"} 1');
    expect(text).toContain('surety_http_requests_total{method="any",path="unmatched",status="4xx"} 2');
    expect(text).toContain('surety_http_requests_total{method="GET",path="/v1/agents/:address",status="4xx"} 1');
    expect(text).toContain('surety_http_request_duration_seconds_bucket');
    expect(text).not.toMatch(/no\/such|0x1/);
  });

  test('the gateway can say what it does', async () => {
    const metrics = createMetrics({ runtime: false });
    metrics.callEnded('settled', 0.004);
    metrics.sessionOpened();
    metrics.sessionEnded('closed');
    metrics.batchCommitted('settle', 7, 0.002);
    metrics.outboundAttempt('timeout', 25);
    metrics.backgroundError('sweeper');
    metrics.watchPools({ money: { totalCount: 5, idleCount: 2, waitingCount: 0 } });
    const { text } = await metrics.render();
    for (const line of [
      'surety_gateway_calls_total{outcome="settled"} 1', 'surety_gateway_sessions_created_total 1',
      'surety_gateway_sessions_closed_total{reason="closed"} 1',
      'surety_commit_batch_size_sum{step="settle"} 7', 'surety_outbound_attempts_total{outcome="timeout"} 1',
      'surety_background_errors_total{component="sweeper"} 1',
      'surety_db_pool_connections{pool="money",state="idle"} 2',
    ]) expect(text).toContain(line);
  });
});
