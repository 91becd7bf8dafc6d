/** The SQL steps of sessions and calls: every state with every step, twice the same, and what each leaves in the books. */
import { auditBooks } from '../../ledger/audit.ts';
import type { GatewayStore } from '../../activities/gateway/store.ts';
import { anAddress } from '../support/builders.ts';
import { aCandidate, aDelivery, aGivenUp, anAttempt, aNewCall, aNewSession, anOpenSession, aStore, callOnce, endSession, sessionNow,
  sessionsFinished, type NewSession, type SessionWish } from '../support/builders-gateway.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { moneyOf, usdc } from '../support/market.ts';

let db: TestDatabase;
let store: GatewayStore;

beforeAll(async () => {
  db = await createTestDatabase();
  store = aStore(db.pool);
}, 30_000);
afterEach(async () => {
  await sessionsFinished();
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
});
afterAll(async () => db.close());

const open = (wish: SessionWish = {}): Promise<NewSession> => anOpenSession(db.pool, wish);
const claim = (key: string, requestHash = 'h') => ({ key, requestHash });
const stateOf = async (id: string): Promise<string | undefined> => (await store.call(id))?.state;
const mustFail = (promise: Promise<unknown>): Promise<{ code?: string }> => promise.then(() => ({}), (error: { code?: string }) => error);

/** An accepted call with two sellers of which the second has this price. */
async function accepted(session: NewSession,
    { seller = anAddress(), next = '0.20', feeBps = 0 }: { seller?: string; next?: string; feeBps?: number } = {}) {
  const call = aNewCall(session, [aCandidate(seller), aCandidate(anAddress(), next)], { feeBps });
  expect((await store.accept(call)).outcome).toBe('accepted');
  return call;
}

test('a call of the largest amount is settled, with its fee', async () => {
  const largest = '999999999999.999999';
  const [session, seller] = [await open({ maxTotal: largest }), anAddress()];
  const call = aNewCall(session, [aCandidate(seller, largest)], { feeBps: 250 });
  await store.accept(call);
  expect((await store.settle(aDelivery(call.id))).outcome).toBe('settled');
  expect((await moneyOf(db.pool, seller)).available).toBe(usdc('975000000000.000000'));
});

describe('accepting a call', () => {
  test.each<[string, SessionWish, string, string]>([
    ['that fits exactly', { maxTotal: '0.10' }, '0.10', 'accepted'],
    ['above the budget', { maxTotal: '0.10', maxPerRequest: '1.00' }, '0.100001', 'budget_exceeded'],
    ['above the limit of one call', { maxTotal: '1.00', maxPerRequest: '0.10' }, '0.100001', 'budget_exceeded'],
    ['after its time', { expiresAt: new Date(Date.now() - 1_000) }, '0.10', 'session_expired'],
  ])('%s', async (_what, wish, price, outcome) => {
    const session = await open(wish);
    expect((await store.accept(aNewCall(session, [aCandidate(anAddress(), price)]))).outcome).toBe(outcome);
  });

  test('in a session that is closed, expired, foreign or missing is refused with that reason', async () => {
    const [closed, expired, foreign] = [await open(), await open(), await open()];
    await endSession(db.pool, closed.id, 'closed');
    await endSession(db.pool, expired.id, 'expired');
    const outcomes = await Promise.all([
      closed, expired, { ...foreign, agent: anAddress() }, { ...foreign, id: 'gw_missing' },
    ].map(async (session) => (await store.accept(aNewCall(session, [aCandidate(anAddress())]))).outcome));
    expect(outcomes).toEqual(['session_closed', 'session_expired', 'forbidden', 'not_found']);
  });

  test('of one batch stops at the budget and at the rate, in order', async () => {
    const [small, quick] = [await open({ maxTotal: '0.35' }), await open({ rpm: 2 })];
    const outcomes = await Promise.all([small, quick].flatMap((session) =>
      [1, 2, 3, 4].map(async () => (await store.accept(aNewCall(session, [aCandidate(anAddress())]))).outcome)));
    expect(outcomes).toEqual(['accepted', 'accepted', 'accepted', 'budget_exceeded', 'accepted', 'accepted',
      'rate_limited', 'rate_limited']);
  });

  test('twice with one key is a replay of the first, in one batch and later; another request with it is a mismatch', async () => {
    const session = await open();
    const call = (hash = 'h') => aNewCall(session, [aCandidate(anAddress())], { idempotency: claim('k', hash) });
    const [first, second] = [call(), call()];
    const [one, two] = await Promise.all([store.accept(first), store.accept(second)]);
    expect([one.outcome, two]).toEqual(['accepted', expect.objectContaining({ outcome: 'replay', existingId: first.id })]);
    expect(await store.accept(call())).toMatchObject({ outcome: 'replay', existingId: first.id });
    expect(await store.accept(call('other'))).toMatchObject({ outcome: 'idempotency_mismatch' });
  });

  test('that is refused frees its key', async () => {
    const session = await open({ maxTotal: '0.10' });
    const dear = aNewCall(session, [aCandidate(anAddress(), '0.20')], { idempotency: claim('k') });
    expect((await store.accept(dear)).outcome).toBe('budget_exceeded');
    expect((await store.accept(aNewCall(session, [aCandidate(anAddress(), '0.10')], { idempotency: claim('k', 'another') }))).outcome)
      .toBe('accepted');
  });
});

describe('settling', () => {
  test('pays the price of the attempt that delivered, once, however often it is said', async () => {
    const session = await open();
    const seller = anAddress();
    const call = await accepted(session, { seller });
    const outcomes = await Promise.all([1, 2, 3].map(async () => (await store.settle(aDelivery(call.id))).outcome));
    expect(outcomes.sort()).toEqual(['already_settled', 'already_settled', 'settled']);
    expect((await store.settle(aDelivery(call.id))).outcome).toBe('already_settled');
    expect((await moneyOf(db.pool, seller)).available).toBe(usdc('0.10'));
  });

  test('of a released, a missing or an overtaken call pays nothing', async () => {
    const session = await open();
    const [gone, overtaken] = [await accepted(session), await accepted(session)];
    await store.release(aGivenUp(gone.id));
    await store.nextAttempt(overtaken.id, 0, 1, [anAttempt]);
    const outcomes = [await store.settle(aDelivery(gone.id)), await store.settle(aDelivery('call_missing')),
      await store.settle(aDelivery(overtaken.id, 0))];
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['released', 'missing', 'superseded']);
    expect((await moneyOf(db.pool, session.agent)).pending).toBe(usdc('1.00'));
  });

  test('splits the price between seller and platform', async () => {
    const session = await open();
    const seller = anAddress();
    const call = await accepted(session, { seller, feeBps: 333 });
    await store.settle(aDelivery(call.id));
    expect((await moneyOf(db.pool, seller)).available).toBe(100_000n - 3_330n);
  });

  test('in a closed session still pays, and nothing stays held', async () => {
    const session = await open();
    const seller = anAddress();
    const call = await accepted(session, { seller });
    await endSession(db.pool, session.id, 'closed');
    expect(await moneyOf(db.pool, session.agent)).toEqual({ available: usdc('0.90'), pending: usdc('0.10') });
    expect((await store.settle(aDelivery(call.id))).outcome).toBe('settled');
    await sessionsFinished();
    expect([await moneyOf(db.pool, session.agent), await moneyOf(db.pool, seller)])
      .toEqual([{ available: usdc('0.90'), pending: 0n }, { available: usdc('0.10'), pending: 0n }]);
  });
});

describe('releasing', () => {
  test('returns the reservation to the budget, once, and frees the key', async () => {
    const session = await open();
    const call = aNewCall(session, [aCandidate(anAddress())], { idempotency: claim('k') });
    await store.accept(call);
    const outcomes = await Promise.all(['p1', 'p2'].map((driver) => aStore(db.pool, { driver }).release(aGivenUp(call.id))));
    expect(outcomes.sort()).toEqual(['already_released', 'released']);
    expect((await sessionNow(db.pool, session.id))?.reservedMicros).toBe(0n);
    expect((await store.accept(aNewCall(session, [aCandidate(anAddress())], { idempotency: claim('k', 'changed') }))).outcome)
      .toBe('accepted');
  });

  test('of a settled or a missing call changes nothing', async () => {
    const session = await open();
    const call = await accepted(session);
    await store.settle(aDelivery(call.id));
    expect([await store.release(aGivenUp(call.id)), await store.release(aGivenUp('call_missing'))]).toEqual(['already_settled', 'missing']);
    expect(await stateOf(call.id)).toBe('settled');
  });

  test('and settling at the same moment: one of them wins, the other knows', async () => {
    for (let round = 0; round < 10; round += 1) {
      const call = await accepted(await open());
      const [settled, released] = await Promise.all([store.settle(aDelivery(call.id)), store.release(aGivenUp(call.id))]);
      expect([['settled', 'already_settled'], ['released', 'released']]).toContainEqual([settled.outcome, released]);
    }
  });

  test('in a closed session gives the money back at once', async () => {
    const session = await open();
    const call = await accepted(session);
    await endSession(db.pool, session.id, 'expired');
    await store.release(aGivenUp(call.id));
    await sessionsFinished();
    expect(await moneyOf(db.pool, session.agent)).toEqual({ available: usdc('1.00'), pending: 0n });
  });
});

describe('moving on to the next seller', () => {
  test.each<[string, SessionWish, string, 'moved' | 'budget_exceeded', boolean]>([
    ['a dearer one', {}, '0.20', 'moved', false], ['a cheaper one', {}, '0.05', 'moved', false],
    ['one that takes the whole budget', { maxTotal: '0.20' }, '0.20', 'moved', false],
    ['one beyond the budget', { maxTotal: '0.20' }, '0.200001', 'budget_exceeded', false],
    ['a dearer one after the end', {}, '0.20', 'budget_exceeded', true], ['a cheaper one after the end', {}, '0.05', 'moved', true],
    ['one of the same price after the end', {}, '0.10', 'moved', true],
  ])('%s', async (_what, wish, next, outcome, closed) => {
    const session = await open(wish);
    const call = await accepted(session, { next });
    if (closed) await endSession(db.pool, session.id, 'closed');
    expect(await store.nextAttempt(call.id, 0, 1, [anAttempt])).toBe(outcome);
    const attempt = outcome === 'moved' ? 1 : 0;
    expect((await store.settle(aDelivery(call.id, attempt))).outcome).toBe('settled');
    await sessionsFinished();
    await endSession(db.pool, session.id, 'closed');
    const price = attempt === 1 ? usdc(next) : usdc('0.10');
    expect(await moneyOf(db.pool, session.agent)).toEqual({ available: usdc(wish.maxTotal ?? '1.00') - price, pending: 0n });
  });

  test('from a place the call has left, or after its end, is superseded', async () => {
    const session = await open();
    const [moved, ended] = [await accepted(session), await accepted(session)];
    expect(await store.nextAttempt(moved.id, 0, 1, [anAttempt])).toBe('moved');
    expect(await store.nextAttempt(moved.id, 0, 1, [anAttempt])).toBe('superseded');
    await store.release(aGivenUp(ended.id));
    expect([await store.nextAttempt(ended.id, 0, 1, [anAttempt]), await store.nextAttempt('call_missing', 0, 1, [anAttempt])])
      .toEqual(['superseded', 'superseded']);
  });
});

describe('taking over', () => {
  test('is possible only when the lease is over, and only for one of many', async () => {
    const session = await open();
    const call = aNewCall(session, [aCandidate(anAddress())]);
    await aStore(db.pool, { driver: 'dead', leaseMs: 1_000 }).accept(call);
    const others = ['a', 'b', 'c'].map((driver) => aStore(db.pool, { driver }));
    const tryAll = async (): Promise<number> => (await Promise.all(others.map((other) => other.takeOver([call.id])))).flat().length;
    expect(await tryAll()).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    expect(await tryAll()).toBe(1);
    expect(await tryAll()).toBe(0);
    await store.release(aGivenUp(call.id));
  });

  test('is prevented by a driver that renews its lease, and a stranger cannot renew it', async () => {
    const call = aNewCall(await open(), [aCandidate(anAddress())]);
    const owner = aStore(db.pool, { driver: 'owner', leaseMs: 1_500 });
    await owner.accept(call);
    await new Promise((resolve) => setTimeout(resolve, 800));
    await owner.renewLeases([call.id]);
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(await store.takeOver([call.id])).toEqual([]);
    await store.renewLeases([call.id]);
    await new Promise((resolve) => setTimeout(resolve, 750));
    expect(await store.takeOver([call.id])).toHaveLength(1);
    await store.release(aGivenUp(call.id));
  });
});

describe('a single call', () => {
  test('ends its session when it settles, and the rest comes back', async () => {
    const session = aNewSession({ maxTotal: '0.50' });
    await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 500000, $2, NULL)`, [session.agent, session.id]);
    const call = aNewCall(session, [aCandidate(anAddress())]);
    expect((await callOnce(store, session, call)).outcome).toBe('accepted');
    expect(await moneyOf(db.pool, session.agent)).toEqual({ available: 0n, pending: usdc('0.50') });
    await store.settle(aDelivery(call.id));
    expect(await moneyOf(db.pool, session.agent)).toEqual({ available: usdc('0.40'), pending: 0n });
    expect((await sessionNow(db.pool, session.id))?.status).toBe('closed');
  });

  test('without the money is refused, and neither session nor call nor key stays', async () => {
    const session = aNewSession({ maxTotal: '0.50' });
    const call = aNewCall(session, [aCandidate(anAddress())], { idempotency: claim('poor') });
    expect((await mustFail(callOnce(store, session, call))).code).toBe('insufficient_balance');
    expect([await sessionNow(db.pool, session.id), await store.call(call.id)]).toEqual([null, null]);
    expect((await db.pool.query(`SELECT 1 FROM idempotency WHERE key = 'poor'`)).rows).toEqual([]);
  });
});
