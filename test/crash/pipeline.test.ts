/**
 * A process dies at each point of a pipeline; another one is alive. Each step is paid at most once, what was kept is paid or given
 * back, compensations are called, and the client that asks again with its key hears how the pipeline ended.
 */
import { pipelineCrashPoints, type CrashPoint } from '../../platform/crash.ts';
import type { Reply } from '../support/app.ts';
import { usdc, type OpenSession } from '../support/market.ts';
import { createLanes } from '../support/lanes.ts';
import type { PlatformNode } from '../support/nodes.ts';
import { aLine, newestPipeline, pipelineNow, runPipeline, type PipelineBody } from '../support/pipelines.ts';
import { eventually } from '../support/platform-suite.ts';

type Point = (typeof pipelineCrashPoints)[number] | CrashPoint;

const { story, aSeller } = createLanes({ WORKER_QUEUES: 'gateway,pipeline' });

/** Three sellers, the second of a refundable step, and where to undo; the last one works or does not. */
async function aScene(survivor: PlatformNode, prefix: string, lastWorks: boolean, idempotent = true) {
  const line = [await aSeller('First', { kind: 'slow', ms: 300 }), await aSeller('Second'),
    await aSeller('Third', lastWorks ? { kind: 'ok' } : { kind: 'status', status: 500 })];
  const undo = await aSeller('Undo');
  const { types, owners } = await aLine(survivor, line, { prefix, idempotent });
  const session = await survivor.aSession({ maxTotal: '5.00' });
  const body: PipelineBody = {
    steps: types.map((serviceType, step) =>
      ({ serviceType, refundable: step === 1, params: { before: '$prev.seller' }, compensation: { endpoint: undo.endpoint } })),
  };
  return { line, undo, owners, types, session, body };
}

/** The process to die has heard of all sellers; a dry run passes no crash point. */
async function knows(node: PlatformNode, session: OpenSession, types: readonly string[]): Promise<void> {
  for (const serviceType of types) {
    await eventually(async () => {
      const { body } = await node.ask('POST', `/v1/gateway/sessions/${session.token}/dry-run`,
        { key: session.buyer.key, body: { serviceType } });
      expect(body.result.allowed).toBe(true);
    });
  }
}

/** The same request at the survivor until there is a last word. */
function askAgain(survivor: PlatformNode, session: OpenSession, body: PipelineBody, key: string): Promise<Reply> {
  return eventually(async () => {
    const reply = await runPipeline(survivor, session, body, key);
    if ([429, 503, 504].includes(reply.status) || reply.body.code === 'idempotency_in_progress'
      || reply.body.status === 'undoing') throw new Error(reply.text);
    return reply;
  }, { withinMs: 40_000, everyMs: 200 });
}

const earnings = (survivor: PlatformNode, owners: readonly { address: string }[]): Promise<bigint[]> =>
  Promise.all(owners.map(async (owner) => (await survivor.moneyOf(owner)).available));

const undoPoints: readonly Point[] = ['compensating', 'compensated'];
const points: readonly Point[] = [...pipelineCrashPoints.filter((point) => !undoPoints.includes(point)), 'forwarding',
  'seller-answered', 'call-settled'];

for (const point of points) story(
    `a process that dies at ${point} leaves a pipeline that another one completes, each step asked for and paid once`,
    async ({ nodes, survivor }) => {
  const { line, owners, types, session, body } = await aScene(survivor, `at-${point}`, true);
  const node = await nodes.start({ CRASH_AT: point });
  await knows(node, session, types);
  expect(await runPipeline(node, session, body, point).catch(() => 'gone')).toBe('gone');
  await node.ended;
  const { status, body: answer } = await askAgain(survivor, session, body, point);
  expect([status, answer.status, answer.totalPaid]).toEqual([200, 'completed', '0.300000']);
  expect(await earnings(survivor, owners)).toEqual(Array(3).fill(usdc('0.10')));
  for (const seller of line) expect(new Set(seller.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  expect(JSON.parse(line[2]?.requests[0]?.body ?? '')).toEqual({ before: 'Second' });
  expect((await survivor.closeSession(session)).body)
    .toMatchObject({ totalSpent: '0.300000', totalRefunded: '4.700000', stillReserved: '0.000000' });
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);

for (const point of undoPoints) story(`a process that dies at ${point} leaves nothing done that should be undone`,
    async ({ nodes, survivor }) => {
  const { undo, owners, types, session, body } = await aScene(survivor, `at-${point}`, false);
  const node = await nodes.start({ CRASH_AT: point });
  await knows(node, session, types);
  // The workflow may be anybody's: the process that dies first is the one that calls the compensation.
  const first = await runPipeline(node, session, body, point).catch(() => 'gone' as const);
  if (first !== 'gone') await eventually(async () =>
    expect((await pipelineNow(survivor, session, (await newestPipeline(survivor, session)).pipelineId)).status).toBe('failed'),
    { withinMs: 40_000 });
  const { status, body: answer } = await askAgain(survivor, session, body, point);
  expect([status, answer.code, answer.partialResult.steps.map((step: { status: string }) => step.status)])
    .toEqual([502, 'pipeline_failed', ['paid', 'refunded']]);
  expect(answer.compensations.map((each: { status: string }) => each.status)).toEqual(['done', 'done', 'not_needed']);
  expect(new Set(undo.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(2);
  expect(await earnings(survivor, owners)).toEqual([usdc('0.10'), 0n, 0n]);
  await survivor.booksAreRight({ overdueMs: 60_000 });
  await node.kill();
}, 90_000);

story('a step that was interrupted at a seller that may not be asked twice ends the pipeline as unknown, and is not paid',
    async ({ nodes, survivor }) => {
  const { line, owners, types, session, body } = await aScene(survivor, 'risky', true, false);
  const node = await nodes.start({ CRASH_AT: 'forwarding' });
  await knows(node, session, types);
  expect(await runPipeline(node, session, body, 'risky').catch(() => 'gone')).toBe('gone');
  const { status, body: answer } = await askAgain(survivor, session, body, 'risky');
  expect([status, answer.code, answer.failedStep, answer.cause.code, answer.funds_status])
    .toEqual([502, 'pipeline_failed', 0, 'execution_unknown', 'returned']);
  expect([line.map(({ requests }) => requests.length), await earnings(survivor, owners)]).toEqual([[1, 0, 0], [0n, 0n, 0n]]);
  // Whether it worked nobody knows, so it is undone.
  expect(answer.compensations.map((each: { status: string }) => each.status)).toEqual(['done', 'not_needed', 'not_needed']);
  await survivor.booksAreRight({ overdueMs: 60_000 });
}, 90_000);
