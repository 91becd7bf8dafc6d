import { freshReputation, reputationOf, tierOf, type ReputationInputs } from '../../domain/reputation.ts';
import { createReputationJob } from '../../trust/reputation-job.ts';
import { createReputationReader } from '../../trust/reputation.ts';
import { createNetworkStats } from '../../trust/network.ts';
import type { Registry } from '../../registry/registry.ts';
import { anAddress, anAgent, aPayment, aRegistry, silent } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

describe('The score', () => {
  const now = new Date('2026-06-01T00:00:00Z');
  const daysAgo = (days: number): Date => new Date(now.getTime() - days * 86_400_000);
  const nothing: ReputationInputs = { volumeMicros: 0n, successful: 0, failed: 0, counterparties: 0, firstSeenAt: now };
  test.each<[string, Partial<ReputationInputs>, number, string]>([
    ['nobody has traded with', {}, 14, 'new'],
    ['has failed four times, too few to judge', { failed: 4 }, 18.7, 'new'],
    ['has failed five times', { failed: 5 }, 6.7, 'new'],
    ['has done five small jobs for one buyer', { successful: 5, counterparties: 1, volumeMicros: 500_000n }, 32.8, 'emerging'],
    ['has done a hundred jobs for twenty buyers in a month',
      { successful: 100, counterparties: 20, volumeMicros: 100_000_000n, firstSeenAt: daysAgo(30) }, 68, 'trusted'],
    ['has done everything there is',
      { successful: 1_000, counterparties: 200, volumeMicros: 100_000_000_000n, firstSeenAt: daysAgo(1_000) }, 100, 'elite'],
    ['is known to the graph', { traceRank: 100 }, 48, 'established'],
  ])('of an agent that %s', (_, change, score, tier) => {
    const reputation = reputationOf({ ...nothing, ...change }, now);
    expect(reputation.score).toBeCloseTo(score, 0);
    expect(reputation.tier).toBe(tier);
  });

  test.each<[number, string]>([[0, 'new'], [19.99, 'new'], [20, 'emerging'], [39.99, 'emerging'], [40, 'established'], [60, 'trusted'],
      [79.99, 'trusted'], [80, 'elite']])('%p is %s', (score, tier) => {
    expect(tierOf(score)).toBe(tier);
  });

  test.each<[string, ReputationInputs]>([['nothing', nothing],
      ['everything', { volumeMicros: 10n ** 18n, successful: 1e9, failed: 0, counterparties: 1e6, firstSeenAt: daysAgo(1e4) }]])(
      'of %s stays between 0 and 100', (_, inputs) => {
    const { score, components } = reputationOf(inputs, now);
    for (const value of [score, ...Object.values(components)]) expect(value >= 0 && value <= 100).toBe(true);
  });

  test('never falls when a payment is added, once there are enough to judge', () => {
    let last = 0;
    for (let n = 5; n < 500; n += 5) {
      const { score } = reputationOf({ ...nothing, successful: n, counterparties: n, volumeMicros: BigInt(n) * 1_000_000n }, now);
      expect(score).toBeGreaterThanOrEqual(last);
      last = score;
    }
  });
});

describe('The job', () => {
  let db: TestDatabase;
  let registry: Registry;
  beforeAll(async () => {
    db = await createTestDatabase();
    registry = aRegistry(db);
    await registry.start();
  });
  afterAll(async () => {
    await registry?.stop();
    await db?.close();
  });
  const job = (budgetMs?: number) => createReputationJob({ pool: db.pool, log: silent, budgetMs });
  const of = async (address: string) => (await createReputationReader({ pool: db.pool }).of([address]))[0];

  interface Attempt { seller: string; outcome: string; httpStatus?: number }
  /** A call that was given back after these attempts, or settled with the last of them. */
  async function aTroubledCall(buyer: string, attempts: readonly Attempt[], state: 'released' | 'settled' = 'released'): Promise<void> {
    await db.pool.query(
      `INSERT INTO gateway_call (id, session_id, buyer, service_type, attempts, attempt, state, seller, finished_at)
       VALUES ('call_' || gen_random_uuid(), 'gw_x', $1, 't', $2, $3, $4, $5, clock_timestamp())`,
      [buyer, JSON.stringify(attempts), Math.max(0, attempts.length - 1), state, attempts.at(-1)?.seller ?? null]);
  }

  test('counts each settled payment once, for both sides, however often it runs', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    for (let n = 0; n < 3; n += 1) await aPayment(db.pool, { from: buyer.address, to: seller.address, amount: '0.50' });
    await job().runOnce();
    await aPayment(db.pool, { from: buyer.address, to: seller.address, amount: '0.50' });
    await job().runOnce();
    await job().runOnce();
    expect(await registry.agents.find(seller.address))
      .toMatchObject({ stats: { settledCount: 4n, volumeMicros: 2_000_000n, boughtCount: 0n, failedCount: 0n, counterpartyCount: 1 } });
    expect(await registry.agents.find(buyer.address))
      .toMatchObject({ stats: { settledCount: 0n, boughtCount: 4n, spentMicros: 2_000_000n } });
    expect(await of(seller.address)).toMatchObject({ totalTransactions: 4, successful: 4, failed: 0, successRate: 1 });
  });

  test('lets at most the five newest payments of a counterparty into the score', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    for (let n = 0; n < 12; n += 1) await aPayment(db.pool, { from: buyer.address, to: seller.address, amount: '1' });
    await job().runOnce();
    expect(await registry.agents.find(seller.address))
      .toMatchObject({ stats: { settledCount: 12n, recentSuccessful: 5, recentVolumeMicros: 5_000_000n } });
  });

  test('leaves reversed payments out of the score', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    const ref = await aPayment(db.pool, { from: buyer.address, to: seller.address });
    await db.pool.query(`SELECT ledger_reverse(id, 'x') FROM posting WHERE ref = $1 AND kind = 'capture'`, [ref]);
    await job().runOnce();
    expect(await registry.agents.find(seller.address)).toMatchObject({ stats: { recentSuccessful: 0 } });
  });

  test('holds failures against the sellers that failed, not against the one that delivered or the buyer', async () => {
    const [buyer, bad, good] = [await anAgent(registry), await anAgent(registry), await anAgent(registry)];
    const timeout = { seller: bad.address, outcome: 'timeout' };
    await aTroubledCall(buyer.address, [timeout]);
    await aTroubledCall(buyer.address, [timeout, timeout, { seller: good.address, outcome: 'delivered', httpStatus: 200 }], 'settled');
    await job().runOnce();
    await job().runOnce();
    expect(await of(bad.address)).toMatchObject({ failed: 2, successRate: 0 });
    expect(await of(good.address)).toMatchObject({ failed: 0 });
    expect(await of(buyer.address)).toMatchObject({ failed: 0 });
  });

  test.each<[string, string, number | undefined, number]>([
    ['no answer', 'timeout', undefined, 1], ['a broken connection', 'reset', undefined, 1],
    ['an answer that is too large', 'too_large', undefined, 1],
    ['a server error', 'error_answer', 500, 1], ['being busy', 'error_answer', 429, 1],
    ['refusing a bad request', 'error_answer', 400, 0], ['not being asked', 'circuit_open', undefined, 0],
    ['a delivery', 'delivered', 200, 0],
  ])('counts %s as it should', async (_, outcome, httpStatus, failed) => {
    const { address } = await anAgent(registry);
    await aTroubledCall(anAddress(), [{ seller: address, outcome, httpStatus }]);
    await job().runOnce();
    expect(await of(address)).toMatchObject({ failed });
  });

  test('does not let claims, deposits or holds count', async () => {
    const { address } = await anAgent(registry);
    await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 900000000, $1, NULL)`, [address]);
    await job().runOnce();
    expect(await of(address)).toMatchObject({ score: freshReputation.score, totalTransactions: 0, totalVolume: 0n });
  });

  test('with no time does nothing and catches up later', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    await aPayment(db.pool, { from: buyer.address, to: seller.address });
    expect(await job(0).runOnce()).toBe(0);
    expect(await job().runOnce()).toBeGreaterThanOrEqual(2);
    expect(await of(seller.address)).toMatchObject({ totalTransactions: 1 });
  });

  test('is done by one process at a time', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    await aPayment(db.pool, { from: buyer.address, to: seller.address });
    await Promise.all([job().runOnce(), job().runOnce(), job().runOnce()]);
    const { rows } = await db.pool.query(
      `SELECT (SELECT sum(settled_count) FROM agent_stats) = (SELECT count(*) FROM posting WHERE kind = 'capture') AS right`);
    expect(rows).toEqual([{ right: true }]);
  });

  test('feeds the leaderboard and the network figures', async () => {
    const { agents, total, tiers } = await createReputationReader({ pool: db.pool }).leaderboard({ limit: 3 });
    expect(agents.map((agent) => agent.rank)).toEqual([1, 2, 3]);
    expect([...agents].sort((a, b) => b.score - a.score)).toEqual(agents);
    expect(Object.values(tiers).reduce((sum, count) => sum + count, 0)).toBe(total);
    const none = await createReputationReader({ pool: db.pool }).leaderboard({ limit: 3, tier: 'elite' });
    expect(none).toMatchObject({ agents: [], total });
    const { rows } = await db.pool.query(`SELECT count(*)::integer AS payments FROM posting WHERE kind = 'capture'`);
    expect(await createNetworkStats({ pool: db.pool })()).toMatchObject({ totalTransactions: rows[0].payments, totalAgents: total });
  });

  test('of an unknown agent there is nothing', async () => {
    expect(await of(anAddress())).toBeUndefined();
  });
});
