import { reverse } from '../../ledger/admin.ts';
import type { Registry } from '../../registry/registry.ts';
import { createReputationJob } from '../../trust/reputation-job.ts';
import type { Reply } from '../support/app.ts';
import { aDeposit, anAddress, anAgent, aPayment, aService, silent, type RegisteredAgent } from '../support/builders.ts';
import type { TestDatabase } from '../support/database.ts';
import { startRegistryApp, type RegistryApp } from '../support/registry-app.ts';

let world: RegistryApp;
let db: TestDatabase;
let registry: Registry;
let ada: RegisteredAgent;
let bob: RegisteredAgent;
beforeAll(async () => {
  world = await startRegistryApp();
  ({ db, registry, ada, bob } = world);
});
afterAll(() => world?.close());

const ask: RegistryApp['ask'] = (...args) => world.ask(...args);
const asAda: RegistryApp['asAda'] = (...args) => world.asAda(...args);
const asAdmin: RegistryApp['asAdmin'] = (...args) => world.asAdmin(...args);

describe('The wallet over HTTP', () => {
  test.each(['balance', 'ledger', 'credit'])('%s is for its owner', async (what) => {
    expect(await asAda(`GET /v1/agents/:bob/${what}`)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await ask(`GET /v1/agents/:bob/${what}`)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  test('shows deposits, and each page leads to the next', async () => {
    const { address, key } = await anAgent(registry);
    const mine = (path: string): Promise<Reply> => ask(`GET /v1/agents/${address}${path}`, { key: key.secret });
    expect((await mine('/balance')).body)
      .toEqual({ balance: { agentAddr: address, currency: 'USDC', available: '0.000000', pending: '0.000000', escrowed: '0.000000',
      creditLimit: '0.000000', creditUsed: '0.000000', totalIn: '0.000000', totalOut: '0.000000' } });
    expect((await mine('/ledger')).body).toEqual({ entries: [] });
    for (const amount of ['1', '2', '3']) await aDeposit(db.pool, address, amount);
    const first = await mine('/ledger?limit=2');
    expect(first.body).toMatchObject(
      { entries: [{ type: 'deposit', amount: '3.000000', txHash: expect.stringMatching(/^0x/), agentAddr: address },
      { amount: '2.000000' }], hasMore: true });
    const second = await mine(`/ledger?limit=2&cursor=${first.body.nextCursor}`);
    expect(second.body).toMatchObject({ entries: [{ amount: '1.000000' }] });
    expect(second.body).not.toHaveProperty('hasMore');
    expect((await mine('/balance')).body.balance).toMatchObject({ available: '6.000000', totalIn: '6.000000' });
    const past = await mine('/balance?at=2020-01-01T00:00:00Z');
    expect(past.body).toMatchObject({ balance: { available: '0.000000' }, at: '2020-01-01T00:00:00.000Z' });
    expect((await mine(`/balance?at=${first.body.entries[0].createdAt}`)).body.balance.available).toBe('6.000000');
    expect((await mine('/credit')).body).toEqual({ address, limit: '0.000000', used: '0.000000', available: '0.000000' });
  });

  test.each(['yesterday', '2026-01-31', '2026-13-01T00:00:00Z', '1', '2026-01-31T12:00:00'])('there is no balance at %s', async (at) => {
    expect(await asAda(`GET /v1/agents/:ada/balance?at=${at}`)).toMatchObject({ status: 400, body: { code: 'invalid_timestamp' } });
  });
  test('a time with an offset is understood, escaped or not', async () => {
    for (const at of ['2026-01-31T12:00:00+02:00', '2026-01-31T12:00:00%2B02:00', '2026-01-31T12:00:00.123456789Z']) expect(
      (await asAda(`GET /v1/agents/:ada/balance?at=${at}`)).status).toBe(200);
  });

  test.each(['x', 'MTIz', Buffer.from('1|abc').toString('base64url'), Buffer.from('1|').toString('base64url')])('the cursor %s is refused',
      async (cursor) => {
    expect(await asAda(`GET /v1/agents/:ada/ledger?cursor=${cursor}`)).toMatchObject({ status: 400, body: { code: 'invalid_cursor' } });
  });

  test('transactions show all to the agent itself, its own to another, nothing to nobody', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    await aPayment(db.pool, { from: buyer.address, to: seller.address, amount: '0.40' });
    const see = (key?: string): Promise<Reply> => ask(`GET /v1/agents/${seller.address}/transactions`, { key });
    expect((await see(seller.key.secret)).body)
      .toMatchObject({ count: 1,
      transactions: [{ from: buyer.address, to: seller.address, amount: '0.400000', status: 'confirmed', serviceId: '' }] });
    expect((await see(buyer.key.secret)).body.count).toBe(1);
    expect((await see(ada.key.secret)).body).toEqual({ transactions: [], count: 0 });
    expect((await see()).status).toBe(401);
  });

  test('claims about payments elsewhere are checked and not recorded', async () => {
    const claim = (change: object): Promise<Reply> =>
      asAda('POST /v1/transactions', { txHash: '0x1', from: ada.address, to: bob.address, amount: '5', ...change });
    expect(await claim({})).toMatchObject({ status: 501, body: { code: 'not_configured', funds_status: 'no_change' } });
    expect(await claim({ from: bob.address })).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await claim({ to: ada.address })).toMatchObject({ status: 400, body: { code: 'self_trade' } });
    expect(await claim({ amount: '-5' })).toMatchObject({ status: 400, body: { code: 'invalid_amount' } });
  });

  test('money that could not be sent on is not held', async () => {
    await aDeposit(db.pool, ada.address, '9');
    const before = (await asAda('GET /v1/agents/:ada/balance')).body;
    expect(await asAda('POST /v1/agents/:ada/withdraw', { amount: '5' }))
      .toMatchObject({ status: 503, body: { code: 'withdrawals_disabled', funds_status: 'no_change' } });
    expect(await asAda('POST /v1/agents/:ada/payouts', { to: bob.address, amount: '5', clientRef: 'a' }))
      .toMatchObject({ status: 503, body: { code: 'withdrawals_disabled', funds_status: 'no_change' } });
    expect(await asAda('POST /v1/agents/:ada/credit/apply', {})).toMatchObject({ status: 503, body: { code: 'not_configured' } });
    expect(await asAda('POST /v1/agents/:ada/withdraw', { amount: '0' })).toMatchObject({ status: 400, body: { code: 'invalid_amount' } });
    expect((await asAda('GET /v1/agents/:ada/balance')).body).toEqual(before);
  });
});

describe('The admin', () => {
  test('is told which agent is missing where the log of changes is asked for, and that none is kept', async () => {
    expect(await asAdmin('GET /v1/admin/audit')).toMatchObject({ status: 400, body: { code: 'missing_agent' } });
    expect(await asAdmin(`GET /v1/admin/audit?agent=${ada.address}&operation=spend`))
      .toMatchObject({ status: 501, body: { code: 'not_configured' } });
  });

  const hash = (): string => `${anAddress()}feed`;
  test('credits a deposit once, to an address that need not be registered', async () => {
    const body = { agentAddress: anAddress(), amount: '10.00', txHash: hash() };
    expect(await asAdmin('POST /v1/admin/deposits', body))
      .toMatchObject({ status: 201, body: { status: 'credited', message: expect.any(String), amount: '10.000000' } });
    for (const txHash of [body.txHash, body.txHash.toUpperCase().replace('0X', '0x')]) {
      expect(await asAdmin('POST /v1/admin/deposits', { ...body, txHash }))
        .toMatchObject({ status: 409, body: { code: 'duplicate_deposit' } });
    }
    const { rows } = await db.pool.query('SELECT available FROM account WHERE owner = $1', [body.agentAddress]);
    expect(rows).toEqual([{ available: '10000000' }]);
  });

  test('gets the first answer for a repeated key, and a refusal for another request with it', async () => {
    const body = { agentAddress: anAddress(), amount: '1', txHash: hash() };
    const key = { 'idempotency-key': `k-${body.txHash}` };
    const replies = await Promise.all([1, 2, 3].map(() => asAdmin('POST /v1/admin/deposits', body, key)));
    expect(replies.map((reply) => reply.status)).toEqual([201, 201, 201]);
    for (const reply of replies) expect(reply.body).toEqual(replies[0]?.body);
    expect(await asAdmin('POST /v1/admin/deposits', { ...body, amount: '2' }, key))
      .toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
    const { rows } = await db.pool.query('SELECT available FROM account WHERE owner = $1', [body.agentAddress]);
    expect(rows).toEqual([{ available: '1000000' }]);
  });

  test('a key of a refused deposit is free again', async () => {
    const body = { agentAddress: anAddress(), amount: '1', txHash: hash() };
    await asAdmin('POST /v1/admin/deposits', body);
    const key = { 'idempotency-key': `again-${body.txHash}` };
    expect((await asAdmin('POST /v1/admin/deposits', body, key)).status).toBe(409);
    expect((await asAdmin('POST /v1/admin/deposits', { ...body, txHash: hash() }, key)).status).toBe(201);
  });

  test.each<[string, object, string]>([
    ['of nothing', { amount: '0' }, 'invalid_amount'], ['of less than nothing', { amount: '-1' }, 'invalid_amount'],
    ['of a number', { amount: 5 }, 'invalid_amount'],
    ['to no address', { agentAddress: 'bob' }, 'invalid_address'], ['without a hash', { txHash: '' }, 'validation_error'],
    ['with more than is asked', { note: 'x' }, 'validation_error'],
  ])('does not credit a deposit %s', async (_, change, code) => {
    expect(await asAdmin('POST /v1/admin/deposits', { agentAddress: anAddress(), amount: '1', txHash: hash(), ...change }))
      .toMatchObject({ status: 400, body: { code } });
  });

  test('takes a payment back on both sides, once', async () => {
    const [buyer, seller] = [await anAgent(registry), await anAgent(registry)];
    await aPayment(db.pool, { from: buyer.address, to: seller.address, amount: '0.40' });
    const page = await ask(`GET /v1/agents/${seller.address}/ledger`, { key: seller.key.secret });
    const entryId = page.body.entries[0].id;
    expect(await asAdmin('POST /v1/admin/reversals', { entryId, reason: 'mistake' }))
      .toMatchObject({ status: 201, body: { status: 'reversed', entryId, reversalId: expect.stringMatching(/^entry_/) } });
    expect(await asAdmin(`POST /v1/admin/ledger/reverse/${entryId}`)).toMatchObject({ status: 409, body: { code: 'already_reversed' } });
    const { rows } = await db.pool.query('SELECT owner, available FROM account WHERE owner = ANY ($1) ORDER BY owner = $2',
      [[buyer.address, seller.address], seller.address]);
    expect(rows).toEqual([{ owner: buyer.address, available: '400000' }, { owner: seller.address, available: '0' }]);
  });

  test('takes back nothing that is unknown, not reversible, or spent', async () => {
    const { address } = await anAgent(registry);
    await aDeposit(db.pool, address, '1');
    await db.pool.query(`SELECT ledger_hold('hold-1', $1, 'USDC', 1000000, 'pending', NULL)`, [address]);
    const { rows } = await db.pool.query<{ id: string; kind: string }>(
      'SELECT p.id, p.kind FROM posting p JOIN account a ON a.id = p.credit_account WHERE a.owner = $1', [address]);
    const idOf = (kind: string): string => `entry_${rows.find((row) => row.kind === kind)?.id}`;
    const take = (entryId: string): Promise<Reply> => asAdmin('POST /v1/admin/reversals', { entryId, reason: 'x' });
    expect(await take('entry_999999')).toMatchObject({ status: 404, body: { code: 'entry_not_found' } });
    expect(await take('nonsense')).toMatchObject({ status: 404, body: { code: 'entry_not_found' } });
    expect(await take(idOf('hold'))).toMatchObject({ status: 400, body: { code: 'not_reversible' } });
    expect(await take(idOf('deposit'))).toMatchObject({ status: 402, body: { code: 'insufficient_balance' } });
    await expect(reverse(db.pool, 999_999n, 'x')).rejects.toMatchObject({ code: 'entry_not_found' });
  });

  test('sees what the process is doing', async () => {
    expect((await asAdmin('GET /v1/admin/state')).body)
      .toMatchObject({ state: { db: { open_connections: expect.any(Number), max_open: expect.any(Number) }, requests: { draining: false } },
      timestamp: expect.any(String) });
  });

  test('is nobody without the secret', async () => {
    expect(await asAda('POST /v1/admin/deposits', {})).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect((await ask('GET /v1/credit/active')).status).toBe(403);
    expect(await asAdmin('GET /v1/credit/active')).toMatchObject({ status: 200, body: { credits: [], count: 0 } });
  });
});

describe('What everybody may see', () => {
  beforeAll(async () => {
    await aPayment(db.pool, { from: ada.address, to: bob.address, amount: '0.70' });
    await createReputationJob({ pool: db.pool, log: silent }).runOnce();
  });

  test('says who sold and never who bought', async () => {
    const [feed, timeline] = [await ask('GET /v1/feed?limit=100'), await ask('GET /v1/timeline')];
    expect(feed.body.feed[0])
      .toMatchObject({ toName: 'Bob', toAddress: bob.address, amount: '0.700000', fromName: 'A buyer',
      timeAgo: expect.stringMatching(/s ago$/) });
    expect(timeline.body)
      .toMatchObject({ timeline: expect.arrayContaining([expect.objectContaining({ type: 'transaction' })]), count: expect.any(Number) });
    for (const reply of [feed, timeline]) expect(reply.text).not.toContain(ada.address);
  });

  test('network figures are flat', async () => {
    const { body } = await ask('GET /v1/network/stats');
    expect(body).toMatchObject({ totalAgents: expect.any(Number), totalServices: expect.any(Number), totalTransactions: expect.any(Number),
      totalVolume: expect.stringMatching(/^\d+\.\d{6}$/) });
    expect((await ask('GET /v1/network/stats/enhanced')).body).toMatchObject({ activeSessionKeys: 0 });
  });

  test('reputation comes nested and flat', async () => {
    const { body } = await ask('GET /v1/reputation/:bob');
    expect(body).toMatchObject({ address: bob.address, score: expect.any(Number), tier: 'new', totalTransactions: 1, successRate: 1,
      reputation: { address: bob.address, components: { successScore: 50 }, metrics: { totalVolumeUsd: 0.7 } } });
    expect(await ask(`GET /v1/reputation/${anAddress()}`)).toMatchObject({ status: 404, body: { code: 'agent_not_found' } });
    expect((await ask('GET /v1/reputation/:bob/history')).status).toBe(501);
  });

  test('reputation of many keeps the order and gives strangers nothing', async () => {
    const stranger = anAddress();
    const { body } = await ask('POST /v1/reputation/batch', { body: { addresses: [bob.address, stranger] } });
    expect(body.results).toMatchObject([{ address: bob.address, totalTransactions: 1 }, { address: stranger, score: 0, tier: 'new' }]);
    expect(body.scores).toMatchObject([{ address: bob.address, reputation: { address: bob.address } },
      { address: stranger, reputation: { score: 0 } }]);
    const compared = await ask('POST /v1/reputation/compare', { body: { addresses: [stranger, bob.address] } });
    expect(compared.body).toMatchObject({ best: bob.address, agents: [{ address: stranger }, { address: bob.address }] });
    expect((await ask('GET /v1/reputation?limit=2')).body)
      .toMatchObject({ leaderboard: [{ rank: 1 }, { rank: 2 }], total: expect.any(Number), tiers: { elite: 0 } });
  });

  test.each<[string, string, unknown, string]>([
    ['batch', 'of nobody', [], 'validation_error'],
    ['batch', 'of 101', Array.from({ length: 101 }, () => `0x${'1'.repeat(40)}`), 'too_many_addresses'],
    ['batch', 'of words', ['bob'], 'invalid_address'], ['compare', 'of one', [`0x${'1'.repeat(40)}`], 'validation_error'],
    ['batch', 'of text', 'bob', 'validation_error'],
  ])('a %s %s is refused', async (what, _, addresses, code) => {
    expect(await ask(`POST /v1/reputation/${what}`, { body: { addresses } })).toMatchObject({ status: 400, body: { code } });
  });

  test('agents are listed newest first, by what they offer', async () => {
    const { address } = await anAgent(registry);
    await aService(registry, address, { type: 'rare' });
    expect((await ask('GET /v1/agents?serviceType=rare')).body)
      .toMatchObject({ count: 1, agents: [{ address, services: [{ type: 'rare' }] }] });
    expect((await ask('GET /v1/agents?limit=1')).body).toMatchObject({ count: 1, agents: [{ address }] });
    expect((await ask('GET /v1/agents?active=false&limit=1000'))
      .body.agents.some((agent: { address: string }) => agent.address === address)).toBe(false);
    expect(await ask('GET /v1/agents?active=perhaps')).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    expect((await ask('GET /v1/auth/info')).body).toMatchObject({ type: 'api_key', publicEndpoints: expect.any(Array) });
  });
});
