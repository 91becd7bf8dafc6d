/** Long calls by messages: what an operator says to the workflow, what that shows, and what happens when the workflow is lost. */
import { decode } from '@temporalio/common/lib/encoding.js';
import { addressOf } from '../support/app.ts';
import { buyLong, longCallIs, longCallNow, stepOf } from '../support/long-calls.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Behaviour } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', SELLER_TIMEOUT: '2s' });

const later: Behaviour = { kind: 'status', status: 202 };
const textOf = (data: Uint8Array | null | undefined): string => JSON.parse(decode(data ?? new Uint8Array())) as string;

async function aCall(behaviour: Behaviour = later, state = 'begun') {
  const studio = await seller('Studio', behaviour);
  const owner = await platform().offers(studio, { serviceType: 'film', price: '0.40', maxDurationSecs: 3_600 });
  const session = await platform().aSession();
  const { callId, workflowId } = (await buyLong(platform(), session)).body as { callId: string; workflowId: string };
  await longCallIs(platform(), session.buyer, callId, state);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  await eventually(() => handle.describe());
  return { studio, owner, session, callId, handle };
}

test('an update completes the call and answers with it; its activity moves the money, and the UI tells the story', async () => {
  const { owner, session, callId, handle } = await aCall();
  await handle.signal('surety-progress', { percent: 50, note: 'half' });
  await longCallIs(platform(), session.buyer, callId, 'begun');
  expect(await handle.executeUpdate('surety-complete', { args: [{ result: { film: 1 } }] }))
    .toMatchObject({ id: callId, state: 'settled' });
  expect(await handle.result()).toEqual({ id: callId, version: 5, state: 'settled', service: 'Studio', seller: owner.address,
    paid: '0.400000',
    returned: '0.000000' });
  expect((await longCallNow(platform(), session.buyer, callId)).call.response).toEqual({ film: 1 });
  expect((await platform().moneyOf(owner)).available).toBe(usdc('0.40'));
  const { events } = await handle.fetchHistory();
  const activities = (events ?? []).filter((event) => event.activityTaskScheduledEventAttributes ?? event.markerRecordedEventAttributes)
    .map(({ userMetadata }) => textOf(userMetadata?.summary?.data));
  expect(activities).toEqual(['read where the call stands', `ask Studio (${owner.address}) for 0.400000 USDC`, 'progress by an operator',
    'complete by an operator']);
  const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
  expect(currentDetails).toContain(`**0.400000 USDC** of \`${session.buyer.address}\` for Studio \`${owner.address}\``);
  const lines = currentDetails.split('\n').filter((line) => line.startsWith('- ')).map((line) => line.replace(/^- \S+ \S+ UTC /, ''));
  expect(lines).toEqual([
    'the buyer · accepted, its price is reserved', expect.stringMatching(/^- at the time of the seller, .* the money goes back$/),
    `the platform · asks Studio \`${owner.address}\``, 'the seller · has begun', 'the seller · is at work · 50 % · half',
    `the seller · completed: 0.400000 USDC paid to \`${owner.address}\``,
  ]);
  expect(await handle.describe()).toMatchObject({ searchAttributes: { PaymentOutcome: ['paid'], PaymentState: ['settled'] } });
}, 20_000);

test('what cannot be is refused at once, with a code and a sentence', async () => {
  const { session, handle } = await aCall();
  const refused = (name: string, sent: object, type: string, message: RegExp) => expect(handle.executeUpdate(name, { args: [sent] }))
    .rejects.toMatchObject({ cause: { type, message: expect.stringMatching(message) } });
  await refused('surety-complete', { result: 'text' }, 'validation_error', /^result: must be a JSON object/);
  await refused('surety-progress', { percent: 200 }, 'validation_error', /^percent: /);
  await refused('surety-cancel', {}, 'invalid_state', /^The seller has begun: .* not possible to cancel it\.$/);
  await refused('surety-fail', { by: 7 }, 'validation_error', /^by: must be an address/);
  await refused('surety-fail', { by: addressOf(1) }, 'unauthorized', /^Only the seller that was asked may give the call up/);
  await handle.signal('surety-cancel', { by: session.buyer.address });
  await handle.signal('surety-moved', 'rubbish');
  await eventually(async () => expect(await handle.query('surety-view'))
    .toMatchObject({ state: 'begun', lastRefusal: expect.stringContaining('not possible to cancel it') }));
  await handle.signal('surety-fail', { reason: 'no film' });
  expect(await handle.result()).toMatchObject({ state: 'released', returned: '0.400000', reason: 'Studio gave the call up: no film' });
}, 20_000);

test('cancelling the workflow cancels the call while its seller has not begun', async () => {
  const { session, callId, handle } = await aCall({ kind: 'hang' }, 'asking');
  await handle.cancel();
  await longCallIs(platform(), session.buyer, callId, 'released');
  expect(await handle.result()).toMatchObject({ state: 'released', reason: 'The buyer cancelled the call before its seller began.' });
}, 20_000);

test('a workflow that was lost comes back with the next step, and asks nobody twice', async () => {
  const { studio, owner, session, callId, handle } = await aCall();
  await handle.terminate('lost');
  expect((await stepOf(platform(), owner, callId, 'progress', { percent: 20 })).status).toBe(200);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'), { withinMs: 15_000 });
  await stepOf(platform(), owner, callId, 'complete', { result: { film: 2 } });
  expect(await handle.result()).toMatchObject({ state: 'settled', paid: '0.400000' });
  expect(studio.requests).toHaveLength(1);
  expect((await longCallNow(platform(), session.buyer, callId)).call.response).toEqual({ film: 2 });
}, 30_000);
