/** Temporal dies, with and without its memory: pipelines are bought all the same, and what has to be undone is undone. */
import type { OpenSession } from '../support/market.ts';
import type { PlatformNode } from '../support/nodes.ts';
import { startOwnServers, type OwnServers } from '../support/own-servers.ts';
import { aLine, pipelineNow, runPipeline } from '../support/pipelines.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';

let servers: OwnServers;
let node: PlatformNode;
const sellers: Seller[] = [];

beforeAll(async () => {
  servers = await startOwnServers({ SELLER_TIMEOUT: '10s', REQUEST_TIMEOUT: '20s', WORKER_QUEUES: 'gateway,pipeline' });
  node = servers.node;
}, 120_000);
afterAll(async () => {
  await Promise.all(sellers.map((seller) => seller.close()));
  await servers.close();
}, 60_000);

async function aSeller(name: string, behaviour: Behaviour = { kind: 'ok' }): Promise<Seller> {
  const seller = await startSeller(name, behaviour);
  sellers.push(seller);
  return seller;
}

const endsAs = (session: OpenSession, id: string, expected: object): Promise<void> =>
  eventually(async () => expect(await pipelineNow(node, session, id)).toMatchObject(expected), { withinMs: 60_000, everyMs: 300 });

test('without Temporal a pipeline is bought like any other, and another one that fails is undone', async () => {
  const [first, second, broken, undo] = [await aSeller('First'), await aSeller('Second'),
    await aSeller('Broken', { kind: 'status', status: 500 }), await aSeller('Undo')];
  const { types } = await aLine(node, [first, second, broken], { prefix: 'away' });
  const session = await node.aSession({ maxTotal: '2.00' });
  const steps = types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } }));
  await servers.killTemporal({ andForget: false });
  const [good, bad] = await Promise.all([runPipeline(node, session, { steps: steps.slice(0, 2) }), runPipeline(node, session, { steps })]);
  expect([good.status, good.body.status, good.body.totalPaid]).toEqual([200, 'completed', '0.200000']);
  expect([bad.status, bad.body.code, bad.body.partialResult.totalPaid]).toEqual([502, 'pipeline_failed', '0.200000']);
  await endsAs(session, bad.body.pipelineId,
    { status: 'failed', compensations: [{ status: 'done' }, { status: 'done' }, { status: 'not_needed' }] });
  expect(undo.requests.map(({ body }) => (JSON.parse(body) as { step: number }).step)).toEqual([1, 0]);
  await node.booksAreRight({ overdueMs: 60_000 });
}, 120_000);

test('a pipeline whose workflow is lost in the middle of a step completes', async () => {
  const [slow, last] = [await aSeller('Slow', { kind: 'slow', ms: 4_000 }), await aSeller('Last')];
  const { types } = await aLine(node, [slow, last], { prefix: 'lost' });
  const session = await node.aSession();
  const reply = runPipeline(node, session, { steps: types.map((serviceType) => ({ serviceType })) });
  await eventually(() => Promise.resolve(expect(slow.requests).toHaveLength(1)));
  await servers.killTemporal({ andForget: true });
  expect((await reply).body).toMatchObject({ status: 'completed', totalPaid: '0.200000' });
  await node.booksAreRight({ overdueMs: 60_000 });
}, 120_000);

test('compensations under way when Temporal loses its memory are called to their end', async () => {
  const [first, broken, undo] = [await aSeller('First'), await aSeller('Broken', { kind: 'status', status: 500 }),
    await aSeller('Undo', { kind: 'status', status: 503 })];
  const { types } = await aLine(node, [first, broken], { prefix: 'undo' });
  const session = await node.aSession();
  const { body } = await runPipeline(node, session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } })) });
  expect(body).toMatchObject({ code: 'pipeline_failed', status: 'undoing' });
  await servers.killTemporal({ andForget: true });
  undo.behave({ kind: 'ok' });
  await endsAs(session, body.pipelineId, { status: 'failed', compensations: [{ status: 'done' }, { status: 'not_needed' }] });
  await node.booksAreRight({ overdueMs: 60_000 });
}, 120_000);
