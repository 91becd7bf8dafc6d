/** Today's workflows agree with what those of every kept history did: a payment under way survives a deploy. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from '../../workers/bundle.ts';
import { stories } from './stories.ts';

const folder = path.join(import.meta.dirname, 'histories');
const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();

let bundle: { codePath: string };

beforeAll(async () => {
  // The histories that must not fit would be complained about at length.
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'off' } } });
  bundle = await workflowBundle();
}, 60_000);

function textOf(file: string): string {
  return readFileSync(path.join(folder, file), 'utf8');
}

/** Runs today's code along a history. Rejects where they part. */
async function replay(text: string): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: bundle }, historyFromJSON(JSON.parse(text)));
}

test('every story has a history, and every history belongs to a story', () => {
  expect(files).toEqual(stories.map(({ name }) => `${name}.json`).sort());
});

test.each(files)('%s is replayed to its end', async (file) => {
  await replay(textOf(file));
});

test.each<[what: string, file: string, from: RegExp, to: string]>([
  ['another activity', 'gateway-calls-slow.json', /"name": "finishCalls"/g, '"name": "polishCalls"'],
  ['another compensation', 'gateway-calls-cancelled.json', /"name": "releaseCalls"/g, '"name": "keepCalls"'],
  ['a second timer', 'gateway-session-expired.json', /"timerId": "1"/g, '"timerId": "2"'],
])('code that did %s would be found out (%s)', async (_what, file, from, to) => {
  const changed = textOf(file).replace(from, to);
  expect(changed).not.toBe(textOf(file));
  await expect(replay(changed)).rejects.toThrow(DeterminismViolationError);
});

/** What each history must contain, so that a story that was lived otherwise than meant is not kept as proof of it. */
test.each<[file: string, events: readonly string[]]>([
  ['gateway-session-closed-by-update', ['WORKFLOW_EXECUTION_UPDATE_ACCEPTED', 'TIMER_CANCELED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-closed-by-signal', ['WORKFLOW_EXECUTION_SIGNALED', 'TIMER_CANCELED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-expired', ['TIMER_FIRED', 'MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-session-close-now', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-quick', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-all-sellers-failed', ['MARKER_RECORDED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-slow', ['MARKER_RECORDED', 'ACTIVITY_TASK_SCHEDULED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED']],
  ['gateway-calls-cancelled', ['WORKFLOW_EXECUTION_CANCEL_REQUESTED', 'ACTIVITY_TASK_COMPLETED', 'WORKFLOW_EXECUTION_CANCELED']],
])('%s tells its story', (file, events) => {
  const { events: kept } = JSON.parse(textOf(`${file}.json`)) as { events: { eventType: string }[] };
  const types = new Set(kept.map(({ eventType }) => eventType.replace('EVENT_TYPE_', '')));
  for (const event of events) expect([...types]).toContain(event);
});
