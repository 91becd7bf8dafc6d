/** The workflow behind a stream: it keeps the time, takes messages from people, and stays short however much the stream ticks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowUpdateFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { streamKind } from '../../payments/kinds.ts';
import { usdc } from '../support/market.ts';
import { directPayments } from '../support/payments.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { aStream, newRunsAfter, seqsOf, silent, step, streamNow, upTo, type OpenedStream } from '../support/streams.ts';

const { platform, story } = createPlatformSuite({ WORKER_QUEUES: 'stream' });
/** The sweeper waits for ten seconds before it does the work of a workflow. */
const BEFORE_THE_SWEEPER_MS = 9_000;

const workflowOf = ({ workflowId }: OpenedStream, runId?: string): WorkflowHandle => platform()
  .temporal.client.workflow.getHandle(workflowId, runId);
const ended = (stream: OpenedStream, status: string, withinMs: number) =>
  eventually(async () => expect((await streamNow(platform(), stream))['status']).toBe(status), { withinMs });

/** Takes the workflow away. It may be started a moment after the stream was opened. */
const lose = (stream: OpenedStream): Promise<unknown> => eventually(() => workflowOf(stream).terminate('lost'));

async function eventTypes(handle: WorkflowHandle): Promise<number[]> {
  return ((await handle.fetchHistory()).events ?? []).map(({ eventType }) => Number(eventType));
}
const TIMER_FIRED = 18;

story('a stream that falls silent is ended by the timer of its workflow, and what was ticked is paid', async () => {
  const stream = await aStream(platform(), { staleTimeoutSecs: 1 });
  await step(platform(), stream, 'tick');
  await ended(stream, 'stale_closed', BEFORE_THE_SWEEPER_MS);
  expect(await streamNow(platform(), stream)).toMatchObject({ closeReason: 'stale_timeout', spentAmount: '0.100000' });
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('0.90'), pending: 0n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('0.10'));
  expect(await workflowOf(stream).result()).toMatchObject({ state: 'stale_closed', resolution: 'stale_timeout', role: 'clock',
    paid: [{ amount: '0.100000' }], returned: '0.900000' });
  expect(await eventTypes(workflowOf(stream))).toContain(TIMER_FIRED);
}, 40_000);

story('a stream that ticks outlives its stale timeout many times, a paused one does not', async () => {
  const [live, paused] =
    await Promise.all([aStream(platform(), { staleTimeoutSecs: 2, holdAmount: '10.00' }), aStream(platform(), { staleTimeoutSecs: 2 })]);
  await step(platform(), paused, 'tick', { amount: '1.00' });
  for (let n = 0; n < 20; n += 1) {
    expect((await step(platform(), live, 'tick')).status).toBe(200);
    await sleep(250);
  }
  await ended(paused, 'stale_closed', BEFORE_THE_SWEEPER_MS);
  expect((await platform().moneyOf(paused.seller)).available).toBe(usdc('1.00'));
  await ended(live, 'stale_closed', BEFORE_THE_SWEEPER_MS);
  expect(await streamNow(platform(), live)).toMatchObject({ tickCount: 20 });
}, 40_000);

story('the sweeper ends a stream whose workflow is lost, and a lost workflow of a living stream comes back', async () => {
  const [dead, living] = await Promise.all([aStream(platform()), aStream(platform())]);
  await Promise.all([dead, living].map(lose));
  await Promise.all([dead, living].map((stream) => step(platform(), stream, 'tick')));
  const { pool } = platform().db;
  await Promise.all([silent(pool, dead), silent(pool, living, 3_600, ['payment'])]);
  await ended(dead, 'stale_closed', 15_000);
  expect((await platform().moneyOf(dead.seller)).available).toBe(usdc('0.10'));
  await eventually(async () => expect((await workflowOf(living).describe()).status.name).toBe('RUNNING'), { withinMs: 15_000 });
  await step(platform(), living, 'close');
  expect(await workflowOf(living).result()).toMatchObject({ state: 'closed' });
}, 40_000);

story('a hundred thousand ticks leave no trace in the history, and looks at a stream that lives on make new runs, each of them short',
    async () => {
  const eventsMax = 40;
  const stream = await aStream(platform(), { holdAmount: '101.00', pricePerTick: '0.001', staleTimeoutSecs: 3_600 });
  // Shorter than the route allows.
  const { pool } = platform().db;
  await pool.query(`UPDATE meter SET idle_ms = 600 WHERE id = $1`, [stream.id]);
  await pool.query(`UPDATE payment SET terms = terms || '{"staleTimeoutMs": 600}', deadline = created_at + interval '600 milliseconds'
                     WHERE id = $1`, [stream.id]);
  const firstRun = await newRunsAfter(eventsMax, platform(), stream);
  const until = Date.now() + 8_000;
  for (let fromSeq = 1; fromSeq <= 100_000 || Date.now() < until; ) {
    const count = fromSeq <= 100_000 ? 1_000 : 1;
    expect((await step(platform(), stream, 'ticks', { fromSeq, count })).status).toBe(200);
    fromSeq += count;
    if (count === 1) await sleep(100);
  }
  await ended(stream, 'stale_closed', BEFORE_THE_SWEEPER_MS);
  const { tickCount } = await streamNow(platform(), stream);
  expect(tickCount).toBeGreaterThanOrEqual(100_000);
  expect((await platform().moneyOf(stream.seller)).available).toBe(BigInt(tickCount) * usdc('0.001'));
  expect(await seqsOf(platform(), stream)).toEqual(upTo(tickCount));

  const runs = await runsFrom(stream, firstRun);
  expect(runs.length).toBeGreaterThanOrEqual(2);
  // One task beyond the limit at most: a look, or a few messages.
  for (const { events } of runs) expect(events).toBeLessThan(eventsMax + 20);
  expect((await workflowOf(stream).describe()).searchAttributes)
    .toMatchObject({ Buyer: [stream.buyer.address], PaymentState: ['stale_closed'] });
  expect(await workflowOf(stream).result()).toMatchObject({ state: 'stale_closed' });
}, 90_000);

// After the stories, whose streams it would end too.
test('the admin ends what is stale at once, and says how many', async () => {
  const [one, two, living] = await Promise.all([aStream(platform()), aStream(platform()), aStream(platform())]);
  await Promise.all([one, two].map(lose));
  await step(platform(), one, 'tick');
  await Promise.all([silent(platform().db.pool, one), silent(platform().db.pool, two)]);
  const { body } = await platform().ask('POST', '/v1/admin/streams/force-close-stale', { adminSecret: 'a-secret-for-tests' });
  // The sweeper may have been quicker with one of them.
  expect(body.closedCount).toBeLessThanOrEqual(2);
  expect([(await streamNow(platform(), one))['status'], (await streamNow(platform(), two))['status'],
    (await streamNow(platform(), living))['status']]).toEqual(['stale_closed', 'stale_closed', 'open']);
  for (const path of ['force-close-stale', 'force-close']) expect(
    (await platform().ask('POST', `/v1/admin/streams/${path}`, { key: one.buyer.key })).status).toBe(403);
  await step(platform(), living, 'close');
});

test('an operator closes a stream by update, for the party named, and is told what is wrong', async () => {
  const stream = await aStream(platform());
  await step(platform(), stream, 'tick');
  const close = (wish: unknown): Promise<unknown> => workflowOf(stream).executeUpdate('surety-close', { args: [wish] });
  const refused = await close({ by: 'somebody' }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(WorkflowUpdateFailedError);
  expect(innermost(refused)).toMatchObject({ type: 'validation_error' });
  expect(await close({ by: 'seller', reason: 'the meter is broken' })).toMatchObject({ state: 'closed', ended: true });
  expect(await streamNow(platform(), stream)).toMatchObject({ status: 'closed', closeReason: 'the meter is broken' });
  const events = await platform().runtime.ports.payments.eventsOf(stream.id);
  expect(events.at(-1)).toMatchObject({ step: 'close', role: 'seller', by: stream.seller.address, note: 'the meter is broken',
    paidMicros: 100_000n, returnedMicros: 900_000n });
  expect((await platform().moneyOf(stream.seller)).available).toBe(usdc('0.10'));
});

test('a close that is run again, because its worker died before it could answer, is not refused as closed before', async () => {
  const { db: { pool } } = platform();
  const [stream, other] = [await aStream(platform()), await aStream(platform())];
  const direct = await directPayments(pool, { rules: streamKind.rules });
  const close = (id: string, by: 'buyer' | 'seller', attempt: string) =>
    direct.step(id, 'close', { address: null, as: by }, {}, { attempt, messageSent: true });
  expect(await close(stream.id, 'buyer', 'update 1')).toMatchObject({ kind: 'done', again: false, payment: { state: 'closed' } });
  expect(await close(stream.id, 'buyer', 'update 1'))
    .toMatchObject({ kind: 'done', again: true, payment: { state: 'closed', version: 2 } });
  expect(await close(stream.id, 'buyer', 'update 2')).toMatchObject({ kind: 'refused', refusal: { code: 'already_closed' } });
  expect(await close(other.id, 'seller', 'update 3')).toMatchObject({ kind: 'done', payment: { state: 'closed' } });
});

test('a signal without input closes the stream; a refused one is kept for whoever looks', async () => {
  const stream = await aStream(platform());
  await workflowOf(stream).signal('surety-close', { reason: 7 });
  await eventually(async () => expect(await workflowOf(stream).query('surety-view'))
    .toMatchObject({ state: 'open', lastRefusal: expect.stringContaining('reason') }));
  await workflowOf(stream).signal('surety-close');
  expect(await workflowOf(stream).result()).toMatchObject({ state: 'closed', paid: [], returned: '1.000000' });
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('1.00'), pending: 0n });
});

test('an operator tops a stream up for its buyer, by update and by signal', async () => {
  const stream = await aStream(platform(), { buyer: await platform().aTrader('2.00') });
  expect(await workflowOf(stream).executeUpdate('surety-topup', { args: [{ amount: '0.50' }] }))
    .toMatchObject({ state: 'open', version: 2 });
  await workflowOf(stream).signal('surety-topup', { amount: '0.25' });
  await eventually(async () => expect(await streamNow(platform(), stream)).toMatchObject({ holdAmount: '1.750000' }));
  const refused = await workflowOf(stream).executeUpdate('surety-topup', { args: [{ amount: '1.00' }] }).catch((error: unknown) => error);
  expect(innermost(refused)).toMatchObject({ type: 'insufficient_balance' });
  await step(platform(), stream, 'close');
  expect(await platform().moneyOf(stream.buyer)).toEqual({ available: usdc('2.00'), pending: 0n });
});

/** Every run of a workflow that went on in new ones. */
async function runsFrom(stream: OpenedStream, firstRunId: string): Promise<{ events: number }[]> {
  const runs: { events: number }[] = [];
  for (let runId: string | undefined = firstRunId; runId !== undefined; ) {
    const { events }: { events?: { workflowExecutionContinuedAsNewEventAttributes?: { newExecutionRunId?: string | null } | null }[]
      | null } = await workflowOf(stream, runId).fetchHistory();
    runs.push({ events: events?.length ?? 0 });
    runId = events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
  }
  return runs;
}

function innermost(error: unknown): unknown {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof ApplicationFailure === false && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error && inner.cause instanceof ApplicationFailure ? inner.cause : inner;
}
