import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createApp } from '../../api/app.ts';
import type { Route } from '../../api/routing/route.ts';
import { networkOf } from '../../api/middleware/rate-limit.ts';
import { aCaller, addressOf, someDeps, startApp, type TestApp } from '../support/app.ts';

const mine = aCaller(1);
const other = aCaller(2);
const callers = { sk_mine: mine, sk_other: other };
const ADMIN_SECRET = 'the admin secret of this test';

/** Every path of every route, aliases included, filled with the agent `mine`. */
function everyDoor(routes: readonly Route[]): { name: string; route: Route; method: string; path: string }[] {
  return routes.flatMap((route) => [route.path, ...(route.aliases ?? [])].map((pattern) => {
    const path = pattern.replaceAll(':address', mine.address).replace(/:\w+/g, 'x1');
    return { name: `${route.method.toUpperCase()} ${pattern}`, route, method: route.method.toUpperCase(), path };
  }));
}

const doors = everyDoor(createApp(someDeps()).routes);
const doorsOf = (...access: string[]) => doors.filter(({ route }) => access.includes(route.access))
  .map((door) => [door.name, door] as const);

/** Whether a request got past the gate. What the handler then does without its parts is another matter. */
const passed = (status: number): boolean => status !== 401 && status !== 403;

let app: TestApp;
let demo: TestApp;
let closed: TestApp;
beforeAll(async () => {
  app = await startApp({ callers, env: { ADMIN_SECRET } });
  demo = await startApp({ callers, env: { DEMO_MODE: 'true' } });
  closed = await startApp({ callers });
});
afterAll(() => Promise.all([app.close(), demo.close(), closed.close()]));

describe('every route of the list', () => {
  test('the list has routes of each kind', () => {
    for (const access of ['public', 'agent', 'owner', 'admin', 'agent_or_admin']) expect(doorsOf(access)).not.toHaveLength(0);
  });

  test.each(doorsOf('agent', 'owner'))('%s: without a key, or with a wrong one, 401', async (_, { method, path }) => {
    expect(await app.ask(method, path)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    expect(await app.ask(method, path, { key: 'sk_wrong' })).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  test.each([...doorsOf('agent'), ...doorsOf('owner').filter(([, { route }]) => route.method !== 'get')])(
      '%s: the admin secret does not make up for a key', async (_, { method, path }) => {
    expect(await app.ask(method, path, { adminSecret: ADMIN_SECRET })).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  test.each(doorsOf('owner')
      .filter(([, { route }]) => route.method === 'get'))(
      '%s: the admin may read, whoever\'s key comes with the secret, and a wrong secret is worth nothing', async (_, { method, path }) => {
    expect(passed((await app.ask(method, path, { adminSecret: ADMIN_SECRET })).status)).toBe(true);
    expect(passed((await app.ask(method, path, { adminSecret: ADMIN_SECRET, key: 'sk_other' })).status)).toBe(true);
    expect(await app.ask(method, path, { adminSecret: `${ADMIN_SECRET}x` })).toMatchObject({ status: 401 });
    expect(await app.ask(method, path, { adminSecret: `${ADMIN_SECRET}x`, key: 'sk_other' })).toMatchObject({ status: 403 });
    expect(await demo.ask(method, path, { adminSecret: 'undefined' })).toMatchObject({ status: 401 });
  });

  test.each(doorsOf('owner')
      .filter(([, { route }]) => route.method !== 'get'))('%s: the admin secret does not make another agent\'s key good for writing',
      async (_, { method, path }) => {
    expect(await app.ask(method, path, { adminSecret: ADMIN_SECRET, key: 'sk_other' }))
      .toMatchObject({ status: 403, body: { code: 'forbidden' } });
  });

  test.each(doorsOf('agent_or_admin'))('%s: a key or the admin secret passes, nothing else', async (_, { method, path }) => {
    expect(await app.ask(method, path)).toMatchObject({ status: 401 });
    expect(await app.ask(method, path, { adminSecret: `${ADMIN_SECRET}x` })).toMatchObject({ status: 401 });
    for (const credential of [{ key: 'sk_mine' }, { adminSecret: ADMIN_SECRET }]) expect(
      passed((await app.ask(method, path, credential)).status)).toBe(true);
  });

  test.each(doorsOf('owner'))('%s: the key of another agent is 403, the own key passes in any case of the address',
      async (_, { method, path }) => {
    expect(await app.ask(method, path, { key: 'sk_other' })).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(passed((await app.ask(method, path, { key: 'sk_mine' })).status)).toBe(true);
    const upper = path.replace(mine.address, `0x${mine.address.slice(2).toUpperCase()}`);
    expect(passed((await app.ask(method, upper, { key: 'sk_mine' })).status)).toBe(true);
  });

  test.each(doorsOf('admin'))('%s: only the admin secret passes', async (_, { method, path }) => {
    expect(await app.ask(method, path)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await app.ask(method, path, { key: 'sk_mine' })).toMatchObject({ status: 403 });
    expect(await app.ask(method, path, { key: 'sk_mine', adminSecret: `${ADMIN_SECRET}x` })).toMatchObject({ status: 403 });
    expect(passed((await app.ask(method, path, { adminSecret: ADMIN_SECRET })).status)).toBe(true);
  });

  test.each(doorsOf('admin'))('%s: without ADMIN_SECRET any key passes in demo mode, and nobody otherwise', async (_, { method, path }) => {
    expect(await demo.ask(method, path)).toMatchObject({ status: 401 });
    expect(passed((await demo.ask(method, path, { key: 'sk_mine' })).status)).toBe(true);
    expect(await closed.ask(method, path, { key: 'sk_mine', adminSecret: 'undefined' })).toMatchObject({ status: 403 });
  });

  test.each(doors.filter(({ route }) => route.path.includes(':address'))
      .map((door) => [door.name, door] as const))('%s: a bad address is refused before anything else', async (_, { method, path }) => {
    expect(await app.ask(method, path.replace(mine.address, '0x12'))).toMatchObject({ status: 400, body: { code: 'invalid_address' } });
  });

  test.each(doorsOf('agent', 'public', 'agent_or_admin')
      .filter(([, { route }]) => route.path.includes(':id')))('%s: an id with other characters never reaches the database',
      async (_, { method, path }) => {
    expect(await app.ask(method, path.replace('x1', 'x%00%27'), { key: 'sk_mine' }))
      .toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('credentials', () => {
  const keyed = doorsOf('owner')[0]![1];
  const statusOf = async (headers: Record<string, string>): Promise<number> => (await app.ask(keyed.method, keyed.path, { headers }))
    .status;

  test('the key may come with or without Bearer, or as X-API-Key', async () => {
    for (const headers of [{ authorization: 'Bearer sk_mine' }, { authorization: 'bearer   sk_mine' }, { authorization: 'sk_mine' },
        { 'x-api-key': 'sk_mine' }, { authorization: '', 'x-api-key': 'sk_mine' }]) {
      expect(passed(await statusOf(headers as Record<string, string>))).toBe(true);
    }
  });

  test('Authorization wins over X-API-Key', async () => {
    expect(await statusOf({ authorization: 'Bearer sk_wrong', 'x-api-key': 'sk_mine' })).toBe(401);
    expect(await statusOf({ authorization: 'Bearer sk_other', 'x-api-key': 'sk_mine' })).toBe(403);
  });

  test('a wrong key on a public route is as good as none', async () => {
    expect((await app.ask('GET', '/v1/platform', { key: 'sk_wrong' })).status).toBe(200);
  });
});

describe('rate limits', () => {
  const limited = (extra: Record<string, string> = {}) =>
    startApp({ callers, env: { RATE_LIMIT_RPM: '5', RATE_LIMIT_BURST: '1', ...extra } });
  const many = async (server: TestApp, count: number,
      options: (n: number) => { key?: string; headers?: Record<string, string> }): Promise<number[]> => {
    const statuses = [];
    for (let n = 0; n < count; n += 1) statuses.push((await server.ask('GET', '/v1/platform', options(n))).status);
    return statuses;
  };

  test('past the limit comes 429 with Retry-After in header and body', async () => {
    const server = await limited();
    expect(await many(server, 6, () => ({}))).toEqual([200, 200, 200, 200, 200, 200]);
    const reply = await server.ask('GET', '/v1/platform');
    expect(reply).toMatchObject({ status: 429, body: { code: 'rate_limit_exceeded' } });
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(reply.body.retry_after).toBe(Number(reply.headers.get('retry-after')));
    expect((await server.ask('GET', '/health/live')).status).toBe(200);
    await server.close();
  });

  test('made-up keys, made-up paths and forwarded addresses nobody vouches for share the budget of the address', async () => {
    const server = await limited();
    await many(server, 6, (n) => ({ key: `sk_${n}`, headers: { 'x-forwarded-for': `10.0.0.${n}`, 'fly-client-ip': `10.0.0.${n}` } }));
    expect((await server.ask('GET', '/v1/platform', { key: 'sk_new' })).status).toBe(429);
    expect((await server.ask('GET', '/no/such/path')).status).toBe(429);
    expect((await server.ask('GET', '/v1/agents/not-an-address')).status).toBe(429);
    await server.close();
  });

  test('a valid key has a budget of its own, which others and anonymous requests do not touch', async () => {
    const server = await limited();
    await many(server, 7, () => ({}));
    expect(await many(server, 7, () => ({ key: 'sk_mine' }))).toEqual([200, 200, 200, 200, 200, 200, 429]);
    expect((await server.ask('GET', '/v1/platform', { key: 'sk_other' })).status).toBe(200);
    await server.close();
  });

  test('guesses at the admin secret count against the address, whatever key they come with', async () => {
    const server = await limited({ ADMIN_SECRET });
    for (let n = 0; n < 6; n += 1) await server.ask('GET', '/v1/platform', { adminSecret: `guess ${n}` });
    expect((await server.ask('GET', '/v1/platform', { key: 'sk_mine', adminSecret: 'guess' })).status).toBe(429);
    await server.close();
  });

  test('behind a proxy that is vouched for, the forwarded address counts', async () => {
    const server = await limited({ TRUST_PROXY: 'loopback' });
    const statuses = await many(server, 12, (n) => ({ headers: { 'x-forwarded-for': `203.0.113.${n % 2}` } }));
    expect(statuses.every((status) => status === 200)).toBe(true);
    await server.close();
  });

  test('an IPv6 network is one address, an IPv4 address in IPv6 clothes is itself', () => {
    expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe(networkOf('2001:db8:1:2:ffff::1'));
    expect(networkOf('2001:db8:1:2::1')).not.toBe(networkOf('2001:db8:1:3::1'));
    expect(networkOf('::ffff:192.0.2.7')).toBe('192.0.2.7');
    expect(networkOf(addressOf(1))).toBe(addressOf(1));
  });
});
