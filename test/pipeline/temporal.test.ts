/** What a person sees of a pipeline in Temporal's UI: steps as activities that say what they are about, lines as it goes, and its end. */
import { decode } from '@temporalio/common/lib/encoding.js';
import { addressOf } from '../support/app.ts';
import { aLine, runPipeline, undone, workflowResult } from '../support/pipelines.ts';
import type { Trader } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Behaviour } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline', REQUEST_TIMEOUT: '12s' });

const slow: Behaviour = { kind: 'slow', ms: 1_500 };
const textOf = (data: Uint8Array | null | undefined): string => JSON.parse(decode(data ?? new Uint8Array())) as string;

/** Everything that the history says of activities, in order: `summary` where there is one. */
async function activitiesOf(workflowId: string): Promise<string[]> {
  const { events } = await platform().temporal.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(({ userMetadata, ...event }) => {
    const { markerRecordedEventAttributes: marker, activityTaskScheduledEventAttributes: scheduled } = event;
    const name = scheduled?.activityType?.name ?? (marker?.markerName === 'core_local_activity' ? 'local' : null);
    return name === null ? [] : [`${name === 'local' ? '' : `${name}: `}${textOf(userMetadata?.summary?.data)}`];
  });
}

/** The "current details" of a run, as the UI shows them. */
async function detailsOf(workflowId: string): Promise<string> {
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  return (await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')).currentDetails;
}

async function aPipeline(behaviours: readonly Behaviour[], compensation?: { endpoint: string }) {
  const sellers = await Promise.all(behaviours.map((behaviour, step) => seller(`Seller ${step}`, behaviour)));
  const { types, owners } = await aLine(platform(), sellers);
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, ...(compensation === undefined ? {} : { compensation }) })) });
  return { session, owners, id: body.pipelineId as string, workflowId: body.workflowId as string };
}

const bought = (step: number, steps: number, owners: readonly Trader[]): string =>
  `Step ${step + 1} of ${steps} (index ${step}), step-${step} at 0.100000 USDC of Seller ${step} (${owners[step]?.address ?? ''})`;

test('each step is an activity that names it with service, price and seller; the result says what was paid to whom', async () => {
  const { owners, workflowId, session } = await aPipeline([{ kind: 'slow', ms: 4_000 }, { kind: 'ok' }]);
  expect(await workflowResult(platform(), workflowId)).toMatchObject({
    state: 'completed', returned: '0.000000', undone: [],
    paid: owners.map(({ address: to }, step) => ({ step, service: `Seller ${step}`, to, amount: '0.100000' })),
  });
  expect(await activitiesOf(workflowId)).toEqual([bought(0, 2, owners), `finishStep: ${bought(0, 2, owners)}`, bought(1, 2, owners),
    'every step has delivered: pay what was kept until now']);
  const details = await detailsOf(workflowId);
  expect(details).toContain(`**0.200000 USDC** of \`${session.buyer.address}\``);
  expect(details).toMatch(/State: \*\*completed\*\*/);
  for (const step of [1, 2]) expect(details)
    .toMatch(new RegExp(`- \\S+ \\S+ UTC step ${step} · Seller ${step - 1} .* delivered: 0.100000 USDC paid`));
}, 40_000);

test('the undo of a step is known before it is bought, and undone is what was done, the latest first', async () => {
  const undo = await seller('Undo');
  const { owners, workflowId, session, id } = await aPipeline([slow, { kind: 'ok' }, { kind: 'status', status: 500 }],
    { endpoint: undo.endpoint });
  await undone(platform(), session, id);
  expect(await workflowResult(platform(), workflowId)).toMatchObject({
    state: 'failed', failedStep: 2, reason: 'Seller 2 answered with HTTP 500.', returned: '0.100000', paid: [{ step: 0 }, { step: 1 }],
    undone: [{ step: 0, state: 'done', attempts: 1 }, { step: 1, state: 'done' }, { step: 2, state: 'not_needed' }],
  });
  const activities = await activitiesOf(workflowId);
  expect(activities.slice(-4)).toEqual([bought(2, 3, owners), 'give back what is not paid, and see what is to be undone',
    `undoStep: undo step 2: POST ${undo.endpoint}`, `undoStep: undo step 1: POST ${undo.endpoint}`]);
  const lines = (await detailsOf(workflowId)).split('\n').filter((line) => line.startsWith('- '))
    .map((line) => line.replace(/^- \S+ \S+ UTC /, ''));
  expect(lines.map((line) => line.replace(/`.*`/, 'x'))).toEqual([
    `step 1 · its undo is registered: POST ${undo.endpoint}`, 'step 1 · Seller 0 x has delivered: 0.100000 USDC paid',
    `step 2 · its undo is registered: POST ${undo.endpoint}`, 'step 2 · Seller 1 x has delivered: 0.100000 USDC paid',
    `step 3 · its undo is registered: POST ${undo.endpoint}`, 'step 3 · no seller has delivered',
    'undoing · 0.200000 USDC paid, 0.100000 USDC back in the session\'s budget',
    'step 2 · undo done after 1 try', 'step 1 · undo done after 1 try',
    'failed · 0.200000 USDC paid, 0.100000 USDC back in the session\'s budget',
  ]);
  const { searchAttributes } = await platform().temporal.client.workflow.getHandle(workflowId).describe();
  expect(searchAttributes).toMatchObject(
    { Buyer: [session.buyer.address], PaymentState: ['failed'], PaymentOutcome: ['split'], AmountUsd: [0.3] });
}, 40_000);

test('what cannot be is refused at once, with a code and a sentence, and leaves no trace', async () => {
  const { workflowId, session, id } = await aPipeline([{ kind: 'ok' }, { kind: 'status', status: 500 }],
    { endpoint: (await seller('Refusing', { kind: 'status', status: 410 })).endpoint });
  await undone(platform(), session, id);
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  // It waits for somebody to have the compensation called again that was given up.
  await eventually(async () => expect(await handle.query('surety-view')).toMatchObject({ state: 'failed', lastRefusal: null }));
  const refused = (args: [object], type: string, message: RegExp) => expect(handle.executeUpdate('surety-cancel', { args }))
    .rejects.toMatchObject({ cause: { type, message: expect.stringMatching(message) } });
  await refused([{}], 'invalid_state', /^The pipeline is failed, and then it is not possible to cancel it\.$/);
  await refused([{ by: 7 }], 'validation_error', /^by: must be an address/);
  await handle.signal('surety-cancel', { by: addressOf(1) });
  await handle.signal('surety-moved', 'rubbish');
  await eventually(async () => expect(await handle.query('surety-view'))
    .toMatchObject({ lastRefusal: expect.stringContaining('is failed') }));
  // Whoever gives it up for good cancels the workflow; the pipeline has ended, so nothing is stopped.
  await handle.cancel();
  expect(await handle.result()).toMatchObject({ state: 'failed', undone: [{ state: 'failed', error: 'answered with HTTP 410' }, {}] });
}, 40_000);
