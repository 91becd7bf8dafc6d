/** Lists that may grow for ever are given out page by page, each row once, and no page costs more than itself. */
import { describe, expect, test } from '@jest/globals';
import { reputationTiers } from '../../domain/gateway.ts';
import { tierOf } from '../../domain/reputation.ts';
import { anAddress, anAgent, aService } from '../support/builders.ts';
import { startRegistryApp, type RegistryApp } from '../support/registry-app.ts';

let app: RegistryApp;
beforeAll(async () => {
  app = await startRegistryApp();
});
afterAll(async () => app.close());

type Row = Readonly<Record<string, unknown>>;

/** All pages of a list, by its cursors. */
async function pagesOf(line: string, name: string, key?: string): Promise<Row[][]> {
  const pages: Row[][] = [];
  let cursor = '';
  do {
    const { status, body } = await app.ask(`GET ${line}${cursor === '' ? '' : `&cursor=${cursor}`}`, key === undefined ? {} : { key });
    expect(status).toBe(200);
    expect(body.has_more).toBe(body.next_cursor !== undefined);
    pages.push(body[name]);
    cursor = body.next_cursor ?? '';
  } while (cursor !== '');
  return pages;
}

describe('agents', () => {
  test('come newest first, each once, those of one millisecond too', async () => {
    await app.db.pool.query(`INSERT INTO agent (address, name, created_at)
      SELECT '0x' || lpad(to_hex(n), 40, '0'), 'a', timestamptz '2020-01-01' + n / 5 * interval '1 millisecond'
        FROM generate_series(1, 23) n`);
    const pages = await pagesOf('/v1/agents?limit=10', 'agents');
    const all = pages.flat().map(({ address }) => address);
    expect(pages.slice(0, -1).every((page) => page.length === 10)).toBe(true);
    const { rows } = await app.db.pool.query<{ address: string }>('SELECT address FROM agent ORDER BY created_at DESC, address DESC');
    expect(all).toEqual(rows.map(({ address }) => address));
  });

  test('of one type are paged as well', async () => {
    for (let n = 0; n < 5; n += 1) await aService(app.registry, (await anAgent(app.registry)).address, { type: 'paged-type' });
    const pages = await pagesOf('/v1/agents?limit=2&serviceType=paged-type', 'agents');
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
  });

  test('have at most a hundred services, and may offer another when one is withdrawn', async () => {
    const { address } = await anAgent(app.registry);
    await app.db.pool.query(`INSERT INTO service (id, agent_address, type, name, price_micros)
      SELECT 'svc_many_' || n, $1, 't', 'n', 1 FROM generate_series(1, 99) n`, [address]);
    await aService(app.registry, address);
    await expect(aService(app.registry, address)).rejects
      .toMatchObject({ code: 'invalid_state', message: expect.stringContaining('at most 100') });
    await app.registry.services.remove(address, 'svc_many_1');
    await aService(app.registry, address);
  });
});

test('keys are paged, newest first', async () => {
  const { address, key } = await anAgent(app.registry);
  for (let n = 0; n < 4; n += 1) await app.registry.keys.create(address, `Key ${n}`);
  const pages = await pagesOf('/v1/auth/keys?limit=2', 'keys', key.secret);
  expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
  expect(new Set(pages.flat().map(({ id }) => id)).size).toBe(5);
  const whole = await app.ask('GET /v1/auth/keys', { key: key.secret });
  expect(whole.body).toMatchObject({ count: 5, has_more: false, keys: pages.flat() });
});

describe('services', () => {
  beforeAll(async () => {
    for (let n = 0; n < 9; n += 1) {
      const { address } = await anAgent(app.registry);
      const score = n % 3 === 0 ? 33.3 : n * 7.7;
      await app.db.pool.query('INSERT INTO agent_stats (address, score, tier) VALUES ($1, $2, $3)', [address, score, tierOf(score)]);
      for (const price of ['0.10', `0.${n + 1}`]) await aService(app.registry, address, { type: 'many-of-them', price });
    }
  });

  test.each(['price', 'reputation', 'value'])('sorted by %s are paged in the order of the whole list, each once', async (sortBy) => {
    const query = `/v1/services?type=many-of-them&sortBy=${sortBy}`;
    const whole = (await app.ask(`GET ${query}`)).body.services as Row[];
    const pages = await pagesOf(`${query}&limit=5`, 'services');
    expect(pages.map((page) => page.length)).toEqual([5, 5, 5, 3]);
    expect(pages.flat().map(({ id }) => id)).toEqual(whole.map(({ id }) => id));
  });

  test('of all types are found by price out of the index', async () => {
    const pages = await pagesOf('/v1/services?limit=7', 'services');
    expect(new Set(pages.flat().map(({ id }) => id)).size).toBe(pages.flat().length);
  });
});

describe('the leaderboard', () => {
  beforeAll(async () => {
    // Scores that are rounded up to the bound of a tier stay in the tier below it.
    await app.db.pool.query(`
      WITH made AS (INSERT INTO agent (address, name)
        SELECT '0x' || lpad(to_hex(4096 + n), 40, '0'), 'r' FROM generate_series(1, 60) n RETURNING address)
      INSERT INTO agent_stats (address, score, tier)
      SELECT address, round(score::numeric, 1),
             CASE WHEN score < 20 THEN 'new' WHEN score < 40 THEN 'emerging' WHEN score < 60 THEN 'established'
                  WHEN score < 80 THEN 'trusted' ELSE 'elite' END
        FROM (SELECT address, 19.96 + (row_number() OVER (ORDER BY address) % 20) * 4 AS score FROM made) m`);
    await app.db.pool.query(`UPDATE agent SET deleted_at = now() WHERE address = '0x' || lpad(to_hex(4100), 40, '0')`);
  });
  const truth = async (where = 'true') => (await app.db.pool.query<{ rank: number; address: string }>(`
    SELECT rank::integer, address FROM (
      SELECT row_number() OVER (ORDER BY s.score DESC, s.address) AS rank, s.address, s.score, s.tier
        FROM agent_stats s JOIN agent g ON g.address = s.address WHERE g.deleted_at IS NULL) r WHERE ${where} ORDER BY rank`)).rows;
  const shown = (pages: Row[][]) => pages.flat().map(({ rank, address }) => ({ rank, address }));

  test('is paged, each agent once, with its rank among all', async () => {
    expect(shown(await pagesOf('/v1/reputation?limit=7', 'leaderboard'))).toEqual(await truth());
  });

  test.each(reputationTiers)('of the tier %s has the ranks among all', async (tier) => {
    const rows = shown(await pagesOf(`/v1/reputation?limit=4&tier=${tier}`, 'leaderboard'));
    expect(rows.map(({ address }) => address)).toEqual((await truth(`tier = '${tier}'`)).map(({ address }) => address));
    expect(rows[0]?.rank ?? 0).toBe((await truth(`tier = '${tier}'`))[0]?.rank ?? 0);
  });

  test('from a score on ends where that is', async () => {
    expect(shown(await pagesOf('/v1/reputation?limit=9&minScore=55', 'leaderboard'))).toEqual(await truth('score >= 55'));
  });

  test.each([[0, 'new'], [19.99, 'new'], [20, 'emerging'], [80, 'elite'], [100, 'elite']])('%p is of the tier %s', (score, tier) => {
    expect(tierOf(score)).toBe(tier);
  });
});

describe('a cursor that is none of this list', () => {
  const other = (text: string): string => Buffer.from(text).toString('base64url');
  test.each([
    ['/v1/agents', 'x'], ['/v1/reputation', 'x'], ['/v1/reputation', other('1|2|3')], ['/v1/reputation', other('1|-1|0x00')],
    ['/v1/services', 'x'], ['/v1/services', other('value|1|2|svc_1')], ['/v1/services', other('price|1e400|1|svc_1')],
    ['/v1/services', other('price|9999999999999999999|1|svc_1')], ['/v1/services', other(`price|1|--1|svc_1`)],
  ])('is refused: %s %s', async (path, cursor) => {
    expect(await app.ask(`GET ${path}?cursor=${cursor}`)).toMatchObject({ status: 400, body: { code: 'invalid_cursor' } });
  });

  test.each(['/v1/agents', '/v1/services'])('is better than a large offset, which is refused: %s', async (path) => {
    expect(await app.ask(`GET ${path}?offset=10001`)).toMatchObject({ status: 400,
      body: { code: 'validation_error', message: expect.stringContaining('cursor') } });
    expect((await app.ask(`GET ${path}?offset=10000`)).status).toBe(200);
  });

  test('an agent that nobody knows is a place in the list all the same', async () => {
    expect((await app.ask(`GET /v1/reputation?cursor=${other(`3|20|${anAddress()}`)}`)).status).toBe(200);
  });
});
