/** The workflow behind a multistep escrow: it keeps the deadline, knows where the row stands, and takes steps from people. */
import { WorkflowNotFoundError, WorkflowUpdateFailedError, type WorkflowHandle } from '@temporalio/client';
import type { PaymentFact, PaymentView } from '../../domain/payment-messages.ts';
import { anOpenMultistep, confirm, moneyIn, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, story } = createPlatformSuite({ WORKER_QUEUES: 'multistep' });
const handleOf = ({ workflowId }: OpenMultistep): WorkflowHandle => platform().temporal.client.workflow.getHandle(workflowId);
type Shown = PaymentView & { readonly facts: readonly PaymentFact[]; readonly lastRefusal: string | null };
const viewOf = (escrow: OpenMultistep): Promise<Shown> => handleOf(escrow).query<Shown>('surety-view');
const money = ({ address }: { address: string }): Promise<{ available: number; escrowed: number }> =>
  moneyIn(platform().db.pool, { address });
const update = (escrow: OpenMultistep, name: string, ...args: [] | [unknown]): Promise<PaymentView> =>
  (args.length === 0 ? handleOf(escrow).executeUpdate<PaymentView, []>(name)
    : handleOf(escrow).executeUpdate<PaymentView, [unknown]>(name, { args }));

async function stateOf(escrow: OpenMultistep): Promise<Record<string, unknown>> {
  return (await read(platform(), escrow)).body.escrow;
}

async function becomes(escrow: OpenMultistep, expected: Record<string, unknown>, withinMs = 10_000): Promise<void> {
  await eventually(async () => expect(await stateOf(escrow)).toMatchObject(expected), { withinMs });
}

/** Nothing is left that a workflow would still have to hear. */
async function allTold({ id }: OpenMultistep): Promise<void> {
  await eventually(async () =>
    expect((await platform().db.pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [id])).rowCount).toBe(0));
}

/** The refusal of an update, as its code. */
async function refusalOf(answer: Promise<unknown>): Promise<unknown> {
  const error: unknown = await answer.then(() => 'no refusal', (thrown: unknown) => thrown);
  if (!(error instanceof WorkflowUpdateFailedError)) return error;
  let inner: unknown = error.cause;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return (inner as { type?: string }).type;
}

test('a new escrow has its workflow at once, and people who look for it in Temporal find it', async () => {
  const escrow = await anOpenMultistep(platform());
  const described = await handleOf(escrow).describe();
  expect([described.type, described.status.name]).toEqual(['multistepEscrow', 'RUNNING']);
  expect(described.searchAttributes).toMatchObject({ Buyer: [escrow.buyer.address], PaymentState: ['open'], AmountUsd: [0.6] });
  expect(await viewOf(escrow)).toMatchObject({ version: 1, state: 'open', ended: false, lastRefusal: null });
  await allTold(escrow);
  await refund(platform(), escrow);
});

test('the workflow hears of steps taken over HTTP and ends with the escrow', async () => {
  const escrow = await anOpenMultistep(platform());
  await confirm(platform(), escrow, 2);
  await eventually(async () => expect(await viewOf(escrow)).toMatchObject({ version: 2, state: 'open' }));
  await confirm(platform(), escrow, 0);
  await confirm(platform(), escrow, 1);
  expect(await handleOf(escrow).result()).toEqual({ id: escrow.id, version: 4, state: 'completed', resolution: 'all_confirmed',
    by: escrow.buyer.address, role: 'buyer', reason: 'step 2 of 3 (index 1)', returned: '0.000000',
    paid: escrow.sellers.map(({ address }, n) => ({ to: address, amount: ['0.100000', '0.200000', '0.300000'][n] })) });
  expect((await handleOf(escrow).describe()).searchAttributes).toMatchObject({ PaymentState: ['completed'], PaymentOutcome: ['paid'] });
  await allTold(escrow);
});

story('at the deadline the rest goes back, and what was paid stays paid', async () => {
  const escrow = await anOpenMultistep(platform(), undefined, { expiresIn: '5s' });
  expect((await confirm(platform(), escrow, 0)).status).toBe(200);
  expect(await handleOf(escrow).result()).toMatchObject({ state: 'aborted', resolution: 'expired', by: 'clock' });
  expect(await stateOf(escrow))
    .toMatchObject({ status: 'aborted', resolution: 'expired', spentAmount: '0.100000', refundedAmount: '0.500000' });
  expect(await money(escrow.buyer)).toEqual({ available: 500_000, escrowed: 0 });
  expect((await confirm(platform(), escrow, 1)).body)
    .toMatchObject({ error: 'invalid_state', status: 'aborted', funds_status: 'returned' });
  await allTold(escrow);
});

story('an escrow whose workflow was lost is ended by the sweeper', async () => {
  const escrow = await anOpenMultistep(platform());
  await handleOf(escrow).terminate('lost');
  await platform().db.pool.query(`UPDATE payment SET deadline = clock_timestamp() - interval '11 seconds' WHERE id = $1`,
    [escrow.id]);
  const late = await confirm(platform(), escrow, 0);
  // Either it has been ended already, or its time is over although nobody has ended it yet.
  expect([late.status, late.body.error]).toEqual([409, 'invalid_state']);
  await becomes(escrow, { status: 'aborted', resolution: 'expired', refundedAmount: '0.600000' });
  await allTold(escrow);
});

test.each(['terminated', 'cancelled'] as const)('a workflow that was %s is started again when the escrow moves on', async (how) => {
  const escrow = await anOpenMultistep(platform());
  if (how === 'terminated') await handleOf(escrow).terminate('lost');
  else {
    await handleOf(escrow).cancel();
    await eventually(async () => expect((await handleOf(escrow).describe()).status.name).toBe('CANCELLED'));
  }
  expect(await stateOf(escrow)).toMatchObject({ status: 'open', remainingAmount: '0.600000' });
  await confirm(platform(), escrow, 0);
  await eventually(async () => expect(await viewOf(escrow)).toMatchObject({ version: 2, state: 'open' }));
  expect((await handleOf(escrow).describe()).status.name).toBe('RUNNING');
  await refund(platform(), escrow);
  expect(await handleOf(escrow).result()).toMatchObject({ state: 'aborted' });
});

test('steps can be taken by update: the plan fills in what is left out, and the answer is the new state', async () => {
  const escrow = await anOpenMultistep(platform());
  expect(await update(escrow, 'surety-confirm-step', { stepIndex: 1 })).toMatchObject({ version: 2, state: 'open' });
  expect(await update(escrow, 'surety-confirm-step',
    { stepIndex: 0, sellerAddr: escrow.sellers[0]?.address.toUpperCase().replace('0X', '0x'), amount: '0.1' }))
    .toMatchObject({ version: 3 });
  expect(await stateOf(escrow)).toMatchObject({ confirmedSteps: 2, spentAmount: '0.300000' });
  expect(await update(escrow, 'surety-refund')).toMatchObject({ version: 4, state: 'aborted', ended: true });
  expect(await handleOf(escrow).result()).toMatchObject({ version: 4, state: 'aborted' });
  expect(await money(escrow.buyer)).toEqual({ available: 300_000, escrowed: 0 });
  await expect(update(escrow, 'surety-refund')).rejects.toThrow(WorkflowNotFoundError);
  await allTold(escrow);
});

test('an update is refused with the code that HTTP would answer with, and the escrow goes on', async () => {
  const escrow = await anOpenMultistep(platform());
  await confirm(platform(), escrow, 1);
  const refusals: [unknown, string][] = [
    [{ stepIndex: 3 }, 'step_out_of_range'], [{ stepIndex: -1 }, 'step_out_of_range'], [{ stepIndex: 1 }, 'duplicate_step'],
    [{ stepIndex: 0, amount: '0.2' }, 'step_mismatch'],
    [{ stepIndex: 0, sellerAddr: escrow.buyer.address }, 'step_mismatch'], [{ stepIndex: 0, amount: '0' }, 'invalid_amount'],
    [{ stepIndex: 0, amount: 0.1 }, 'invalid_amount'],
    [{ stepIndex: 0, sellerAddr: 'x' }, 'invalid_address'], [{ stepIndex: '0' }, 'validation_error'], [{}, 'validation_error'],
    [null, 'validation_error'], ['0', 'validation_error'],
  ];
  for (const [input, code] of refusals) expect([input, await refusalOf(update(escrow, 'surety-confirm-step', input))])
    .toEqual([input, code]);
  expect(await refusalOf(update(escrow, 'surety-confirm-step'))).toBe('validation_error');
  expect(await stateOf(escrow)).toMatchObject({ status: 'open', confirmedSteps: 1 });
  expect(await update(escrow, 'surety-confirm-step', { stepIndex: 0 })).toMatchObject({ version: 3 });
  await refund(platform(), escrow);
});

test('steps can be taken by signal; why one was refused can be read afterwards', async () => {
  const escrow = await anOpenMultistep(platform());
  const handle = handleOf(escrow);
  await handle.signal('surety-confirm-step', { stepIndex: 7 });
  await eventually(async () => expect((await viewOf(escrow)).lastRefusal).toBe('The plan has the steps 0 to 2.'));
  await handle.signal('surety-confirm-step');
  await eventually(async () => expect((await viewOf(escrow)).lastRefusal).toMatch(/stepIndex: must be a whole number/));
  await handle.signal('surety-confirm-step', { stepIndex: 2 });
  await becomes(escrow, { confirmedSteps: 1, spentAmount: '0.300000' });
  await eventually(async () => expect(await viewOf(escrow)).toMatchObject({ version: 2, lastRefusal: null }));
  await handle.signal('surety-refund');
  expect(await handle.result()).toMatchObject({ state: 'aborted' });
  expect(await money(escrow.buyer)).toEqual({ available: 300_000, escrowed: 0 });
  await allTold(escrow);
});

test('updates, signals and requests for the same steps, all at once, pay each step once', async () => {
  const escrow = await anOpenMultistep(platform(), Array.from({ length: 10 }, () => '0.01'));
  const handle = handleOf(escrow);
  const twins = Array.from({ length: 10 },
    (_, n) => [update(escrow, 'surety-confirm-step', { stepIndex: n % 9 }), confirm(platform(), escrow, n % 9),
    handle.signal('surety-confirm-step', { stepIndex: n % 9 })]).flat();
  await Promise.all(twins.map((twin) => twin.catch(() => undefined)));
  await becomes(escrow, { confirmedSteps: 9, spentAmount: '0.090000' });
  await refund(platform(), escrow);
  expect(await money(escrow.buyer)).toEqual({ available: 10_000, escrowed: 0 });
});

test('a seller that was deleted after the plan was made is paid all the same: the money waits at its address', async () => {
  const escrow = await anOpenMultistep(platform());
  const [gone] = escrow.sellers;
  if (gone === undefined) throw new Error('Three sellers were made.');
  await platform().ask('DELETE', `/v1/agents/${gone.address}`, { key: gone.key });
  expect((await confirm(platform(), escrow, 0)).status).toBe(200);
  expect((await money(gone)).available).toBe(100_000);
});

story('a hundred steps one after the other leave a short history', async () => {
  const escrow = await anOpenMultistep(platform(), Array.from({ length: 100 }, () => '0.001'));
  for (let n = 0; n < 100; n += 1) await update(escrow, 'surety-confirm-step', { stepIndex: n });
  // The run keeps its latest fifty facts; what was paid is told of all of them.
  expect(await handleOf(escrow).result()).toMatchObject({ state: 'completed', version: 101, returned: '0.000000',
    paid: escrow.sellers.map(({ address }) => ({ to: address, amount: '0.001000' })) });
  expect((await handleOf(escrow).describe()).historyLength).toBeLessThan(1_500);
}, 60_000);
