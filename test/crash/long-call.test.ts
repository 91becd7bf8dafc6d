/**
 * A process dies at each point of a long call; another one is alive. The call goes on, its seller is asked once (or again with the same
 * key, where it works once for one), and it is paid once.
 */
import type { LongCallCrashPoint } from '../../platform/crash.ts';
import { createLanes } from '../support/lanes.ts';
import { buyLong, longCallIs, longCallNow, stepOf } from '../support/long-calls.ts';
import { usdc, type OpenSession } from '../support/market.ts';
import type { PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';

const { story, aSeller } = createLanes({ WORKER_QUEUES: 'gateway' });

/** A seller that answers 202, and a session that may buy of it. */
async function aScene(survivor: PlatformNode, serviceType: string, idempotent = true) {
  const studio = await aSeller('Studio', { kind: 'status', status: 202 });
  const owner = await survivor.offers(studio, { serviceType, price: '0.40', maxDurationSecs: 600, idempotent });
  const session = await survivor.aSession();
  return { studio, owner, session };
}

/** The process has heard of the seller; a dry run passes no crash point. */
function knows(node: PlatformNode, session: OpenSession, serviceType: string): Promise<void> {
  return eventually(async () => {
    const { body } = await node.ask('POST', `/v1/gateway/sessions/${session.token}/dry-run`,
      { key: session.buyer.key, body: { serviceType } });
    expect(body.result.allowed).toBe(true);
  });
}

/** Buys at a process that dies over it. The other one stands still meanwhile: it would take the work over before there is a death. */
async function buyAtDying(node: PlatformNode, survivor: PlatformNode, session: OpenSession, serviceType: string): Promise<void> {
  await knows(node, session, serviceType);
  survivor.send('SIGSTOP');
  try {
    await buyLong(node, session, { serviceType, key: serviceType }).catch(() => 'gone');
    const late = new Promise((_, reject) => setTimeout(reject, 25_000, new Error('The process is still alive.')).unref());
    await Promise.race([node.ended, late]);
  } finally {
    survivor.send('SIGCONT');
  }
}

/** The id of the only call of a session, whoever died before it was answered. */
async function onlyCall(survivor: PlatformNode, { token, buyer }: OpenSession): Promise<string> {
  const { body } = await survivor.ask('GET', `/v1/gateway/sessions/${token}/logs`, { key: buyer.key });
  expect(body.count).toBe(1);
  return body.logs[0].id as string;
}

const steps = ({ events }: { events: { step: string }[] }): string[] => events.map(({ step }) => step);

/** What may be asked twice with one key is; how often, and what the books then say. */
const points: readonly (readonly [LongCallCrashPoint | 'call-accepted', string[]])[] = [
  ['call-accepted', ['accepted', 'asked', 'begun']],
  ['long-asking', ['accepted', 'asked', 'asked_again', 'begun']],
  ['long-answered', ['accepted', 'asked', 'asked_again', 'begun']],
  ['long-begun', ['accepted', 'asked', 'begun']],
];

for (const [point, expected] of points) story(`a process that dies at ${point} leaves a long call that another one goes on with`,
    async ({ nodes, survivor }) => {
  const { studio, owner, session } = await aScene(survivor, `at-${point}`);
  const node = await nodes.start({ CRASH_AT: point });
  await buyAtDying(node, survivor, session, `at-${point}`);
  const callId = await onlyCall(survivor, session);
  const begun = await longCallIs(survivor, session.buyer, callId, 'begun', 40_000);
  expect(steps(begun)).toEqual(expected);
  expect(new Set(studio.requests.map(({ idempotencyKey }) => idempotencyKey))).toEqual(new Set([callId]));
  expect(studio.requests.length).toBe(point === 'long-answered' ? 2 : 1);
  expect((await stepOf(survivor, owner, callId, 'complete', { result: { film: 1 } })).status).toBe(200);
  expect((await survivor.moneyOf(owner)).available).toBe(usdc('0.40'));
  const again = await buyLong(survivor, session, { serviceType: `at-${point}`, key: `at-${point}` });
  expect([again.status, again.body.callId, again.body.state]).toEqual([202, callId, 'settled']);
  await eventually(async () => expect((await nodes.pool.query('SELECT 1 FROM workflow_notice')).rows).toEqual([]), { withinMs: 20_000 });
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

story('a seller that may not be asked twice is waited for, whoever died while it was asked', async ({ nodes, survivor }) => {
  const { studio, owner, session } = await aScene(survivor, 'risky', false);
  const node = await nodes.start({ CRASH_AT: 'long-answered' });
  await buyAtDying(node, survivor, session, 'risky');
  const callId = await onlyCall(survivor, session);
  await eventually(async () => expect(steps(await longCallNow(survivor, session.buyer, callId)))
    .toEqual(['accepted', 'asked', 'answer_lost']),
    { withinMs: 40_000 });
  expect(studio.requests).toHaveLength(1);
  expect((await stepOf(survivor, owner, callId, 'complete', { result: {} })).status).toBe(200);
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

story('a seller whose completion was not answered completes again, and is paid once', async ({ nodes, survivor }) => {
  const { studio, owner, session } = await aScene(survivor, 'ended');
  const node = await nodes.start({ CRASH_AT: 'long-ended', WORKER_QUEUES: 'none', PUBLIC_URL: 'https://pay.example/' });
  await knows(node, session, 'ended');
  const { callId, statusUrl } = (await buyLong(node, session, { serviceType: 'ended' })).body;
  await longCallIs(survivor, session.buyer, callId, 'begun', 20_000);
  // Links lead to where the platform is reached from outside.
  expect(statusUrl).toBe(`https://pay.example/v1/gateway/calls/${callId}`);
  expect(studio.requests[0]?.headers['x-payment-complete']).toMatch(`${statusUrl}/complete?token=`);
  expect(await stepOf(node, owner, callId, 'complete', { result: { film: 3 } }).catch(() => 'gone')).toBe('gone');
  const again = await stepOf(survivor, owner, callId, 'complete', { result: { film: 3 } });
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, 'true']);
  expect((await survivor.moneyOf(owner)).available).toBe(usdc('0.40'));
  await eventually(async () => expect((await nodes.pool.query('SELECT 1 FROM workflow_notice')).rows).toEqual([]), { withinMs: 20_000 });
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);
