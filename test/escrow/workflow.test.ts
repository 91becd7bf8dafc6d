/** The workflow behind an escrow, on a real Temporal: its clocks, its messages, and its absence. */
import { WorkflowFailedError, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import proto from '@temporalio/proto';
import { directPayments } from '../support/payments.ts';
import { deadlineIn, setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, story } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
let stage: EscrowStage;
beforeEach(async () => {
  stage = await stageWithWorkflows();
});

/** Six stories at once are more than may wait for workflows: those of some escrows start half a second after them. */
async function stageWithWorkflows(): Promise<EscrowStage> {
  const stage = await setStage(platform(), '100');
  const started = async (id: string): Promise<string> => {
    await eventually(() => handleOf(id).describe());
    return id;
  };
  return {
    ...stage, anEscrow: async (wish) => started(await stage.anEscrow(wish)), anEscrowIn: async (status, wish) =>
      started(await stage.anEscrowIn(status, wish)),
  };
}

const handleOf = (id: string) => platform().temporal.client.workflow.getHandle(`escrow-${id}`);
const viewOf = (id: string) => handleOf(id).query<View>('surety-view');
interface View { state: string; version: number; lastRefusal: string | null; deadlineMs: number | null;
  facts: { version: number; step: string }[] }
interface HistoryEvent { eventType?: number;
  markerRecordedEventAttributes?: { details?: Record<string, { payloads?: { data?: Uint8Array | null }[] | null }> | null } | null }
const statusOf = async (id: string): Promise<string> => (await stage.get(id))['status'] ?? '';

/** How the workflow ended, and that it did. */
async function endOf(id: string): Promise<unknown> {
  const result: unknown = await handleOf(id).result();
  expect((await handleOf(id).describe()).status.name).toBe('COMPLETED');
  return result;
}

const brief = { autoRelease: '1s', reviewWindow: '1s', rulingWindow: '1s' };

for (const [what, steps, status, resolution] of [
  ['undelivered', [], 'refunded', 'delivery_expired'],
  ['delivered and not disputed', ['deliver'], 'released', 'auto_released'],
  ['disputed and not ruled', ['dispute'], 'refunded', 'ruling_expired'],
  ['called in and not ruled', ['dispute', 'arbitrate'], 'refunded', 'ruling_expired'],
] as const) story(`what is ${what} is ended by the clock of its workflow`, async () => {
  const stage = await stageWithWorkflows();
  // Long enough for the steps on a slow machine; the sweeper would come ten seconds later.
  const id = await stage.anEscrow({ terms: steps.length === 0 ? brief : { ...brief, autoRelease: '9s', rulingWindow: '7s' } });
  for (const step of steps) expect((await stage.step(id, step, step === 'deliver' ? stage.cast.seller : stage.cast.buyer)).status)
    .toBe(200);
  expect(await endOf(id)).toMatchObject({ id, state: status, resolution, by: 'clock', role: 'clock' });
  const escrow = await stage.get(id);
  expect(escrow).toMatchObject({ status, resolution });
  // By its timer, not by the sweeper, which waits for ten seconds.
  const due = Math.max(...[escrow['autoReleaseAt'], escrow['disputeWindowUntil'], escrow['arbitrationDeadline']].map((at) =>
    Date.parse(at ?? '')).filter((at) => at <= Date.parse(escrow['resolvedAt'] ?? '')));
  expect(Date.parse(escrow['resolvedAt'] ?? '') - due).toBeLessThan(10_000);
}, 60_000);

test('steps over HTTP reach the workflow: it keeps the new deadline, shows the new state, and ends with the escrow', async () => {
  const { buyer, seller } = stage.cast;
  const id = await stage.anEscrow();
  expect((await handleOf(id).describe()).searchAttributes)
    .toMatchObject({ Buyer: [buyer.address], Seller: [seller.address], PaymentState: ['pending'], AmountUsd: [1] });
  const delivered = await stage.step(id, 'deliver', seller);
  await eventually(async () => expect(await viewOf(id))
    .toMatchObject({ state: 'delivered', version: 2, deadlineMs: Date.parse(delivered.body.escrow.disputeWindowUntil) }));
  await stage.step(id, 'dispute', buyer);
  await eventually(async () => expect((await handleOf(id).describe()).searchAttributes['PaymentState']).toEqual(['disputed']));
  await stage.step(id, 'resolve', stage.cast.arbiter, { resolution: 'refund' });
  expect(await endOf(id)).toEqual({
    id, version: 4, state: 'refunded', resolution: 'arbitration_refund', by: stage.cast.arbiter.address, role: 'arbiter',
    paid: [], returned: '1.000000',
  });
  expect((await handleOf(id).describe()).searchAttributes).toMatchObject({ PaymentState: ['refunded'], PaymentOutcome: ['returned'] });
});

/** What a history is made of, by the names of its events. */
async function historyOf(id: string): Promise<{ names: string[]; activities: string[] }> {
  const { events = [] } = await handleOf(id).fetchHistory() as { events?: HistoryEvent[] };
  const names = events.map(({ eventType }) => proto.temporal.api.enums.v1.EventType[eventType ?? 0]?.replace('EVENT_TYPE_', '') ?? '');
  const activities = events.flatMap(({ markerRecordedEventAttributes: marker }) => {
    const data = marker?.details?.['data']?.payloads?.[0]?.data;
    return data === undefined || data === null ? []
      : [(JSON.parse(Buffer.from(data).toString()) as { activity_type: string }).activity_type];
  });
  return { names, activities };
}

test('every step runs an activity of its own name, and a history with every step stays under eighty events', async () => {
  const { buyer, seller, arbiter } = stage.cast;
  const id = await stage.anEscrow();
  for (const [step, who, body] of [['deliver', seller], ['dispute', buyer], ['evidence', seller], ['arbitrate', seller],
      ['resolve', arbiter, { resolution: 'partial', releaseAmount: '0.4', reason: 'half' }]] as const) {
    expect((await stage.step(id, step, who, ...(body === undefined ? [] : [body]))).status).toBe(200);
  }
  expect(await endOf(id)).toEqual({
    id, version: 6, state: 'released', resolution: 'arbitration_partial: half', by: arbiter.address, role: 'arbiter', reason: 'half',
    paid: [{ to: seller.address, amount: '0.400000' }], returned: '0.600000',
  });
  const { names, activities } = await historyOf(id);
  expect(activities).toEqual(['open', 'deliver', 'dispute', 'evidence', 'arbitrate', 'resolve']);
  expect(names.filter((name) => name === 'WORKFLOW_EXECUTION_UPDATE_COMPLETED')).toHaveLength(5);
  expect(names.filter((name) => name.includes('FAILED') || name.includes('TIMED_OUT'))).toEqual([]);
  expect(names.length).toBeLessThan(80);
  expect((await handleOf(id).describe()).searchAttributes).toMatchObject({ PaymentOutcome: ['split'] });
});

test('a life that is over in a moment costs its workflow three tasks and fewer than thirty events', async () => {
  const id = await stage.anEscrowIn('delivered');
  await stage.step(id, 'confirm', stage.cast.buyer);
  await endOf(id);
  const { names, activities } = await historyOf(id);
  expect(activities).toEqual(['open', 'deliver', 'confirm']);
  expect(names.filter((name) => name === 'WORKFLOW_TASK_COMPLETED')).toHaveLength(3);
  expect(names.length).toBeLessThan(30);
});

test.each(['update', 'signal'] as const)('every step may be taken by %s, in the place of the party whose step it is', async (how) => {
  const act = async (id: string, step: string, input?: object): Promise<void> => {
    const args = input === undefined ? [] : [input];
    if (how === 'signal') await handleOf(id).signal(`surety-${step}`, ...args);
    else await handleOf(id).executeUpdate(`surety-${step}`, { args: args as [] });
  };
  const becomes = (id: string, state: object) => eventually(async () => expect(await stage.get(id)).toMatchObject(state));

  const paid = await stage.anEscrow();
  await act(paid, 'deliver');
  await becomes(paid, { status: 'delivered' });
  await act(paid, 'confirm');
  await becomes(paid, { status: 'released', resolution: 'buyer_confirmed' });
  const ruled = await stage.anEscrow();
  await act(ruled, 'dispute', { reason: 'Nothing came.' });
  await becomes(ruled, { status: 'disputed' });
  await act(ruled, 'evidence', { by: 'seller', content: 'It was sent.' });
  await becomes(ruled,
    { disputeEvidence: [{ submittedBy: stage.cast.buyer.address }, { submittedBy: stage.cast.seller.address, content: 'It was sent.' }] });
  await act(ruled, 'arbitrate');
  await becomes(ruled, { status: 'arbitrating' });
  await act(ruled, 'resolve', { resolution: 'partial', releaseAmount: '0.25', reason: 'a start' });
  await becomes(ruled, { status: 'released', releasedAmount: '0.250000', resolution: 'arbitration_partial: a start' });
  const [declined, cancelled, platformRuled] = [await stage.anEscrow(), await stage.anEscrow({ terms: { buyerMayCancel: true } }),
    await stage.anEscrowIn('disputed', { arbiter: false })];
  await act(declined, 'decline');
  await becomes(declined, { status: 'refunded', resolution: 'declined' });
  await act(cancelled, 'cancel');
  await becomes(cancelled, { status: 'refunded', resolution: 'cancelled' });
  await act(platformRuled, 'resolve', { resolution: 'release' });
  await becomes(platformRuled, { status: 'released' });
  for (const id of [paid, ruled, declined, cancelled, platformRuled]) await endOf(id);
  expect((await platform().moneyOf(stage.cast.seller)).available).toBe(usdc('2.25'));
});

test('an update that is refused answers with our code, and a refused signal is kept for whoever looks', async () => {
  const id = await stage.anEscrow();
  const refusedWith = async (step: string, input?: unknown): Promise<unknown> => {
    const error: unknown = await handleOf(id).executeUpdate(`surety-${step}`, { args: (input === undefined ? [] : [input]) as [] })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
    let cause = error as { cause?: { type?: string }; type?: string };
    while (cause.cause !== undefined) cause = cause.cause as typeof cause;
    return cause.type;
  };
  expect(await refusedWith('arbitrate')).toBe('invalid_state');
  expect(await refusedWith('cancel')).toBe('forbidden');
  expect(await refusedWith('deliver', { by: 'buyer' })).toBe('unauthorized');
  expect(await refusedWith('deliver', { by: 'friend' })).toBe('validation_error');
  expect(await refusedWith('dispute')).toBe('validation_error');
  expect(await refusedWith('dispute', { reason: 'a\u0000b' })).toBe('validation_error');
  expect(await refusedWith('dispute', { reason: 'half a character: \ud800' })).toBe('validation_error');
  expect(await refusedWith('dispute', 'just text')).toBe('validation_error');
  expect(await refusedWith('resolve', { resolution: 'partial', releaseAmount: '1e9' })).toBe('invalid_amount');

  await handleOf(id).signal('surety-evidence', { by: 'buyer', content: 'Too early.' });
  await eventually(async () => expect((await viewOf(id)).lastRefusal).toMatch(/pending.*submit evidence/));
  expect(await statusOf(id)).toBe('pending');
  await handleOf(id).signal('surety-deliver');
  await eventually(async () => expect(await viewOf(id)).toMatchObject({ state: 'delivered', lastRefusal: null }));
});

test('a notice that says nothing sensible, or what is not true, changes nothing, and the workflow goes on', async () => {
  const id = await stage.anEscrow();
  const { deadlineMs } = await viewOf(id);
  for (const rubbish of [undefined, null, 'text', [], {}, { version: 'x' }, { version: 1.5 },
      { version: 9, state: 'released', ended: true, deadlineMs: null }, { version: -1 }]) {
    await handleOf(id).signal('surety-moved', ...(rubbish === undefined ? [] : [rubbish]));
  }
  await eventually(async () => expect((await historyOf(id)).activities).toContain('catchUp'));
  expect(await viewOf(id)).toMatchObject({ version: 1, state: 'pending', ended: false, deadlineMs });
  expect(stage.outcome(await stage.step(id, 'confirm', stage.cast.buyer))).toBe('200 released');
  expect(await endOf(id)).toMatchObject({ state: 'released' });
});

test('steps taken without the workflow are read by it in order and once, however often and in whichever order it is told', async () => {
  const direct = await directPayments(platform().db.pool);
  const { buyer, seller } = stage.cast;
  const id = await stage.anEscrow();
  await direct.step(id, 'deliver', seller.address);
  await direct.step(id, 'dispute', buyer.address, { reason: 'Late.' });
  await direct.step(id, 'evidence', seller.address, { content: 'In time.' });
  for (const version of [4, 2, 4, 3]) await handleOf(id).signal('surety-moved', { version });
  await eventually(async () => expect(await viewOf(id)).toMatchObject({ state: 'disputed', version: 4 }));
  await direct.step(id, 'decline', seller.address);
  await handleOf(id).signal('surety-moved', { version: 5 });
  expect(await endOf(id)).toMatchObject({ state: 'refunded', resolution: 'given_back', by: seller.address });
  const { facts } = await viewOf(id);
  expect(facts.map(({ version, step }) => [version, step]))
    .toEqual([[1, 'open'], [2, 'deliver'], [3, 'dispute'], [4, 'evidence'], [5, 'decline']]);
});

test.each(['terminate', 'cancel'] as const)('a workflow that an operator had %s is started again by the next step, with the state as it is',
    async (how) => {
  const id = await stage.anEscrow();
  await handleOf(id)[how]();
  await expect(handleOf(id).result()).rejects.toThrow(WorkflowFailedError);
  await stage.step(id, 'deliver', stage.cast.seller);
  await eventually(async () => expect(await viewOf(id)).toMatchObject({ state: 'delivered', version: 2 }));
  await stage.step(id, 'confirm', stage.cast.buyer);
  expect(await endOf(id)).toMatchObject({ state: 'released' });
});

test('a message that comes after the end, because an operator was quicker, brings no workflow back', async () => {
  const id = await stage.anEscrowIn('disputed');
  const { runId } = await handleOf(id).describe();
  await handleOf(id).signal('surety-resolve', { resolution: 'release' });
  // The message about the dispute waits 150 ms for others.
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect((await handleOf(id).describe()).runId).toBe(runId);
  await endOf(id);
});

story('without its workflow an escrow is ended by the sweeper, ten seconds after its time', async () => {
  const stage = await stageWithWorkflows();
  const id = await stage.anEscrowIn('delivered');
  await eventually(async () => expect((await viewOf(id)).state).toBe('delivered'));
  await handleOf(id).terminate('lost');
  await expect(handleOf(id).result()).rejects.toThrow(WorkflowFailedError);
  await deadlineIn(platform().db.pool, id, -11_000);
  await eventually(async () => expect(await stage.get(id)).toMatchObject({ status: 'released', resolution: 'auto_released' }));
  await platform().booksAreRight({ overdueMs: 60_000 });
});

story('what a crash left untold is told later: the notice stays until the workflow knows, and is gone then', async () => {
  const stage = await stageWithWorkflows();
  const { pool } = platform().db;
  const id = await stage.anEscrow();
  const noticed = async () => (await pool.query('SELECT 1 FROM workflow_notice WHERE payment_id = $1', [id])).rows;
  await eventually(async () => expect(await noticed()).toEqual([]));
  // As a process that died between its commit and its message.
  await (await directPayments(pool)).step(id, 'deliver', stage.cast.seller.address);
  expect((await viewOf(id)).state).toBe('pending');
  await eventually(async () => expect((await viewOf(id)).state).toBe('delivered'), { withinMs: 15_000 });
  await eventually(async () => expect(await noticed()).toEqual([]));
});

story('a step that an operator had taken is noted until Temporal is known to have heard of it', async () => {
  const stage = await stageWithWorkflows();
  const { pool } = platform().db;
  const id = await stage.anEscrow();
  await handleOf(id).executeUpdate('surety-deliver');
  const noticeOf = async () => (await pool.query('SELECT version FROM workflow_notice WHERE payment_id = $1', [id])).rows;
  await eventually(async () => expect(await noticeOf()).toEqual([]), { withinMs: 15_000 });
  expect(await viewOf(id)).toMatchObject({ state: 'delivered', version: 2 });
});

story('an escrow that is moved for a long time keeps a short history', async () => {
  const stage = await stageWithWorkflows();
  // A year in seconds: every message an escrow can get over HTTP, each far enough from the next to be a message of its own, and evidence to
  // the limit.
  const id = await stage.anEscrow({ terms: { autoRelease: '365d', reviewWindow: '365d', rulingWindow: '365d' } });
  const seen = (state: string) => eventually(async () => expect((await viewOf(id)).state).toBe(state));
  await stage.step(id, 'deliver', stage.cast.seller);
  await seen('delivered');
  await stage.step(id, 'dispute', stage.cast.buyer);
  await seen('disputed');
  for (let n = 1; n < 20; n += 1) await stage.step(id, 'evidence', stage.cast.buyer, { content: `entry ${n}` });
  await stage.step(id, 'arbitrate', stage.cast.seller);
  await seen('arbitrating');
  await stage.step(id, 'decline', stage.cast.seller);
  await endOf(id);
  const { events = [] } = await handleOf(id)
    .fetchHistory() as { events?: { timerStartedEventAttributes?: { startToFireTimeout?: { seconds?: unknown } } | null }[] };
  // Nineteen pieces of evidence, seven events each at most, and five other steps.
  expect(events.length).toBeLessThan(200);
  // A year is waited for in pieces of 2,000,000 seconds: sixteen of them, five events each (docs/escrow.md). Evidence starts no timer.
  const waits = events.map((event) => event.timerStartedEventAttributes?.startToFireTimeout?.seconds)
    .filter((secs) => secs !== undefined && secs !== null).map(Number);
  expect(waits).toEqual([2_000_000, 2_000_000, 2_000_000, 2_000_000]);
}, 40_000);

test('a workflow is not kept longer than its escrow', async () => {
  const id = await stage.anEscrowIn('released');
  await endOf(id);
  await expect(handleOf(id).signal('surety-dispute', { reason: 'too late' })).rejects.toThrow(WorkflowNotFoundError);
});
