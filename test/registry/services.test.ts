import { setTimeout as sleep } from 'node:timers/promises';
import { SuretyError } from '../../domain/errors.ts';
import { parseAmount } from '../../domain/money.ts';
import { discover, type DiscoveryQuery, type SortOrder } from '../../registry/discovery.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ServiceFields } from '../../registry/services.ts';
import { anAgent, aRegistry, aService } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let registry: Registry;
let elsewhere: Registry;

beforeAll(async () => {
  db = await createTestDatabase();
  const checkEndpoint = (url: string): Promise<void> =>
    (url.includes('forbidden') ? Promise.reject(new SuretyError('invalid_endpoint', 'no')) : Promise.resolve());
  registry = aRegistry(db, { checkEndpoint });
  elsewhere = aRegistry(db);
  await registry.start();
  await elsewhere.start();
});
afterAll(async () => {
  await registry?.stop();
  await elsewhere?.stop();
  await db?.close();
});

let types = 0;
/** A service type no other test uses. */
const aType = (): string => `type-${(types += 1)}`;

async function eventually(check: () => boolean): Promise<boolean> {
  for (let n = 0; n < 250; n += 1) {
    if (check()) return true;
    await sleep(20);
  }
  return false;
}

describe('Changing a service', () => {
  const original: Omit<ServiceFields, 'type'> = {
    name: 'Old name', description: 'old', priceMicros: parseAmount('0.10'), endpoint: 'http://127.0.0.1:9/work', idempotent: false,
    refundable: false, maxDurationSecs: 3_600, metadata: { a: 1 }, active: true,
  };
  const cases: readonly [keyof ServiceFields, ServiceFields[keyof ServiceFields]][] = [
    ['name', 'New name'], ['description', ''], ['priceMicros', parseAmount('2')], ['endpoint', ''], ['idempotent', true],
    ['refundable', true],
    ['metadata', { b: 2 }], ['active', false],
    ['type', 'another-type'],
  ];
  test.each(cases)('changes %s and keeps the rest', async (field, value) => {
    const { address } = await anAgent(registry);
    const type = aType();
    const { id } = await registry.services.add(address, { ...original, type });
    const changed = await registry.services.update(address, id, { [field]: value });
    expect(changed).toMatchObject({ ...original, type, [field]: value });
  });

  test('of nothing keeps everything', async () => {
    const { address } = await anAgent(registry);
    const before = await aService(registry, address, { type: aType() });
    expect(await registry.services.update(address, before.id, {}))
      .toMatchObject({ name: before.name, priceMicros: before.priceMicros, active: true });
  });

  test('is refused for the service of another agent, a deleted service, and an endpoint that must not be called', async () => {
    const { address } = await anAgent(registry);
    const other = await anAgent(registry);
    const { id } = await aService(registry, address, { type: aType() });
    await expect(registry.services.update(other.address, id, { name: 'x' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(registry.services.remove(other.address, id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(registry.services.update(address, id, { endpoint: 'http://forbidden/' }))
      .rejects.toMatchObject({ code: 'invalid_endpoint' });
    await registry.services.remove(address, id);
    await expect(registry.services.update(address, id, { name: 'x' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(registry.services.remove(address, id)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('of a deleted agent is over: nothing can be added', async () => {
    const { address } = await anAgent(registry);
    await registry.agents.remove(address);
    await expect(aService(registry, address)).rejects.toMatchObject({ code: 'agent_not_found' });
  });
});

describe('The catalogue', () => {
  test('shows a change of this process at once, and elsewhere within a second', async () => {
    const type = aType();
    const { address } = await anAgent(registry);
    const { id } = await aService(registry, address, { type, price: '0.20' });
    expect(registry.catalogue.offers(type)).toMatchObject([{ serviceId: id, seller: address, priceMicros: 200_000n }]);
    expect(await eventually(() => elsewhere.catalogue.offers(type).length === 1)).toBe(true);

    await registry.services.update(address, id, { priceMicros: parseAmount('0.30') });
    expect(registry.catalogue.offerById(id)).toMatchObject({ priceMicros: 300_000n });
    expect(await eventually(() => elsewhere.catalogue.offerById(id)?.priceMicros === 300_000n)).toBe(true);

    await registry.services.remove(address, id);
    expect(registry.catalogue.offers(type)).toEqual([]);
    expect(await eventually(() => elsewhere.catalogue.offerById(id) === null)).toBe(true);
  });

  test.each([['an inactive service', { active: false }], ['a service without endpoint', { endpoint: '' }]])('does not offer %s',
      async (_, change) => {
    const type = aType();
    const { address } = await anAgent(registry);
    await aService(registry, address, { type, ...change });
    expect(registry.catalogue.offers(type)).toEqual([]);
  });

  test('moves a service to its new type', async () => {
    const [from, to] = [aType(), aType()];
    const { address } = await anAgent(registry);
    const { id } = await aService(registry, address, { type: from });
    await registry.services.update(address, id, { type: to });
    expect(registry.catalogue.offers(from)).toEqual([]);
    expect(registry.catalogue.offers(to)).toHaveLength(1);
  });

  test('holds all offers of a type, cheapest first, not only the ten cheapest', async () => {
    const type = aType();
    const { address } = await anAgent(registry);
    const prices = ['0.9', '0.1', '0.5', '0.3', '0.7', '1.1', '1.2', '1.3', '1.4', '1.5', '1.6', '0.2'];
    await Promise.all(prices.map((price) => aService(registry, address, { type, price })));
    const offered = registry.catalogue.offers(type).map((offer) => offer.priceMicros);
    expect(offered).toEqual(prices.map((price) => parseAmount(price)).sort((a, b) => (a < b ? -1 : 1)));
  });

  test('gives out lists that do not change under the reader', async () => {
    const type = aType();
    const { address } = await anAgent(registry);
    await aService(registry, address, { type });
    const before = registry.catalogue.offers(type);
    await aService(registry, address, { type });
    expect(before).toHaveLength(1);
    expect(registry.catalogue.offers(type)).toHaveLength(2);
  });

  test('loses the services of a deleted agent', async () => {
    const type = aType();
    const { address } = await anAgent(registry);
    await aService(registry, address, { type });
    await registry.agents.remove(address);
    expect(registry.catalogue.offers(type)).toEqual([]);
  });

  test('keeps what it knew while the database is away', async () => {
    const type = aType();
    const { address } = await anAgent(registry);
    await aService(registry, address, { type });
    let down = false;
    const pool = new Proxy(db.pool, {
      get: (real, name, self) => (name === 'query' && down ? () => Promise.reject(new Error('away')) : Reflect.get(real, name, self)),
    });
    const mine = aRegistry(db, { pool });
    await mine.start();
    down = true;
    mine.changes.announce('everything');
    await sleep(150);
    expect(mine.catalogue.offers(type)).toHaveLength(1);
    await mine.stop();
  });
});

describe('Discovery', () => {
  const type = 'discovery-test';
  const find = (change: Partial<DiscoveryQuery> = {}) =>
    discover(db.pool, { type, sortBy: 'price', includeInactive: false, verifiedOnly: false, limit: 100, offset: 0, after: null,
      ...change });

  beforeAll(async () => {
    // Dearer services have the better sellers; the best offer for its price is neither.
    const sellers: readonly [string, string, number][] = [['cheap', '0.10', 10], ['fair', '0.20', 60],
      ['good', '0.80', 70], ['best', '1.00', 90]];
    for (const [name, price, score] of sellers) {
      const { address } = await anAgent(registry, { name });
      await aService(registry, address, { type, name, price });
      await db.pool.query('INSERT INTO agent_stats (address, score, tier) VALUES ($1, $2, $3)',
        [address, score, score > 80 ? 'elite' : 'new']);
    }
    const { address } = await anAgent(registry, { name: 'sleeping' });
    await aService(registry, address, { type, name: 'sleeping', price: '0.05', active: false });
  });

  test.each<[SortOrder, string[]]>([['price', ['cheap', 'fair']], ['reputation', ['best', 'good']], ['value', ['fair', 'cheap']]])(
    'sorted by %s is sorted before the page is cut', async (sortBy, names) => {
      expect((await find({ sortBy, limit: 2 })).map((listing) => listing.name)).toEqual(names);
    });

  test('goes on where the page before ended', async () => {
    expect((await find({ sortBy: 'reputation', limit: 2, offset: 2 })).map((listing) => listing.name)).toEqual(['fair', 'cheap']);
  });

  test.each<[string, Partial<DiscoveryQuery>, string[]]>([
    ['a lower bound', { minPriceMicros: parseAmount('0.80') }, ['good', 'best']],
    ['an upper bound', { maxPriceMicros: parseAmount('0.10') }, ['cheap']],
    ['inactive ones too', { includeInactive: true }, ['sleeping', 'cheap', 'fair', 'good', 'best']],
    ['verified sellers only', { verifiedOnly: true }, []],
    ['another type', { type: 'nothing-of-this-type' }, []],
  ])('with %s finds what fits', async (_, change, names) => {
    expect((await find(change)).map((listing) => listing.name)).toEqual(names);
  });

  test('tells the score for each USDC only when asked to sort by it', async () => {
    expect((await find({ sortBy: 'value' }))[0])
      .toMatchObject({ name: 'fair', valueScore: 300, reputationScore: 60, agentName: 'fair', successRate: 1, transactionCount: 0 });
    expect((await find())[0]).toMatchObject({ valueScore: null, active: true });
  });

  test('ranks a verified seller ten points higher', async () => {
    await db.pool.query(`UPDATE agent SET proven_at = now() WHERE name = 'good'`);
    await db.pool.query(`UPDATE agent_stats SET score = 85 WHERE address = (SELECT address FROM agent WHERE name = 'good')`);
    expect((await find({ sortBy: 'reputation', limit: 1 }))[0]).toMatchObject({ name: 'good', reputationScore: 85, verified: true });
    expect((await find({ verifiedOnly: true })).map((listing) => listing.name)).toEqual(['good']);
  });
});

describe('Deleting an agent', () => {
  test('is refused while money is held, and leaves the balance where it was', async () => {
    const { address } = await anAgent(registry);
    await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 5000000, $1, NULL)`, [address]);
    await db.pool.query(`SELECT ledger_hold($1, $1, 'USDC', 1000000, 'pending', NULL)`, [address]);
    await expect(registry.agents.remove(address)).rejects.toMatchObject({ code: 'invalid_state' });
    await db.pool.query('SELECT ledger_close_hold($1, 0)', [address]);
    await registry.agents.remove(address);
    expect(await registry.agents.find(address)).toBeNull();
    await expect(registry.agents.remove(address)).rejects.toMatchObject({ code: 'agent_not_found' });
    const { rows } = await db.pool.query('SELECT available FROM account WHERE owner = $1', [address]);
    expect(rows).toEqual([{ available: '5000000' }]);
  });
});
