/** The keys under which steps that come by message are taken, as the activities of real workflows receive them. */
import { randomBytes } from 'node:crypto';
import { Worker } from '@temporalio/worker';
import type { PaymentInput, PaymentReport, PaymentView, StepTask } from '../../domain/payment-messages.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { eventually } from '../support/platform-suite.ts';
import { connectTestTemporal, type TestTemporal } from '../support/temporal.ts';

let temporal: TestTemporal;
beforeAll(async () => {
  temporal = await connectTestTemporal();
}, 30_000);
afterAll(() => temporal.close());

interface Life {
  readonly workflow: string;
  readonly activities: Readonly<Record<string, (input: never) => Promise<PaymentReport>>>;
  readonly input?: Partial<PaymentInput>;
}

const open: PaymentView = {
  id: 'p', version: 1, state: 'open', ended: false, deadlineMs: null, seller: null, resolution: null, returned: '0.000000',
};

/** Starts a workflow with activities of the test; `serve` runs a worker as long as `work` takes. */
async function begin({ workflow, activities, input }: Life) {
  const taskQueue = temporal.taskQueue('keys');
  const first = { id: 'p', view: open, startId: 'life', ...input };
  const handle = await temporal.client.workflow.start(workflow,
    { workflowId: `keys-${randomBytes(6).toString('hex')}`, taskQueue, args: [first] });
  const serve = async (work: () => Promise<void>): Promise<void> => {
    const worker = await Worker.create({ connection: temporal.nativeConnection, taskQueue, activities,
      workflowBundle: await workflowBundle() });
    await worker.runUntil(work());
  };
  return { handle, serve };
}

/** A payment on the engine that its workflow takes over, and activities that do nothing. */
const input: Partial<PaymentInput> = { open: null, searchAttributes: [] };
const report: PaymentReport = {
  view: { ...open, deadlineMs: Date.now() + 60_000 }, facts: [],
};

/** Confirms nothing, and notes which attempt each step came as; the refund is number -1. */
function noting() {
  const keys = new Map<number, string>();
  const note = ({ attempt, input: sent }: StepTask): Promise<PaymentReport> => {
    keys.set((sent as { stepIndex?: number }).stepIndex ?? -1, attempt);
    return Promise.resolve(report);
  };
  return { keys, activities: { 'confirm-step': note, refund: note, catchUp: () => Promise.resolve(report) } };
}

/** Steps 0 and 3 come by update, 1 and 2 by signal. */
const expected = new Map([[0, 'a'], [1, 'signal life confirm-step 1'],
  [2, 'signal life confirm-step 2'], [3, 'b']]);

test.each(['an update first', 'the signals first'])('the key of a step is its update\'s id or its signal\'s number, with %s',
    async (order) => {
  const { keys, activities } = noting();
  const { handle, serve } = await begin({ workflow: 'multistepEscrow', activities, input });
  const update = (updateId: string, stepIndex: number): Promise<unknown> =>
    handle.executeUpdate('surety-confirm-step', { updateId, args: [{ stepIndex }] });
  const signal = (stepIndex: number): Promise<void> => handle.signal('surety-confirm-step', { stepIndex });
  if (order === 'the signals first') for (const stepIndex of [1, 2]) await signal(stepIndex);
  await serve(async () => {
    await update('a', 0);
    if (order === 'an update first') for (const stepIndex of [1, 2]) await signal(stepIndex);
    await update('b', 3);
    await eventually(async () => expect(keys.size).toBe(4));
  });
  expect(keys).toEqual(expected);
  await handle.terminate('seen');
}, 30_000);

test('signals are numbered by name, so that the order in which handlers of several names run changes nothing', async () => {
  const { keys, activities } = noting();
  const { handle, serve } = await begin({ workflow: 'multistepEscrow', activities, input });
  // The first task runs handlers in the order in which they are registered, not in that of the history.
  await handle.signal('surety-refund', {});
  await handle.signal('surety-confirm-step', { stepIndex: 1 });
  await serve(() => eventually(async () => expect(keys.size).toBe(2)));
  expect(keys).toEqual(new Map([[-1, 'signal life refund 1'], [1, 'signal life confirm-step 1']]));
  await handle.terminate('seen');
}, 30_000);

test('a stream that goes on in a new run goes on counting its signals, under the id of its start', async () => {
  // A set, because a task that is tried again runs its local activities again, with the keys that they had.
  const keys = new Set<string>();
  const view = { ...open, deadlineMs: Date.now() + 3_600_000 };
  const close = ({ attempt }: StepTask): Promise<PaymentReport> => {
    keys.add(attempt);
    return Promise.resolve({ view, facts: [], refusal: { code: 'invalid_state', message: 'Not yet.' } });
  };
  const catchUp = (): Promise<PaymentReport> => Promise.resolve({ view, facts: [] });
  const input: Partial<PaymentInput> = { amount: '1', asset: 'USDC', buyer: 'b', open: null, view, searchAttributes: [], eventsMax: 14 };
  const { handle, serve } = await begin({ workflow: 'stream', activities: { close, catchUp }, input });
  await serve(async () => {
    for (const number of [1, 2, 3, 4]) {
      // With `handle` every signal would go to the first run.
      await temporal.client.workflow.getHandle(handle.workflowId).signal('surety-close', {});
      await eventually(async () => expect(keys.size).toBe(number));
    }
  });
  expect([...keys]).toEqual([1, 2, 3, 4].map((number) => `signal life close ${number}`));
  const latest = temporal.client.workflow.getHandle(handle.workflowId);
  expect((await latest.describe()).runId).not.toBe(handle.firstExecutionRunId);
  await latest.terminate('seen');
}, 30_000);
