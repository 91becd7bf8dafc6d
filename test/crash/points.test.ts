/**
 * A process dies at each point of a payment; another one is alive. Whatever was under way ends settled once or released once, the
 * client that simply asks again gets the result or a clear error, and the books are right.
 */
import type { Reply } from '../support/app.ts';
import { createLanes } from '../support/lanes.ts';
import { orGone, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import type { Behaviour, Seller } from '../support/sellers.ts';
import { usdc, type OpenSession, type Purchase, type Trader } from '../support/market.ts';
import { crashPoints, type CrashPoint, type PaymentCrashPoint } from '../../platform/crash.ts';

const { story, aSeller } = createLanes({ WORKER_QUEUES: 'gateway' });

/** Asks the survivor again as a patient client does, until there is a result or an error that asking again does not change. */
function askAgain(survivor: PlatformNode, session: OpenSession, purchase: Purchase): Promise<Reply> {
  return eventually(async () => {
    const reply = await survivor.buy(session, purchase);
    if ([409, 429, 503, 504].includes(reply.status)) throw new Error(reply.text);
    return reply;
  }, { withinMs: 20_000, everyMs: 200 });
}

interface Stall {
  readonly first: Seller;
  readonly second: Seller;
  readonly owners: readonly (Trader & { readonly serviceId: string })[];
}

/** Two sellers of one type; the first does what the point needs to be reached. */
async function openStall(survivor: PlatformNode, point: CrashPoint, serviceType: string, idempotent: boolean): Promise<Stall> {
  const firstFails = point === 'before-failover' || point === 'failed-over' || givesUp(point);
  // The promise is a start of a workflow, which a busy machine takes a second for: the calls must still be under way then.
  const firstDoes: Behaviour = firstFails ? { kind: 'status', status: 500 } : { kind: 'slow', ms: point === 'call-promised' ? 1_500 : 400 };
  const secondDoes: Behaviour = givesUp(point) ? { kind: 'status', status: 500 } : { kind: 'slow', ms: 100 };
  const [first, second] = [await aSeller('First', firstDoes), await aSeller('Second', secondDoes)];
  return { first, second,
    owners: [await survivor.offers(first, { serviceType, price: '0.10', idempotent }),
    await survivor.offers(second, { serviceType, price: '0.20', idempotent })] };
}

/** The buyer was charged for the answers it has, the sellers have exactly that, and no hold is left. */
async function settleUp(survivor: PlatformNode, session: OpenSession, stall: Stall, ends: readonly Reply[]): Promise<void> {
  const { body } = await survivor.closeSession(session);
  expect([body.stillReserved, body.session.status]).toEqual(['0.000000', 'closed']);
  const answered = ends.filter(({ status }) => status === 200).reduce((sum, end) => sum + usdc(end.body.amountPaid), 0n);
  expect(usdc(body.totalSpent)).toBe(answered);
  const earned = await Promise.all(stall.owners.map((owner) => survivor.moneyOf(owner)));
  expect(earned.reduce((sum, { available }) => sum + available, 0n)).toBe(answered);
  expect(usdc(body.totalRefunded)).toBe(usdc('5.00') - answered);
  expect(await survivor.moneyOf(session.buyer)).toEqual({ available: usdc(body.totalRefunded), pending: 0n });
}

/** From the death of a process until every client has its answer. In life the lease alone is four times as long. */
const RECOVERY_MS_MAX = 12_000;
const givesUp = (point: CrashPoint): boolean => point === 'before-release' || point === 'call-released';

for (const point of crashPoints) {
  story(`a process that dies at ${point} has all its calls ended once by another one, and its clients get the result or the reason`,
      async ({ nodes, survivor }) => {
    const node = await nodes.start({ CRASH_AT: point });
    const [safe, risky] = [await openStall(survivor, point, `${point}-safe`, true),
      await openStall(survivor, point, `${point}-risky`, false)];
    const [safeSession, riskySession] = [await survivor.aSession({ maxTotal: '5.00' }), await survivor.aSession({ maxTotal: '5.00' })];
    await knows(node, safeSession, `${point}-safe`);
    await knows(node, riskySession, `${point}-risky`);
    const safeWishes = wishes(`${point}-safe`);
    const riskyWishes = wishes(`${point}-risky`);
    const replies = await Promise.all([...safeWishes.map((wish) => orGone(node.buy(safeSession, wish))),
      ...riskyWishes.map((wish) => orGone(node.buy(riskySession, wish)))]);
    expect(replies).toContain('gone');
    await node.ended;

    const diedAt = Date.now();
    const [safeEnds, riskyEnds] = await Promise.all([
      Promise.all(safeWishes.map((wish) => askAgain(survivor, safeSession, wish))),
      Promise.all(riskyWishes.map((wish) => askAgain(survivor, riskySession, wish))),
    ]);
    expect(Date.now() - diedAt).toBeLessThan(RECOVERY_MS_MAX);
    for (const [index, { status, body }] of safeEnds.entries()) {
      if (givesUp(point)) expect([status, body.error, body.funds_status]).toEqual([502, 'proxy_failed', 'no_change']);
      else expect([status, body.response?.output]).toEqual([200, safeWishes[index]?.params]);
    }
    // Whether such a seller has worked before the crash nobody can know: it is not asked again, and the buyer does not pay. Where it is
    // certain that nobody was asked, it is.
    for (const { status, body } of riskyEnds) {
      if (point === 'call-accepted' || point === 'before-asking') expect([status, body.error]).toEqual([200, undefined]);
      if (status !== 200) expect([status, body.error, body.funds_status])
        .toEqual([502, expect.stringMatching(/^(execution_unknown|proxy_failed)$/), 'no_change']);
    }
    expectAskedOnce(risky);
    await settleUp(survivor, safeSession, safe, safeEnds);
    await settleUp(survivor, riskySession, risky, riskyEnds);
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 90_000);
}

function wishes(serviceType: string): (Purchase & { readonly params: { readonly n: number } })[] {
  return [1, 2, 3].map((n) => ({ serviceType, key: `${serviceType}-${n}`, params: { n } }));
}

/** The process has heard of the sellers; a dry run passes no crash point. */
function knows(node: PlatformNode, session: OpenSession, serviceType: string): Promise<void> {
  return eventually(async () => {
    const { body } = await node.ask('POST', `/v1/gateway/sessions/${session.token}/dry-run`,
      { key: session.buyer.key, body: { serviceType } });
    expect(body.result.estimatedCallsRemaining).toBe(50);
  });
}

/** A seller that does not promise to work once must never be asked twice for one call. */
function expectAskedOnce({ first, second }: Stall): void {
  for (const seller of [first, second]) {
    const keys = seller.requests.map(({ idempotencyKey }) => idempotencyKey);
    expect(new Set(keys).size).toBe(keys.length);
  }
}

const openWithKey = (at: PlatformNode, { key }: Trader): Promise<Reply> =>
  at.ask('POST', '/v1/gateway/sessions', { key, headers: { 'idempotency-key': 'open' }, body: { maxTotal: '1.00' } });

/** Whichever way a request goes on a busy machine, through its workflow or directly, some of these processes dies at its point. */
async function untilGone(tryWith: (doomed: PlatformNode) => Promise<boolean>, start: () => Promise<PlatformNode>): Promise<void> {
  for (let tries = 0; tries < 5; tries += 1) {
    const doomed = await start();
    const isGone = await tryWith(doomed);
    await doomed.kill();
    if (isGone) return;
  }
  throw new Error('Five processes have answered before they could die.');
}

for (const point of ['payment-opening', 'payment-committed', 'payment-answered'] as const satisfies readonly PaymentCrashPoint[]) {
  story(`a process that dies at ${point} while it opens a session leaves one budget held, whoever asks again with the key`,
      async ({ nodes, survivor }) => {
    let buyer = await survivor.aTrader('3.00');
    await untilGone(async (doomed) => {
      buyer = await survivor.aTrader('3.00');
      return (await orGone(openWithKey(doomed, buyer))) === 'gone';
    }, () => nodes.start({ CRASH_AT: point }));
    const { status, body } = await openWithKey(survivor, buyer);
    expect(status).toBe(201);
    expect(await survivor.moneyOf(buyer)).toEqual({ available: usdc('2.00'), pending: usdc('1.00') });
    const closed = await survivor.closeSession({ token: body.token as string, buyer });
    expect(closed.body).toMatchObject({ totalSpent: '0.000000', totalRefunded: '1.000000', session: { status: 'closed' } });
    expect(await survivor.moneyOf(buyer)).toEqual({ available: usdc('3.00'), pending: 0n });
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 120_000);
}

// The workflow that closes it may run in either process, so the moment is tried and not the point.
for (const afterMs of [0, 5, 15, 40]) {
  story(`a process that dies ${afterMs} ms after it was asked to close a session: its budget comes back, once`,
      async ({ nodes, survivor }) => {
    const doomed = await nodes.start();
    const session = await doomed.aSession({ maxTotal: '1.00' });
    const asked = orGone(doomed.closeSession(session));
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await doomed.kill();
    await asked;
    const closed = await eventually(async () => {
      const reply = await survivor.closeSession(session);
      expect(reply.status).toBe(200);
      return reply;
    }, { withinMs: 20_000 });
    expect(closed.body).toMatchObject({ totalSpent: '0.000000', totalRefunded: '1.000000', session: { status: 'closed' } });
    expect((await survivor.moneyOf(session.buyer)).pending).toBe(0n);
    await survivor.booksAreRight({ overdueMs: 60_000 });
  }, 120_000);
}
