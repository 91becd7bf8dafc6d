/** Lists of multistep escrows, and idempotency keys on every step. */
import { anOpenMultistep, aPlan, confirm, create, moneyIn, refund } from '../support/multistep.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'multistep' });

test('an agent finds the escrows it buys in and sells in, newest first and page by page', async () => {
  const { buyer, sellers, amounts } = await aPlan(platform(), ['0.10', '0.10', '0.10']);
  const [seller, second, third] = sellers;
  if (seller === undefined || second === undefined || third === undefined) throw new Error('Three sellers were made.');
  const ids: string[] = [];
  for (const one of [seller, second, seller]) ids.unshift(
    (await create(platform(), { buyer, sellers: [one], amounts: amounts.slice(0, 1) })).body.escrow.id);
  const list = async ({ address, key }: { address: string; key: string },
      query = ''): Promise<{ ids: string[]; more: boolean; next: string | undefined; count: number }> => {
    const { body } = await platform().ask('GET', `/v1/agents/${address}/multistep-escrows${query}`, { key });
    return { ids: body.escrows.map(({ id }: { id: string }) => id), more: body.has_more, next: body.next_cursor, count: body.count };
  };
  expect(await list(buyer)).toEqual({ ids, more: false, next: undefined, count: 3 });
  expect((await list(seller)).ids).toEqual([ids[0], ids[2]]);
  expect(await list(third)).toEqual({ ids: [], more: false, next: undefined, count: 0 });
  const first = await list(buyer, '?limit=2');
  expect(first).toMatchObject({ ids: ids.slice(0, 2), more: true });
  expect(await list(buyer, `?limit=2&cursor=${first.next}`)).toMatchObject({ ids: ids.slice(2), more: false });
  expect((await platform().ask('GET', `/v1/agents/${buyer.address}/multistep-escrows?cursor=nonsense`, { key: buyer.key })).body.error)
    .toBe('invalid_cursor');
  expect((await platform().ask('GET', `/v1/agents/${buyer.address}/multistep-escrows`, { key: seller.key })).status).toBe(403);
});

test('one key makes one escrow: twins and repetitions get the first, another plan is refused', async () => {
  const plan = await aPlan(platform());
  const twins = await Promise.all(Array.from({ length: 10 }, () => create(platform(), plan, {}, 'make')));
  expect(twins.map(({ status }) => status)).toEqual(Array(10).fill(201));
  expect(new Set(twins.map(({ body }) => body.escrow.id)).size).toBe(1);
  expect(twins.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9);
  const other = await create(platform(), plan, { expiresIn: '2h' }, 'make');
  expect([other.status, other.body.error]).toEqual([422, 'idempotency_mismatch']);
  expect(await moneyIn(platform().db.pool, plan.buyer)).toEqual({ available: 0, escrowed: 600_000 });
});

test('one key confirms one step, and the key of a refused request stays free', async () => {
  const escrow = await anOpenMultistep(platform());
  expect((await confirm(platform(), escrow, 0, { key: 'step', body: { amount: '0.11' } })).body.error).toBe('step_mismatch');
  const twins = await Promise.all(Array.from({ length: 6 }, () => confirm(platform(), escrow, 0, { key: 'step' })));
  expect(twins.map(({ status }) => status)).toEqual(Array(6).fill(200));
  expect(twins.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(5);
  expect((await confirm(platform(), escrow, 1, { key: 'step' })).status).toBe(422);
  // Without the key, or with another one, the step was taken before.
  expect([(await confirm(platform(), escrow, 0)).body.error, (await confirm(platform(), escrow, 0, { key: 'other' })).body.error])
    .toEqual(['duplicate_step', 'duplicate_step']);
  const first = await refund(platform(), escrow, escrow.buyer, 'back');
  const again = await refund(platform(), escrow, escrow.buyer, 'back');
  expect([first.status, again.status, again.headers.get('idempotent-replayed')]).toEqual([200, 200, 'true']);
  expect(again.body).toEqual(first.body);
  expect(await moneyIn(platform().db.pool, escrow.buyer)).toEqual({ available: 500_000, escrowed: 0 });
});

test('a plan that was refused for lack of money leaves its key free', async () => {
  const plan = await aPlan(platform());
  expect((await create(platform(), { ...plan, amounts: ['1', '1', '1'] }, {}, 'poor')).status).toBe(402);
  expect((await create(platform(), plan, {}, 'poor')).status).toBe(201);
});

test('buyer and seller see every movement in their ledger, under the id of the escrow', async () => {
  const escrow = await anOpenMultistep(platform(), ['0.10', '0.20']);
  const [seller] = escrow.sellers;
  if (seller === undefined) throw new Error('Two sellers were made.');
  await confirm(platform(), escrow, 0);
  await refund(platform(), escrow);
  const entries = async ({ address, key }: { address: string; key: string }): Promise<unknown[]> => {
    const { body } = await platform().ask('GET', `/v1/agents/${address}/ledger`, { key });
    return body.entries.map(({ type, amount, reference }: Record<string, string>) => [type, amount, reference]);
  };
  expect((await entries(escrow.buyer)).slice(0, 3)).toEqual([
    ['escrow_refund', '0.200000', escrow.id], ['escrow_release', '0.100000', `${escrow.id}:part:0`], ['escrow_lock', '0.300000', escrow.id],
  ]);
  expect(await entries(seller)).toEqual([['escrow_receive', '0.100000', `${escrow.id}:part:0`]]);
});
