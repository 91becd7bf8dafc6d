/** The second currency at the admin's deposits and in the wallet of an agent. */
import { anAddress, anAgent } from '../support/builders.ts';
import { startRegistryApp, type RegistryApp } from '../support/registry-app.ts';

let world: RegistryApp;
beforeAll(async () => {
  world = await startRegistryApp();
});
afterAll(() => world?.close());

const hash = (): string => `${anAddress()}feed`;

test('keeps money of another currency apart, from the deposit to the escrow and back', async () => {
  const { address, key } = await anAgent(world.registry);
  const euros = { agentAddress: address, amount: '2.50', currency: 'EURC', txHash: hash() };
  expect(await world.asAdmin('POST /v1/admin/deposits', euros))
    .toMatchObject({ status: 201, body: { message: '2.500000 EURC credited.', currency: 'EURC' } });
  const mine = async (path: string) => (await world.ask(`GET /v1/agents/${address}${path}`, { key: key.secret })).body;
  expect((await mine('/balance')).balance).toMatchObject({ currency: 'USDC', available: '0.000000' });
  expect((await mine('/balance?currency=EURC')).balance).toMatchObject({ currency: 'EURC', available: '2.500000' });
  expect((await mine(`/balance?currency=EURC&at=${new Date(Date.now() + 60_000).toISOString()}`)).balance.available).toBe('2.500000');
  expect((await mine('/ledger')).entries).toEqual([]);
  expect((await mine('/ledger?currency=EURC')).entries).toMatchObject([{ type: 'deposit', amount: '2.500000', currency: 'EURC' }]);
  expect(await world.asAdmin('GET /v1/admin/reconcile')).toMatchObject({ status: 200, body: { ok: true } });
});

test.each(['GBP', 'usdc', 7])('does not know the currency %p, and says which ones it knows', async (currency) => {
  const reply = await world.asAdmin('POST /v1/admin/deposits', { agentAddress: anAddress(), amount: '1', currency, txHash: hash() });
  expect(reply).toMatchObject({ status: 400, body: { code: 'unknown_currency', message: expect.stringContaining('USDC, EURC') } });
});
