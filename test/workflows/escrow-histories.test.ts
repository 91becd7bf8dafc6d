/** The kept histories of escrows tell what they are named after, and code that did something else would not fit them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from '../../workers/bundle.ts';
import { escrowStories } from './stories-escrow.ts';

const textOf = (name: string): string => readFileSync(path.join(import.meta.dirname, 'histories', `escrow-${name}.json`), 'utf8');
const eventsOf = (name: string): string[] =>
  (JSON.parse(textOf(name)) as { events: { eventType: string }[] }).events.map(({ eventType }) => eventType.replace('EVENT_TYPE_', ''));

let bundle: { codePath: string };
beforeAll(async () => {
  // The histories that must not fit would be complained about at length.
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'off' } } });
  bundle = await workflowBundle();
}, 60_000);

interface Payloads { readonly payloads?: readonly { readonly data: string }[] }
interface KeptEvent {
  readonly markerRecordedEventAttributes?: { readonly details?: { readonly data?: Payloads } };
  readonly activityTaskScheduledEventAttributes?: { readonly activityType: { readonly name: string } };
}

/** What the workflow had done, in order: local activities stand in markers, the patient ones by themselves. */
function activitiesOf(name: string): string[] {
  const { events } = JSON.parse(textOf(name)) as { events: KeptEvent[] };
  return events.flatMap(({ markerRecordedEventAttributes: marker, activityTaskScheduledEventAttributes: scheduled }) => {
    const data = marker?.details?.data?.payloads?.[0]?.data;
    if (data !== undefined) return [(JSON.parse(Buffer.from(data, 'base64').toString()) as { activity_type: string }).activity_type];
    return scheduled === undefined ? [] : [`${scheduled.activityType.name}, patiently`];
  });
}

const [signal, update, attribute] = ['WORKFLOW_EXECUTION_SIGNALED', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED',
  'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES'];
/** What was done, and how often each kind of event must occur; those that are not named may be there or not. */
const told: readonly (readonly [name: string, activities: readonly string[], events: Readonly<Record<string, number>>])[] = [
  ['confirmed', ['open', 'deliver', 'confirm'], { [signal]: 0, [update]: 2, TIMER_STARTED: 2, TIMER_FIRED: 0 }],
  ['confirmed-at-once', ['open', 'confirm'], { [signal]: 0, [update]: 1, TIMER_FIRED: 0 }],
  ['auto-released', ['open', 'deliver', 'expire'], { [signal]: 0, [update]: 1, TIMER_STARTED: 2, TIMER_FIRED: 1 }],
  ['delivery-expired', ['open', 'expire'], { [signal]: 0, [update]: 0, TIMER_STARTED: 1, TIMER_FIRED: 1 }],
  // Evidence starts no timer and changes nothing that can be searched for.
  ['ruled-partial', ['open', 'deliver', 'dispute', 'evidence', 'arbitrate', 'resolve'], { [signal]: 0, [update]: 5, TIMER_STARTED: 4,
    [attribute]: 4 }],
  ['ruled-refund', ['open', 'dispute', 'resolve'], { [signal]: 0, [update]: 2 }],
  ['ruling-expired', ['open', 'dispute', 'expire'], { [update]: 1, TIMER_STARTED: 2, TIMER_FIRED: 1 }],
  ['declined', ['open', 'decline'], { [update]: 1, TIMER_FIRED: 0 }],
  ['cancelled', ['open', 'cancel'], { [update]: 1, TIMER_FIRED: 0 }],
  // The last task but one answers the operator; a timer of a moment ends it.
  ['by-update', ['open', 'deliver', 'dispute', 'evidence', 'arbitrate', 'resolve'], { [signal]: 0, [update]: 5, TIMER_FIRED: 1 }],
  ['by-signal', ['open', 'deliver', 'confirm'], { [signal]: 2, [update]: 0 }],
  ['refused', ['open', 'resolve', 'cancel', 'decline'], { [signal]: 2, [update]: 1 }],
  ['direct-steps', ['open', 'catchUp', 'catchUp'], { [signal]: 2, [update]: 0, TIMER_STARTED: 2, TIMER_FIRED: 0 }],
  ['direct-steps-told-at-once', ['open', 'catchUp'], { [signal]: 1, [update]: 0 }],
  ['taken-over', ['catchUp', 'confirm'], { [signal]: 0, [update]: 1 }],
  ['not-opened', ['open'], { [signal]: 0, TIMER_STARTED: 0, WORKFLOW_TASK_COMPLETED: 1 }],
];

test.each(told)('%s tells its story', (name, activities, expected) => {
  const events = eventsOf(name);
  expect(activitiesOf(name)).toEqual(activities);
  expect(Object.fromEntries(Object.keys(expected).map((type) =>
    [type, events.filter((event) => event === type).length]))).toEqual(expected);
  expect(events.at(-1)).toBe('WORKFLOW_EXECUTION_COMPLETED');
  expect(events.filter((event) => /FAILED|TIMED_OUT/.test(event))).toEqual([]);
});

test('continued-as-new tells its story: what the first run knows is in what the second one is started with', () => {
  expect(activitiesOf('continued-as-new').slice(0, 3)).toEqual(['catchUp', 'dispute', 'evidence']);
  expect(eventsOf('continued-as-new').at(-1)).toBe('WORKFLOW_EXECUTION_CONTINUED_AS_NEW');
});

test('every story is among those that must tell it', () => {
  expect(escrowStories.map(({ name }) => name).sort()).toEqual([...told.map(([name]) => name), 'continued-as-new'].map((name) =>
    `escrow-${name}`).sort());
});

/** The name of a local activity stands in its marker, as base64 that depends on where it begins. */
const renamed = (text: string, from: string, to: string): string => text.replace(/"data": "([A-Za-z0-9+/=]+)"/g, (whole, data: string) => {
  const inside = Buffer.from(data, 'base64').toString();
  return inside.includes(`"activity_type":"${from}"`)
    ? `"data": "${Buffer.from(inside.replace(`"activity_type":"${from}"`, `"activity_type":"${to}"`)).toString('base64')}"` : whole;
});

test.each<[what: string, name: string, change: (text: string) => string]>([
  ['kept no time until the delivery', 'delivery-expired', (text) => text.replace(/"timerId": "1"/g, '"timerId": "7"')],
  ['waited on another timer', 'auto-released', (text) => text.replace(/"timerId": "2"/g, '"timerId": "9"')],
  ['knew no signal to confirm', 'by-signal', (text) => text.replace(/"signalName": "surety-confirm"/g, '"signalName": "surety-approve"')],
  ['answered other updates', 'by-update', (text) => text.replace(/"name": "surety-resolve"/g, '"name": "surety-judge"')],
  ['held the money by another activity', 'confirmed', (text) => renamed(text, 'open', 'begin')],
  ['paid by another activity', 'confirmed', (text) => renamed(text, 'confirm', 'pay')],
  ['ended it another way when the time was up', 'ruling-expired', (text) => renamed(text, 'expire', 'look')],
  ['did not read what happened without it', 'direct-steps', (text) => renamed(text, 'catchUp', 'open')],
  ['opened what was there', 'taken-over', (text) => renamed(text, 'catchUp', 'open')],
])('code that %s would be found out (%s)', async (_what, name, change) => {
  const changed = change(textOf(name));
  expect(changed).not.toBe(textOf(name));
  await expect(Worker.runReplayHistory({ workflowBundle: bundle },
    historyFromJSON(JSON.parse(changed)))).rejects.toThrow(DeterminismViolationError);
});
