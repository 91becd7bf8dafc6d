/** The kept histories of escrows tell what they are named after, and code that did something else would not fit them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from '../../workers/bundle.ts';
import { escrowStories } from './stories-escrow.ts';

const textOf = (name: string): string => readFileSync(path.join(import.meta.dirname, 'histories', `escrow-${name}.json`), 'utf8');
const eventsOf = (name: string): string[] => (JSON.parse(textOf(name)) as { events: { eventType: string }[] }).events.map(({ eventType }) => eventType.replace('EVENT_TYPE_', ''));

let bundle: { codePath: string };
beforeAll(async () => {
  // The histories that must not fit would be complained about at length.
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'off' } } });
  bundle = await workflowBundle();
}, 60_000);

const [signal, update, done] = ['WORKFLOW_EXECUTION_SIGNALED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED', 'WORKFLOW_EXECUTION_COMPLETED'];
/** How often each kind of event must occur; those that are not named may be there or not. */
test.each<[name: string, events: Readonly<Record<string, number>>]>([
  ['confirmed', { [signal]: 2, TIMER_STARTED: 2, TIMER_FIRED: 0, MARKER_RECORDED: 0, [done]: 1 }],
  ['confirmed-at-once', { [signal]: 1, TIMER_FIRED: 0, MARKER_RECORDED: 0, [done]: 1 }],
  ['auto-released', { [signal]: 1, TIMER_FIRED: 1, MARKER_RECORDED: 1, [done]: 1 }],
  ['delivery-expired', { [signal]: 0, TIMER_FIRED: 1, MARKER_RECORDED: 1, [done]: 1 }],
  ['ruled-partial', { [signal]: 4, TIMER_FIRED: 0, MARKER_RECORDED: 0, UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 4, [done]: 1 }],
  ['ruled-refund', { [signal]: 2, MARKER_RECORDED: 0, [done]: 1 }],
  ['ruling-expired', { [signal]: 1, TIMER_FIRED: 1, MARKER_RECORDED: 1, [done]: 1 }],
  ['declined', { [signal]: 1, MARKER_RECORDED: 0, [done]: 1 }],
  ['cancelled', { [signal]: 1, MARKER_RECORDED: 0, [done]: 1 }],
  ['by-update', { [signal]: 0, [update]: 5, MARKER_RECORDED: 5, [done]: 1 }],
  ['by-signal', { [signal]: 2, [update]: 0, MARKER_RECORDED: 2, [done]: 1 }],
  ['refused', { [signal]: 2, [update]: 1, MARKER_RECORDED: 3, [done]: 1 }],
])('%s tells its story', (name, expected) => {
  const events = eventsOf(name);
  expect(Object.fromEntries(Object.keys(expected).map((type) => [type, events.filter((event) => event === type).length]))).toEqual(expected);
});

test('every story is among those that must tell it', () => expect(escrowStories).toHaveLength(12));

test.each<[what: string, name: string, from: RegExp, to: string]>([
  ['kept no time until the delivery', 'delivery-expired', /"timerId": "1"/g, '"timerId": "7"'],
  ['waited on another timer', 'auto-released', /"timerId": "2"/g, '"timerId": "9"'],
  ['knew no signal to confirm', 'by-signal', /"signalName": "surety-confirm"/g, '"signalName": "surety-approve"'],
  ['answered other updates', 'by-update', /"name": "surety-resolve"/g, '"name": "surety-judge"'],
])('code that %s would be found out (%s)', async (_what, name, from, to) => {
  const changed = textOf(name).replace(from, to);
  expect(changed).not.toBe(textOf(name));
  await expect(Worker.runReplayHistory({ workflowBundle: bundle }, historyFromJSON(JSON.parse(changed)))).rejects.toThrow(DeterminismViolationError);
});
