import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { z } from 'zod';
import { route } from '../../api/routing/route.ts';
import { cursor, limit, line, writeCursor } from '../../api/wire/fields.ts';
import { SuretyError } from '../../domain/errors.ts';
import { aCaller, addressOf, startApp, type TestApp } from '../support/app.ts';

/** Routes that exist only here, one for each thing the edge does. */
const routes = [
  route({ method: 'post', path: '/test/echo', aliases: ['/test/echoes'], access: 'public', tag: 'Test', summary: 'Echo.',
    body: z.object({ name: line(20).optional() }), handler: ({ body }) => ({ body }) }),
  route({ method: 'post', path: '/test/confirm', access: 'public', tag: 'Test', summary: 'Confirm.',
    handler: () => ({ body: { confirmed: true } }) }),
  route({
    method: 'get', path: '/test/list', access: 'public', tag: 'Test', summary: 'List.', cacheSecs: 30,
    query: z.object({ limit: limit(200, 50), cursor }),
    handler: ({ query }) => ({ body: { limit: query.limit, cursor: query.cursor ?? null } }),
  }),
  route({ method: 'get', path: '/test/agents/:address', access: 'public', tag: 'Test', summary: 'One.',
    handler: ({ params }) => ({ body: params }) }),
  route({ method: 'get', path: '/test/items/special', access: 'public', tag: 'Test', summary: 'Special.',
    handler: () => ({ body: { special: true } }) }),
  route({ method: 'get', path: '/test/items/:id', access: 'public', tag: 'Test', summary: 'Item.',
    handler: ({ params }) => ({ body: params }) }),
  route({ method: 'delete', path: '/test/items/:id', access: 'public', tag: 'Test', summary: 'Gone.', handler: () => ({ status: 204 }) }),
  ...['internal', 'database', 'poor', 'nobody', 'busy'].map((kind) => route({
    method: 'post', path: `/test/fail/${kind}`, access: 'public', tag: 'Test', summary: 'Fail.', movesMoney: true,
    handler: () => { throw failures[kind]; },
  })),
  route({ method: 'get', path: '/test/slow', access: 'public', tag: 'Test', summary: 'Slow.',
    handler: () => sleep(1_000).then(() => ({ body: {} })) }),
  route({ method: 'get', path: '/test/never', access: 'public', tag: 'Test', summary: 'Never.',
    handler: () => sleep(3_000).then(() => ({ body: {} })) }),
];

const failures: Record<string, unknown> = {
  internal: new TypeError('secret detail of relation "account"'),
  database: Object.assign(new Error('connect ECONNREFUSED 10.1.2.3:5432'), { code: 'ECONNREFUSED' }),
  poor: new SuretyError('insufficient_balance', 'Too little.', { body: { price: '1.500000' } }),
  nobody: new SuretyError('no_service', 'No agent sells "x".'),
  busy: new SuretyError('unavailable', 'Busy.', { retryAfterSecs: 2.2 }),
};

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ routes, env: { REQUEST_TIMEOUT: '500ms' } });
});
afterAll(() => app.close());

const errorKeys = { error: expect.any(String), code: expect.any(String), message: expect.any(String), funds_status: expect.any(String),
  recovery: expect.any(String) };

describe('paths and methods', () => {
  test('an unknown path is a JSON 404', async () => {
    const reply = await app.ask('GET', '/nothing/here?key=sk_secret');
    expect(reply).toMatchObject({ status: 404, body: { ...errorKeys, code: 'route_not_found' } });
    expect(reply.text).not.toContain('sk_secret');
  });

  test('a wrong method is 405 and says which are right', async () => {
    const reply = await app.ask('PUT', '/test/items/a');
    expect(reply).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
    expect(reply.headers.get('allow')).toBe('DELETE, GET, HEAD, OPTIONS');
  });

  test.each(['/test/items/%', '/test/items/%zz', '/%c3%28/x', '/test/items/%00', '/test/items/a%2Fb', '/test/items/%0d%0a'])(
      '%s is a bad request', async (path) => {
    expect(await app.ask('GET', path)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  test.each(['0x1', 'me', `${addressOf(1)}ff`, '%00'])('%s in place of an address is invalid_address', async (text) => {
    expect(await app.ask('GET', `/test/agents/${text}`)).toMatchObject({ status: 400, body: { code: 'invalid_address' } });
  });

  test('addresses are lower case inside', async () => {
    expect((await app.ask('GET', `/test/agents/0x${'A'.repeat(40)}`)).body).toEqual({ address: `0x${'a'.repeat(40)}` });
  });

  test('a literal path wins over a parameter, a slash at the end does not matter, aliases lead to the same', async () => {
    expect((await app.ask('GET', '/test/items/special')).body).toEqual({ special: true });
    expect((await app.ask('DELETE', '/test/items/special')).status).toBe(204);
    expect((await app.ask('GET', '/test/items/7/')).body).toEqual({ id: '7' });
    expect((await app.ask('POST', '/test/echoes', { body: { name: 'n' } })).body).toEqual({ name: 'n' });
  });

  test('HEAD is GET without the body', async () => {
    const reply = await app.ask('HEAD', '/test/list');
    expect([reply.status, reply.text]).toEqual([200, '']);
    expect(Number(reply.headers.get('content-length'))).toBeGreaterThan(0);
  });

  test('lists: a limit out of range means the default, a cursor must be one', async () => {
    expect((await app.ask('GET', '/test/list?limit=5000&utm=x')).body).toEqual({ limit: 50, cursor: null });
    expect((await app.ask('GET', '/test/list?limit=7')).body).toEqual({ limit: 7, cursor: null });
    const next = writeCursor(new Date('2026-01-31T12:00:00.123Z'), 'gw_1', 456);
    expect((await app.ask('GET', `/test/list?cursor=${next}`)).body.cursor)
      .toEqual({ at: '2026-01-31T12:00:00.123Z', id: 'gw_1', micros: 456 });
    for (const bad of ['x', 'MTIzfA', '%00', 'a'.repeat(500)]) expect(await app.ask('GET', `/test/list?cursor=${bad}`))
      .toMatchObject({ status: 400, body: { code: 'invalid_cursor' } });
    expect((await app.ask('GET', '/test/list?limit=1&limit=2')).status).toBe(400);
  });
});

describe('failures', () => {
  test('an unexpected error says nothing of the inside and does not claim that no money moved', async () => {
    const reply = await app.ask('POST', '/test/fail/internal');
    expect(reply).toMatchObject({ status: 500, body: { code: 'internal_error', funds_status: 'held_pending' } });
    expect(reply.text).not.toMatch(/secret detail|account|TypeError|at .*\.ts/);
  });

  test('a database that is away is 503 with Retry-After', async () => {
    const reply = await app.ask('POST', '/test/fail/database');
    expect(reply).toMatchObject({ status: 503, body: { code: 'unavailable', retry_after: 1 } });
    expect(reply.headers.get('retry-after')).toBe('1');
    expect(reply.text).not.toContain('10.1.2.3');
  });

  test('402 carries price and currency', async () => {
    expect(await app.ask('POST', '/test/fail/poor'))
      .toMatchObject({ status: 402, body: { code: 'insufficient_balance', price: '1.500000', currency: 'USDC' } });
  });

  test('no_service never says "agent", which clients would read as an unknown agent', async () => {
    expect((await app.ask('POST', '/test/fail/nobody')).body.message).not.toMatch(/agent/i);
  });

  test('Retry-After is whole seconds', async () => {
    expect((await app.ask('POST', '/test/fail/busy')).headers.get('retry-after')).toBe('3');
  });

  test('an answer that takes too long is an error, not a silence', async () => {
    expect(await app.ask('GET', '/test/never')).toMatchObject({ status: 503, body: { ...errorKeys, code: 'unavailable' } });
    expect((await app.ask('GET', '/test/slow')).status).toBe(200);
  });
});

describe('headers', () => {
  test('every answer has a request id, a sane one of the client is kept', async () => {
    expect((await app.ask('GET', '/health/live')).headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    expect((await app.ask('GET', '/nothing', { headers: { 'X-Request-ID': 'trace-1.2:3' } })).headers.get('x-request-id'))
      .toBe('trace-1.2:3');
    expect((await app.ask('GET', '/nothing', { headers: { 'X-Request-ID': 'a b<script>' } })).headers.get('x-request-id'))
      .toMatch(/^[0-9a-f]{32}$/);
  });

  test('answers and errors carry the security headers and nothing about the software', async () => {
    for (const path of ['/health/live', '/nothing']) {
      const { headers } = await app.ask('GET', path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('x-powered-by')).toBeNull();
      expect(headers.get('cache-control')).toBe('no-store');
    }
  });

  test('a cacheable answer says for how long', async () => {
    expect((await app.ask('GET', '/test/list')).headers.get('cache-control')).toBe('public, max-age=30');
  });

  test('CORS: local pages in development, headers of ours allowed, preflight 204', async () => {
    const preflight = await app.ask('OPTIONS', '/test/echo',
      { headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'PATCH' } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
    expect(preflight.headers.get('access-control-allow-methods')).toContain('PATCH');
    expect(preflight.headers.get('access-control-allow-headers')).toMatch(/X-Gateway-Token.*Idempotency-Key/);
    expect((await app.ask('GET', '/health', { headers: { origin: 'https://evil.example' } })).headers.get('access-control-allow-origin'))
      .toBeNull();
    expect((await app.ask('GET', '/health', { headers: { origin: 'http://localhost:5173' } })).headers.get('access-control-allow-origin'))
      .toBe('http://localhost:5173');
  });

  test('OPTIONS without CORS lists the methods', async () => {
    const reply = await app.ask('OPTIONS', '/test/items/a');
    expect([reply.status, reply.headers.get('allow')]).toEqual([204, 'DELETE, GET, HEAD, OPTIONS']);
  });

  test('in production no origin is allowed unless it is named', async () => {
    const production = { ENV: 'production', ADMIN_SECRET: 'a long enough secret', PLATFORM_ADDRESS: addressOf(99) };
    const closed = await startApp({ env: production });
    const open = await startApp({ env: { ...production, CORS_ALLOWED_ORIGINS: 'https://shop.example' } });
    const from = (origin: string) => ({ headers: { origin } });
    expect((await closed.ask('GET', '/health', from('http://localhost:3000'))).headers.get('access-control-allow-origin')).toBeNull();
    expect((await open.ask('GET', '/health', from('https://shop.example'))).headers.get('access-control-allow-origin'))
      .toBe('https://shop.example');
    expect((await open.ask('GET', '/health')).headers.get('strict-transport-security')).toContain('max-age=31536000');
    await Promise.all([closed.close(), open.close()]);
  });
});

test('requests and responses are born as those of Express, which so need not change them', async () => {
  const made: unknown[] = [];
  app.server.once('request', (req, res) => made.push(Object.getPrototypeOf(req), Object.getPrototypeOf(res)));
  app.server.prependOnceListener('request', (req, res) => made.push(Object.getPrototypeOf(req), Object.getPrototypeOf(res)));
  await app.ask('GET', '/health/live');
  expect(made).toEqual([app.api.app.request, app.api.app.response, app.api.app.request, app.api.app.response]);
});

describe('requests that are not quite HTTP', () => {
  /** Sends bytes and gives everything that came back until the server closed. */
  const raw = (text: string, hangUpMs = 1_000): Promise<string> => new Promise((resolve) => {
    let received = '';
    const socket = net.connect(app.port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => (received += chunk.toString())).on('close', () => resolve(received)).on('error', () => undefined);
    setTimeout(() => socket.destroy(), hangUpMs);
  });

  test('headers above 16 KiB are 431 with the usual body', async () => {
    const reply = await raw(`GET / HTTP/1.1\r\nHost: x\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(reply).toMatch(/^HTTP\/1\.1 431 /);
    expect(reply).toContain('"code":"invalid_request"');
  });

  test('garbage is 400 with the usual body', async () => {
    expect(await raw('hello there\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"invalid_request"/);
  });

  test('a whole address as request target works, as proxies send it', async () => {
    expect(await raw('GET http://api.example/health/live HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n'))
      .toMatch(/^HTTP\/1\.1 200 OK[\s\S]*"alive"/);
  });

  test.each([['before', 200], ['after', 2_000]])(
      'a client that hangs up in the middle of its body, %s its time is up, leaves nothing behind', async (_, hangUpMs) => {
    await raw('POST /test/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"na', hangUpMs);
    for (let wait = 0; wait < 100 && app.api.lifecycle.inFlight() > 0; wait += 1) await sleep(50);
    expect(app.api.lifecycle.inFlight()).toBe(0);
  });
});

describe('stopping', () => {
  test('new requests are refused, health answers, what is under way is finished', async () => {
    const stopping = await startApp({ routes, callers: { sk_1: aCaller() } });
    const slow = stopping.ask('GET', '/test/slow');
    for (let wait = 0; wait < 500 && stopping.api.lifecycle.inFlight() === 0; wait += 1) await sleep(10);
    expect(stopping.api.lifecycle.inFlight()).toBe(1);
    const drained = stopping.api.drain(5_000);
    const refused = await stopping.ask('POST', '/test/confirm');
    expect(refused).toMatchObject({ status: 503, body: { code: 'draining' } });
    expect(refused.headers.get('retry-after')).toBe('5');
    expect((await stopping.ask('GET', '/health/live')).status).toBe(200);
    expect(await stopping.ask('GET', '/health/ready')).toMatchObject({ status: 503, body: { status: 'draining' } });
    expect((await stopping.ask('GET', '/metrics')).status).toBe(200);
    expect((await slow).status).toBe(200);
    expect(await drained).toBe(0);
    await stopping.close();
  });
});

describe('the log', () => {
  test('names each failure by its request, with the cause, and holds no secrets', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = pino({ level: 'info' }, { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) });
    const logged = await startApp({ routes, callers: { sk_secret: aCaller() }, deps: { log } });
    const headers = { 'X-Request-ID': 'trace-7', 'X-Admin-Secret': 'admin-secret' };
    await logged.ask('POST', '/test/fail/internal?token=url-secret', { key: 'sk_secret', headers });
    await logged.ask('GET', '/test/list', { key: 'sk_secret' });
    await logged.ask('GET', '/nothing?token=url-secret');
    await logged.close();
    expect(lines).toMatchObject([
      { level: 50, requestId: 'trace-7', method: 'POST', path: '/test/fail/internal', status: 500, code: 'internal_error',
        agent: addressOf(1), err: { message: expect.stringContaining('secret detail') } },
      { level: 30, path: '/nothing', status: 404, code: 'route_not_found' },
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/sk_secret|admin-secret|url-secret/);
  });
});

test('a TRUST_PROXY that means nothing stops the start and is named', async () => {
  await expect(startApp({ env: { TRUST_PROXY: 'my-proxy' } })).rejects.toThrow(/TRUST_PROXY/);
});
