/** Making, confirming, refunding and reading multistep escrows over HTTP, with the exact code of every refusal. */
import { anOpenMultistep, aPlan, confirm, create, moneyIn, planBody, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'multistep' });
const money = (owner: { address: string }): Promise<{ available: number; escrowed: number }> => moneyIn(platform().db.pool, owner);

test('a plan is held at once, each step is paid when it is confirmed, in any order, and the last one completes it', async () => {
  const plan = await aPlan(platform());
  const created = await create(platform(), plan);
  expect(created.status).toBe(201);
  const { escrow } = created.body;
  expect(escrow).toMatchObject({
    id: expect.stringMatching(/^mse_[0-9a-f]{24}$/), buyerAddr: plan.buyer.address, totalAmount: '0.600000', spentAmount: '0.000000',
    refundedAmount: '0.000000', remainingAmount: '0.600000',
    totalSteps: 3, confirmedSteps: 0, status: 'open', workflowId: `multistep-escrow-${escrow.id}`,
    plannedSteps: plan.sellers.map(({ address }, n) =>
      ({ stepIndex: n, sellerAddr: address, amount: ['0.100000', '0.200000', '0.300000'][n], confirmed: false })),
  });
  expect(Date.parse(escrow.deadline) - Date.parse(escrow.createdAt)).toBeGreaterThan(86_390_000);
  expect(await money(plan.buyer)).toEqual({ available: 0, escrowed: 600_000 });

  const open: OpenMultistep = { ...plan, id: escrow.id, workflowId: escrow.workflowId };
  const third = await confirm(platform(), open, 2);
  expect([third.status, third.body.escrow])
    .toMatchObject([200, { status: 'open', spentAmount: '0.300000', remainingAmount: '0.300000', confirmedSteps: 1 }]);
  expect(third.body.escrow.plannedSteps.map(({ confirmed }: { confirmed: boolean }) => confirmed)).toEqual([false, false, true]);
  expect(Date.parse(third.body.escrow.plannedSteps[2].confirmedAt)).not.toBeNaN();
  expect((await confirm(platform(), open, 0)).body.escrow.status).toBe('open');
  const last = await confirm(platform(), open, 1);
  expect(last.body.escrow)
    .toMatchObject({ status: 'completed', spentAmount: '0.600000', remainingAmount: '0.000000', confirmedSteps: 3,
    endedAt: expect.any(String) });
  expect(last.body.escrow.resolution).toBeUndefined();
  expect(await money(plan.buyer)).toEqual({ available: 0, escrowed: 0 });
  expect(await Promise.all(plan.sellers.map(async (seller) => (await money(seller)).available))).toEqual([100_000, 200_000, 300_000]);
  expect((await read(platform(), open)).body).toEqual(last.body);
});

test('the spellings of the README lead to the same escrow', async () => {
  const plan = await aPlan(platform(), ['0.10', '0.20']);
  const { buyer, sellers } = plan;
  const created = await platform().ask('POST', '/v1/multistep-escrows', { key: buyer.key, body: planBody(plan) });
  const { id } = created.body.escrow;
  const steps = await platform()
    .ask('POST', `/v1/multistep-escrows/${id}/steps`,
    { key: buyer.key, body: { stepIndex: 0, sellerAddr: sellers[0]?.address, amount: '0.1' } });
  const aborted = await platform().ask('POST', `/v1/multistep-escrows/${id}/abort`, { key: buyer.key });
  expect([created.status, steps.status, steps.body.escrow.confirmedSteps, aborted.status, aborted.body.escrow.status])
    .toEqual([201, 200, 1, 200, 'aborted']);
  for (const path of [`/v1/escrow/multistep/${id}`, `/v1/escrows/multistep/${id}`, `/v1/multistep-escrows/${id}`]) {
    expect((await platform().ask('GET', path, { key: buyer.key })).body).toEqual(aborted.body);
  }
});

test('amounts are compared as numbers, not as text, and addresses in any case', async () => {
  const plan = await aPlan(platform(), ['0.10', '0.2']);
  const created = await create(platform(), plan, { totalAmount: '00.300' });
  expect(created.status).toBe(201);
  const open = { ...plan, id: created.body.escrow.id as string, workflowId: '' };
  const sellerAddr = `0x${plan.sellers[0]?.address.slice(2).toUpperCase()}`;
  expect((await confirm(platform(), open, 0, { body: { amount: '0.100000', sellerAddr } })).status).toBe(200);
  expect((await confirm(platform(), open, 1, { body: { amount: '00.20' } })).body.escrow.status).toBe('completed');
});

test('a refund returns what was not confirmed, keeps what was paid, and takes an empty body in any form', async () => {
  for (const request of [{}, { headers: { 'content-type': 'application/json' } }, { body: {} }]) {
    const escrow = await anOpenMultistep(platform());
    await confirm(platform(), escrow, 1);
    const { status, body } = await platform()
      .ask('POST', `/v1/escrow/multistep/${escrow.id}/refund`, { key: escrow.buyer.key, ...request });
    expect([status, body.escrow])
      .toMatchObject([200,
      { status: 'aborted', resolution: 'buyer_refund', spentAmount: '0.200000', refundedAmount: '0.400000', remainingAmount: '0.000000' }]);
    expect(await money(escrow.buyer)).toEqual({ available: 400_000, escrowed: 0 });
  }
});

test('one seller may do several steps, and a hundred steps are a plan', async () => {
  const plan = { ...(await aPlan(platform(), ['0.10'])), amounts: Array.from({ length: 100 }, () => '0.001') };
  const created = await create(platform(), plan);
  expect([created.status, created.body.escrow.totalSteps]).toEqual([201, 100]);
  const open = { ...plan, id: created.body.escrow.id as string, workflowId: created.body.escrow.workflowId as string };
  const replies = await Promise.all(plan.amounts.map((_, n) => confirm(platform(), open, n)));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect((await read(platform(), open)).body.escrow).toMatchObject({ status: 'completed', confirmedSteps: 100, spentAmount: '0.100000' });
  expect((await money(plan.sellers[0] ?? plan.buyer)).available).toBe(100_000);
}, 60_000);

const other = '0x00000000000000000000000000000000000000a1';
test.each<[what: string, change: Record<string, unknown>, status: number, code: string]>([
  ['steps that add up to less', { totalAmount: '0.7' }, 400, 'amount_exceeds_total'],
  ['steps that add up to more', { totalAmount: '0.599999' }, 400, 'amount_exceeds_total'],
  ['fewer steps than announced', { totalSteps: 4 }, 400, 'validation_error'],
  ['no steps', { totalSteps: 0, plannedSteps: [] }, 400, 'validation_error'],
  ['a hundred and one steps',
    { totalSteps: 101, totalAmount: '1.01', plannedSteps: Array.from({ length: 101 }, () => ({ sellerAddr: other, amount: '0.01' })) },
    400, 'validation_error'],
  ['half a step', { totalSteps: 2.5 }, 400, 'validation_error'],
  ['a total of zero', { totalAmount: '0' }, 400, 'invalid_amount'],
  ['a negative total', { totalAmount: '-0.6' }, 400, 'invalid_amount'],
  ['a total as a number', { totalAmount: 0.6 }, 400, 'invalid_amount'],
  ['seven decimal places', { totalAmount: '0.6000000' }, 400, 'invalid_amount'],
  ['no total', { totalAmount: undefined }, 400, 'invalid_amount'],
  ['a seller that is no address', { totalSteps: 1, totalAmount: '0.1', plannedSteps: [{ sellerAddr: 'bob', amount: '0.1' }] }, 400,
    'invalid_address'],
  ['a step of zero', { totalSteps: 1, plannedSteps: [{ sellerAddr: other, amount: '0.00' }] }, 400, 'invalid_amount'],
  ['a seller nobody knows', { totalSteps: 1, totalAmount: '0.1', plannedSteps: [{ sellerAddr: other, amount: '0.1' }] }, 404,
    'agent_not_found'],
  ['a field nobody knows', { arbiter: other }, 400, 'validation_error'],
  ['a field nobody knows in a step', { totalSteps: 1, totalAmount: '0.1', plannedSteps: [{ sellerAddr: other, amount: '0.1', tip: '1' }] },
    400, 'validation_error'],
  ['a time that is none', { expiresIn: 'soon' }, 400, 'validation_error'],
  ['no time at all', { expiresIn: '0s' }, 400, 'validation_error'],
  ['less than a second', { expiresIn: '999ms' }, 400, 'validation_error'],
  ['more than a year', { expiresIn: '8761h' }, 400, 'validation_error'],
])('a plan with %s is refused, and nothing is held', async (_what, change, status, code) => {
  const plan = await aPlan(platform());
  const reply = await create(platform(), plan, change);
  expect([reply.status, reply.body.error, reply.body.code, reply.body.funds_status]).toEqual([status, code, code, 'no_change']);
  expect(await money(plan.buyer)).toEqual({ available: 600_000, escrowed: 0 });
});

test.each<[string, number]>([['1s', 1_000], ['90s', 90_000], ['1h30m', 5_400_000], ['1.5h', 5_400_000], ['2d', 172_800_000],
    ['365d', 31_536_000_000]])('an escrow of %s ends after %d ms', async (expiresIn, ms) => {
  const { body: { escrow } } = await create(platform(), await aPlan(platform()), { expiresIn });
  expect(Math.abs(Date.parse(escrow.deadline) - Date.parse(escrow.createdAt) - ms)).toBeLessThan(1_000);
});

test('the answer to an unknown seller names its address, also when it was an agent once', async () => {
  const plan = await aPlan(platform());
  const gone = plan.sellers[1];
  if (gone === undefined) throw new Error('Three sellers were made.');
  expect((await platform().ask('DELETE', `/v1/agents/${gone.address}`, { key: gone.key })).status).toBeLessThan(300);
  const { status, body } = await create(platform(), plan);
  expect([status, body.error, body.message]).toEqual([404, 'agent_not_found', expect.stringContaining(gone.address)]);
});

test('a buyer cannot be its own seller, nor hold more than it has', async () => {
  const plan = await aPlan(platform());
  const own = await create(platform(), { ...plan, sellers: [...plan.sellers.slice(0, 2), plan.buyer] });
  expect([own.status, own.body.error, own.body.message]).toEqual([400, 'self_trade', expect.stringContaining('step 2')]);
  const { status, body } = await create(platform(), { ...plan, amounts: ['0.10', '0.20', '0.300001'] });
  expect([status, body])
    .toMatchObject([402,
    { error: 'insufficient_balance', price: '0.600001', currency: 'USDC', funds_status: 'no_change', recovery: expect.any(String) }]);
  expect(await money(plan.buyer)).toEqual({ available: 600_000, escrowed: 0 });
});

test.each<[what: string, stepIndex: number, body: Record<string, unknown>, status: number, code: string]>([
  ['a step behind the plan', 3, {}, 400, 'step_out_of_range'],
  ['a step far behind the plan', 9_007_199_254_740_991, {}, 400, 'step_out_of_range'],
  ['a step beyond every integer', 2 ** 53 + 2, {}, 400, 'step_out_of_range'],
  ['a step of three hundred digits', -1e300, {}, 400, 'step_out_of_range'],
  ['a negative step', -1, {}, 400, 'step_out_of_range'],
  ['half a step', 0.5, {}, 400, 'validation_error'],
  ['a step as text', 0, { stepIndex: '0' }, 400, 'validation_error'],
  ['a step that was confirmed, even with another amount', 1, { amount: '0.9' }, 409, 'duplicate_step'],
  ['another seller', 0, { sellerAddr: other }, 403, 'step_mismatch'],
  ['more than planned', 0, { amount: '0.100001' }, 403, 'step_mismatch'],
  ['less than planned', 0, { amount: '0.09' }, 403, 'step_mismatch'],
  ['more than the whole', 0, { amount: '999999999999' }, 403, 'step_mismatch'],
  ['an amount of zero', 0, { amount: '0' }, 400, 'invalid_amount'],
  ['an amount with a sign', 0, { amount: '+0.10' }, 400, 'invalid_amount'],
  ['no amount', 0, { amount: undefined }, 400, 'invalid_amount'],
  ['a seller that is no address', 0, { sellerAddr: '0x1' }, 400, 'invalid_address'],
])('confirming %s is refused, and nothing is paid', async (_what, stepIndex, body, status, code) => {
  const escrow = await anOpenMultistep(platform());
  await confirm(platform(), escrow, 1);
  const reply = await confirm(platform(), escrow, stepIndex,
    { body: { ...(stepIndex < 0 || stepIndex > 2 ? { sellerAddr: other } : {}), ...body } });
  expect([reply.status, reply.body.error, reply.body.funds_status]).toEqual([status, code, 'no_change']);
  expect(await money(escrow.buyer)).toEqual({ available: 0, escrowed: 400_000 });
});

test('only the buyer takes steps; sellers may read, strangers may not, and an unknown id is unknown to all', async () => {
  const escrow = await anOpenMultistep(platform());
  const [seller] = escrow.sellers;
  const stranger = await platform().aTrader();
  if (seller === undefined) throw new Error('Three sellers were made.');
  for (const by of [seller, stranger]) {
    for (const reply of [await confirm(platform(), escrow, 0, { by }), await refund(platform(), escrow, by)]) {
      expect([reply.status, reply.body.error, reply.body.message])
        .toEqual([403, 'unauthorized', 'Only the buyer of this escrow may do that.']);
    }
  }
  expect((await read(platform(), escrow, seller)).status).toBe(200);
  const refused = await read(platform(), escrow, stranger);
  expect([refused.status, refused.body.error]).toEqual([403, 'unauthorized']);
  expect((await platform().ask('GET', `/v1/escrow/multistep/${escrow.id}`, { adminSecret: 'a-secret-for-tests' })).status).toBe(200);
  expect((await platform().ask('GET', `/v1/escrow/multistep/${escrow.id}`)).status).toBe(401);

  const nothing = { ...escrow, id: 'mse_000000000000000000000000' };
  for (const reply of [await confirm(platform(), nothing, 0), await refund(platform(), nothing), await read(platform(), nothing)]) {
    expect([reply.status, reply.body.error]).toEqual([404, 'not_found']);
  }
});

test('after the end every step is refused, and the refusal says where the money is', async () => {
  const completed = await anOpenMultistep(platform(), ['0.10']);
  await confirm(platform(), completed, 0);
  const aborted = await anOpenMultistep(platform());
  await refund(platform(), aborted);
  for (const [escrow, state, funds] of [[completed, 'completed', 'released_to_seller'], [aborted, 'aborted', 'returned']] as const) {
    // The state comes before everything about the step.
    for (const reply of [await confirm(platform(), escrow, 0), await confirm(platform(), escrow, 99, { body: { sellerAddr: other } }),
        await refund(platform(), escrow)]) {
      expect([reply.status, reply.body]).toMatchObject([409, { error: 'invalid_state', status: state, funds_status: funds }]);
    }
  }
});
