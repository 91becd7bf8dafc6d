/** Today's workflows agree with what those of every kept history did: a payment under way survives a deploy. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from '../../workers/bundle.ts';
import { stories } from './stories.ts';

const folder = path.join(import.meta.dirname, 'histories');
/** Of today's workflows. */
const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
/** Of workflows as they were before a change: each change that needed a patch has a folder. */
const versions = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
const olderFiles = versions.flatMap((version) => readdirSync(path.join(folder, version)).sort().map((name) => `${version}/${name}`));

let bundle: { codePath: string };

beforeAll(async () => {
  // The histories that must not fit would be complained about at length.
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'off' } } });
  bundle = await workflowBundle();
}, 60_000);

function textOf(file: string): string {
  return readFileSync(path.join(folder, file), 'utf8');
}

/** Runs today's code, or other code, along a history. Rejects where they part. */
async function replay(text: string, code: { codePath: string } | { code: string } = bundle): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: code }, historyFromJSON(JSON.parse(text)));
}

test('every story has a history, and every history belongs to a story', () => {
  expect(files).toEqual(stories.map(({ name }) => `${name}.json`).sort());
});

test.each([...files, ...olderFiles])('%s is replayed to its end', async (file) => {
  await replay(textOf(file));
});

test('every folder of an older version holds histories, and none of them is one of today', () => {
  expect(versions.filter((version) => !olderFiles.some((file) => file.startsWith(`${version}/`)))).toEqual([]);
  const today = new Set(files.map(textOf));
  expect(olderFiles.filter((file) => today.has(textOf(file)))).toEqual([]);
});

/** Every patch that today's code has, with the folder of the lives from before it. Nothing is released yet, so there is none. */
const patches: readonly { readonly patch: string; readonly folder: string }[] = [];

/** Today's code with a change, as somebody may make it. */
function changedCode(from: RegExp, to: string): { code: string } {
  const text = readFileSync(bundle.codePath, 'utf8');
  const changed = text.replace(from, to);
  // Jest would print both, which are megabytes.
  if (changed === text) throw new Error(`The bundle has no place that looks like ${from.source}.`);
  return { code: changed };
}

/** The example of docs/changing-workflows.md: a payment is to note at its end who has ended it. */
describe('a new command at the end of sessions', () => {
  const place = /while ?\(run\.answerWaits\)/;
  // The name that the bundler gave to the SDK in this very module. Bounded: lines of the bundle are long.
  const call = /\(0,\s?([\w$]{1,80})\.condition\)\([\w$]{1,80}\.allHandlersFinished/;
  const sdk = (): string => call.exec(readFileSync(bundle.codePath, 'utf8'))?.[1] ?? '';
  const another = (): string => `(0,${sdk()}.upsertMemo)({ endedBy: 'the buyer' });`;
  const past = files.filter((file) => file.startsWith('gateway-session-'));

  test.each(past)('without a patch, %s could not be gone on with', async (file) => {
    await expect(replay(textOf(file), changedCode(place, `${another()} $&`))).rejects.toThrow(DeterminismViolationError);
  });
  test.each(past)('behind a patch, %s is replayed to its end', async (file) => {
    await replay(textOf(file), changedCode(place, `if ((0,${sdk()}.patched)('ended-by')) ${another()} $&`));
  });
});

test('every folder of an older version belongs to a patch', () => {
  expect(versions).toEqual(patches.map(({ folder: past }) => past).sort());
});

test.each<[what: string, file: string, from: RegExp, to: string]>([
  ['another activity', 'gateway-calls-slow.json', /"name": "finishCalls"/g, '"name": "polishCalls"'],
  ['another compensation', 'gateway-calls-cancelled.json', /"name": "releaseCalls"/g, '"name": "keepCalls"'],
  ['another timer for the deadline', 'multistep-expired.json', /"timerId": "1"/g, '"timerId": "7"'],
  ['a timer for each tick', 'stream-ticked-and-postponed.json', /"timerId": "2"/g, '"timerId": "9"'],
  ['a longer run', 'stream-continued-as-new.json', /"timerId": "2"/g, '"timerId": "3"'],
  ['a second timer', 'gateway-session-expired.json', /"timerId": "1"/g, '"timerId": "2"'],
  ['another way of waiting for a slow step', 'pipeline-slow-step.json', /"name": "finishStep"/g, '"name": "hurryStep"'],
  ['another chore', 'chores-audit.json', /"name": "auditBooks"/g, '"name": "burnBooks"'],
  ['another way of undoing', 'pipeline-failed-and-undone.json', /"name": "undoStep"/g, '"name": "forgetStep"'],
])('code that did %s would be found out (%s)', async (_what, file, from, to) => {
  const changed = textOf(file).replace(from, to);
  expect(changed).not.toBe(textOf(file));
  await expect(replay(changed)).rejects.toThrow(DeterminismViolationError);
});

/** What each history must contain, so that a story that was lived otherwise than meant is not kept as proof of it. */
test.each<[file: string, events: readonly string[]]>([
  ['gateway-session-closed-by-update',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED',
      'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-closed-by-signal',
    ['WORKFLOW_EXECUTION_SIGNALED', 'MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-expired', ['UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'TIMER_FIRED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-closed-with-a-call-under-way',
    ['MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'TIMER_STARTED', 'TIMER_CANCELED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-completed', ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'TIMER_CANCELED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-refunded', ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-expired',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'TIMER_FIRED', 'MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES',
      'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-by-signal', ['WORKFLOW_EXECUTION_SIGNALED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-by-update',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['multistep-aborted-by-update', ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-quick', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-all-sellers-failed', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-slow', ['MARKER_RECORDED', 'ACTIVITY_TASK_SCHEDULED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-completed', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-slow-step', ['MARKER_RECORDED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-failed-and-undone',
    ['MARKER_RECORDED', 'ACTIVITY_TASK_COMPLETED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-undo-retried',
    ['TIMER_STARTED', 'WORKFLOW_EXECUTION_SIGNALED', 'TIMER_CANCELED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-all-or-nothing-given-back', ['MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-cancelled-by-signal', ['WORKFLOW_EXECUTION_SIGNALED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-cancelled-by-update', ['WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['pipeline-cancelled-in-temporal', ['WORKFLOW_EXECUTION_CANCEL_REQUESTED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['chores-retention', ['ACTIVITY_TASK_SCHEDULED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['chores-audit', ['ACTIVITY_TASK_SCHEDULED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-cancelled', ['WORKFLOW_EXECUTION_CANCEL_REQUESTED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_CANCELED']],
  ['card-charged-after-wrong-tries',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['card-by-signal', ['WORKFLOW_EXECUTION_SIGNALED', 'MARKER_RECORDED', 'TIMER_CANCELED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['card-expired', ['TIMER_FIRED', 'MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-topped-up-and-closed',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'MARKER_RECORDED', 'TIMER_CANCELED',
      'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-closed-by-update',
    ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-closed-by-signal', ['WORKFLOW_EXECUTION_SIGNALED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-topped-up-by-signal',
    ['WORKFLOW_EXECUTION_SIGNALED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-stale-closed', ['TIMER_FIRED', 'MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-ticked-and-postponed', ['TIMER_FIRED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['stream-continued-as-new', ['TIMER_FIRED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_CONTINUED_AS_NEW']],
])('%s tells its story', (file, events) => {
  const { events: kept } = JSON.parse(textOf(`${file}.json`)) as { events: { eventType: string }[] };
  const types = new Set(kept.map(({ eventType }) => eventType.replace('EVENT_TYPE_', '')));
  for (const event of events) expect([...types]).toContain(event);
});
