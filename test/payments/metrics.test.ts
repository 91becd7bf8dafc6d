/** What Prometheus hears of payments that are more than one call: each beginning and each end once, whoever brought it about. */
import { escrowKind, multistepKind, streamKind } from '../../payments/kinds.ts';
import { deadlineIn, setStage } from '../support/escrows.ts';
import { anOpenMultistep, confirm, refund } from '../support/multistep.ts';
import { aLine, runPipeline } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { aStream, silent, step } from '../support/streams.ts';

// A request for a pipeline waits for three and a half seconds.
const { platform, seller } = createPlatformSuite({ REQUEST_TIMEOUT: '4s' });

const before = new Map<string, number>();
async function figures(): Promise<Map<string, number>> {
  const { text } = await platform().ask('GET', '/metrics');
  return new Map([...text.matchAll(/^(surety_(?:payments|pipelines|stream)_\S+) (\d+)$/gm)].map(([, name = '', value]) =>
    [name, Number(value)]));
}

/** What has been counted since the test began, leaving out what has not moved. */
async function counted(): Promise<Record<string, number>> {
  return Object.fromEntries([...(await figures())].map(([name, value]) =>
    [name.replace('surety_', ''), value - (before.get(name) ?? 0)] as const).filter(([, value]) => value !== 0));
}

/** The page of figures is made at most once a second. */
const becomes = (wanted: Record<string, number>) => eventually(async () => expect(await counted()).toEqual(wanted), { everyMs: 300 });

beforeEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  before.clear();
  for (const [name, value] of await figures()) before.set(name, value);
});

test('escrows: paid on a confirmation that was sent twice, given back by the clock', async () => {
  const stage = await setStage(platform(), '10');
  const [paid, late] = [await stage.anEscrow(), await stage.anEscrow({ terms: { autoRelease: '1s' } })];
  for (let n = 0; n < 2; n += 1) await stage.step(paid, 'confirm', stage.cast.buyer, undefined,
    { headers: { 'idempotency-key': 'confirm-once' } });
  await eventually(async () => expect((await stage.get(late))['status']).toBe('refunded'));
  await becomes({ 'payments_begun_total{kind="escrow"}': 2, 'payments_ended_total{kind="escrow",outcome="released"}': 1,
    'payments_ended_total{kind="escrow",outcome="refunded"}': 1 });
});

/** What has been counted of steps and lives, whichever way they went. */
async function byPath(): Promise<Record<'steps' | 'lives', number>> {
  const { text } = await platform().ask('GET', '/metrics');
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^surety_payment_${name}_total\\{\\S+ (\\d+)$`, 'gm'))].reduce((total, [, value]) => total + Number(value),
    0);
  return { steps: sum('steps'), lives: sum('lives') };
}

test('each step of an escrow counts once by the way it went, one that was refused or sent again does not, and each life once', async () => {
  const stage = await setStage(platform(), '10');
  const { steps, lives } = await byPath();
  const id = await stage.anEscrowIn('delivered');
  expect((await stage.step(id, 'cancel', stage.cast.buyer)).status).toBe(403);
  for (let n = 0; n < 2; n += 1) await stage.step(id, 'confirm', stage.cast.buyer, undefined,
    { headers: { 'idempotency-key': 'confirm-once' } });
  await eventually(async () => expect(await byPath()).toEqual({ steps: steps + 3, lives: lives + 1 }), { everyMs: 300 });
});

test('multistep escrows: completed, taken back, ended by the clock', async () => {
  const [done, aborted] = [await anOpenMultistep(platform(), ['0.10']), await anOpenMultistep(platform())];
  await anOpenMultistep(platform(), ['0.10'], { expiresIn: '1s' });
  await confirm(platform(), done, 0);
  await refund(platform(), aborted);
  await becomes({
    'payments_begun_total{kind="multistep"}': 3, 'payments_ended_total{kind="multistep",outcome="completed"}': 1,
    'payments_ended_total{kind="multistep",outcome="aborted"}': 2,
  });
});

test('streams and their ticks: those that were refused, or sent again, do not count', async () => {
  const stream = await aStream(platform());
  await aStream(platform(), { staleTimeoutSecs: 1 });
  await step(platform(), stream, 'tick', {}, { key: 'tick-once' });
  await step(platform(), stream, 'tick', {}, { key: 'tick-once' });
  await step(platform(), stream, 'tick', { seq: 9 });
  await step(platform(), stream, 'ticks', { count: 5 }, { key: 'ticks-once' });
  await step(platform(), stream, 'ticks', { count: 5 }, { key: 'ticks-once' });
  await step(platform(), stream, 'close');
  await becomes({
    'payments_begun_total{kind="stream"}': 2, 'stream_ticks_total': 6,
    'payments_ended_total{kind="stream",outcome="closed"}': 1, 'payments_ended_total{kind="stream",outcome="stale_closed"}': 1,
  });
});

test('pipelines: by what their request was answered', async () => {
  const sellers = [await seller('One'), await seller('Two')];
  const steps = (await aLine(platform(), sellers)).types.map((serviceType) => ({ serviceType }));
  const session = await platform().aSession({ maxTotal: '5.00' });
  await runPipeline(platform(), session, { steps }, 'once');
  await runPipeline(platform(), session, { steps }, 'once');
  await runPipeline(platform(), session, { steps: [{ serviceType: 'nobody-sells-this' }] });
  sellers[1]?.behave({ kind: 'status', status: 500 });
  await runPipeline(platform(), session, { steps });
  sellers[1]?.behave({ kind: 'slow', ms: 6_000 });
  const { body } = await runPipeline(platform(), session, { steps });
  expect(body.error).toBe('pipeline_pending');
  await becomes(Object.fromEntries(['completed', 'replayed', 'refused', 'failed', 'pending'].map((outcome) =>
    [`pipelines_total{outcome="${outcome}"}`, 1])));
  await eventually(async () => expect((await platform().sessionNow(session))['reserved']).toBe('0.000000'));
});

test('many who find at the same moment that the time is up count one end', async () => {
  const { pool } = platform().db;
  const stage = await setStage(platform(), '10');
  const [escrow, plan, stream] = [await stage.anEscrow(), await anOpenMultistep(platform()), await aStream(platform())];
  for (const id of [escrow, plan.id]) await deadlineIn(pool, id, -1);
  await silent(pool, stream);
  const { payments } = platform().runtime.ports;
  const kinds = [escrowKind, multistepKind, streamKind];
  await Promise.all(kinds.flatMap((kind) => Array.from({ length: 5 }, () => payments.closeExpired(kind))));
  // Payments on the engine are counted by the platform itself.
  const ended = ['kind="escrow",outcome="refunded"', 'kind="multistep",outcome="aborted"', 'kind="stream",outcome="stale_closed"'];
  await eventually(async () => expect(await counted()).toMatchObject(
    Object.fromEntries(ended.map((labels) => [`payments_ended_total{${labels}}`, 1]))), { everyMs: 300 });
});
