/** Two who want different things in the same instant: exactly one wins, the other is told, and the money is in one place. */
import type { Reply } from '../support/app.ts';
import { directPayments, type DirectPayments } from '../support/payments.ts';
import { bodies, deadlineIn, purse, setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
const pool = () => platform().db.pool;
let stage: EscrowStage;
let direct: DirectPayments;
beforeEach(async () => {
  direct = await directPayments(pool());
  stage = await setStage(platform(), '100');
});

/** All that was held is in one of the two purses, and what is not decided is still locked. */
async function expectMoney(released: number, open = 0): Promise<void> {
  expect((await purse(pool(), stage.cast.seller)).available).toBe(usdc('1') * BigInt(released));
  const buyer = await purse(pool(), stage.cast.buyer);
  expect(buyer).toEqual({ available: usdc('100') - usdc('1') * BigInt(released + open), escrowed: usdc('1') * BigInt(open) });
}

const outcomes = (replies: readonly Reply[]): string[] => replies.map((reply) => stage.outcome(reply)).sort();

test('confirm and dispute in the same instant: a dispute can only come first, and then the buyer has confirmed in spite of it',
    async () => {
  const { buyer } = stage.cast;
  for (let n = 0; n < 25; n += 1) {
    const id = await stage.anEscrowIn('delivered');
    const replies = await Promise.all(n % 2 === 0 ? [stage.step(id, 'confirm', buyer), stage.step(id, 'dispute', buyer)]
      : [stage.step(id, 'dispute', buyer), stage.step(id, 'confirm', buyer)]);
    const disputeFirst = ['200 disputed', '200 released'];
    const confirmFirst = ['200 released', '409 invalid_state'];
    expect([disputeFirst, confirmFirst]).toContainEqual(outcomes(replies));
  }
  await expectMoney(25);
});

test.each<[string, string, [string, keyof EscrowStage['cast']], [string, keyof EscrowStage['cast']], string]>([
  ['confirm and decline', 'delivered', ['confirm', 'buyer'], ['decline', 'seller'], 'ended'],
  ['a ruling and a gift back', 'arbitrating', ['resolve', 'arbiter'], ['decline', 'seller'], 'ended'],
  ['a ruling and another ruling', 'disputed', ['resolve', 'arbiter'], ['resolve', 'arbiter'], 'ended'],
  ['deliver and cancel', 'pending', ['deliver', 'seller'], ['cancel', 'buyer'], 'one'],
  ['deliver and deliver', 'pending', ['deliver', 'seller'], ['deliver', 'seller'], 'one'],
  ['dispute and dispute', 'pending', ['dispute', 'buyer'], ['dispute', 'buyer'], 'one'],
])('%s in the same instant: one wins', async (_what, from, [first, a], [second, b]) => {
  for (let n = 0; n < 10; n += 1) {
    const id = await stage.anEscrowIn(from, { terms: { buyerMayCancel: true } });
    const replies = await Promise.all([stage.step(id, first, stage.cast[a]), stage.step(id, second, stage.cast[b], bodies[second])]);
    expect(outcomes(replies).filter((outcome) => outcome === '409 invalid_state')).toHaveLength(1);
    expect(outcomes(replies).filter((outcome) => outcome.startsWith('200'))).toHaveLength(1);
  }
});

test('a dispute one tick before the window closes stops the release; one tick after, the clock has paid the seller', async () => {
  const { buyer, seller } = stage.cast;
  const early = await stage.anEscrowIn('delivered');
  await deadlineIn(pool(), early, 5_000);
  expect(stage.outcome(await stage.step(early, 'dispute', buyer))).toBe('200 disputed');
  const late = await stage.anEscrowIn('delivered');
  await deadlineIn(pool(), late, -1);
  // Neither timer nor sweeper has been there: the dispute itself finds that the time is up.
  const refused = await stage.step(late, 'dispute', buyer);
  expect(refused).toMatchObject({ status: 409,
    body: { error: 'invalid_state', status: 'released', funds_status: 'released_to_seller',
    message: expect.stringContaining('auto_released') } });
  expect(await stage.get(late, seller)).toMatchObject({ status: 'released', resolution: 'auto_released', disputeEvidence: [] });
  await expectMoney(1, 1);
});

test('a dispute in the very instant in which the window closes: either the dispute stands or the seller is paid, never both', async () => {
  const { buyer } = stage.cast;
  let paid = 0;
  for (let n = 0; n < 20; n += 1) {
    const id = await stage.anEscrowIn('delivered');
    await deadlineIn(pool(), id, 2 + (n % 8));
    const clock = async () => {
      await pool().query('SELECT pg_sleep(0.003)');
      return direct.clock(id);
    };
    const [reply] = await Promise.all([stage.step(id, 'dispute', buyer), clock(), clock()]);
    const { status } = await stage.get(id);
    expect(stage.outcome(reply)).toBe(status === 'disputed' ? '200 disputed' : '409 invalid_state');
    if (status === 'released') paid += 1;
  }
  await expectMoney(paid, 20 - paid);
});

test.each<[string, string, string, string, string]>([
  ['deliver', 'pending', 'seller', 'delivery_expired', 'returned'],
  ['confirm', 'pending', 'buyer', 'delivery_expired', 'returned'],
  ['confirm', 'delivered', 'buyer', 'auto_released', 'released_to_seller'],
  ['decline', 'delivered', 'seller', 'auto_released', 'released_to_seller'],
  ['evidence', 'disputed', 'seller', 'ruling_expired', 'returned'],
  ['arbitrate', 'disputed', 'buyer', 'ruling_expired', 'returned'],
  ['resolve', 'arbitrating', 'arbiter', 'ruling_expired', 'returned'],
])('%s after the time of a %s escrow changes nothing any more: the clock decides', async (step, from, who, resolution, funds) => {
  const id = await stage.anEscrowIn(from);
  await deadlineIn(pool(), id, -1);
  const keyed = { headers: { 'idempotency-key': 'late' }, key: stage.cast[who as 'buyer'].key };
  expect(await stage.step(id, step, stage.cast[who as 'buyer'], bodies[step], keyed))
    .toMatchObject({ status: 409, body: { error: 'invalid_state', funds_status: funds } });
  expect(await stage.get(id)).toMatchObject({ resolution });
  // A stranger does not set the clock going.
  const other = await stage.anEscrowIn(from);
  await deadlineIn(pool(), other, -1);
  expect((await stage.step(other, step, stage.cast.stranger)).status).toBe(403);
  expect((await pool().query('SELECT key FROM idempotency WHERE agent_address = $1', [stage.cast[who as 'buyer'].address])).rows)
    .toEqual([]);
});

test('clock, sweeper, admin and parties all at once on many escrows: each ends once, and all the money is accounted for', async () => {
  const { buyer, seller } = stage.cast;
  const ids = await Promise.all(Array.from({ length: 16 }, (_, n) => stage.anEscrowIn(n % 2 === 0 ? 'pending' : 'delivered')));
  await Promise.all(ids.map((id, n) => deadlineIn(pool(), id, n * 4)));
  await Promise.all([
    ...ids.map((id) => stage.step(id, 'confirm', buyer)), ...ids.map((id) => stage.step(id, 'decline', seller)),
    ...ids.map((id) => direct.clock(id)),
    platform().ask('POST', '/v1/admin/escrow/force-close-expired', { adminSecret: 'a-secret-for-tests' }),
  ]);
  const ends = await Promise.all(ids.map((id) => stage.get(id)));
  expect(ends.every(({ status }) => status === 'released' || status === 'refunded')).toBe(true);
  await expectMoney(ends.filter(({ status }) => status === 'released').length);
});

test('two agents who buy from each other by the dozen, all at once, neither block each other nor lose a coin', async () => {
  const { buyer, seller } = stage.cast;
  const other = await setStage(platform(), '100');
  const there = await Promise.all(Array.from({ length: 24 }, () => stage.anEscrow({ terms: { sellerAddr: other.cast.buyer.address } })));
  const back = await Promise.all(Array.from({ length: 24 }, () => other.anEscrow({ terms: { sellerAddr: buyer.address } })));
  const replies = await Promise.all(there.flatMap((id, n) =>
    [stage.step(id, 'confirm', buyer), other.step(back[n] ?? '', 'confirm', other.cast.buyer), stage.create()]));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 201]));
  expect(await purse(pool(), buyer)).toEqual({ available: usdc('76'), escrowed: usdc('24') });
  expect(await purse(pool(), other.cast.buyer)).toEqual({ available: usdc('100'), escrowed: 0n });
  expect((await purse(pool(), seller)).available).toBe(0n);
});

test('an escrow that cannot be ended holds up no other', async () => {
  const [broken, sound] = [await stage.anEscrow(), await stage.anEscrow()];
  const close = async () => (await platform().ask('POST', '/v1/admin/escrow/force-close-expired', { adminSecret: 'a-secret-for-tests' }))
    .body.closedCount as number;
  await pool().query('UPDATE hold SET closed_at = now() WHERE id = $1', [broken]);
  await deadlineIn(pool(), broken, -2);
  await deadlineIn(pool(), sound, -1);
  expect(await close()).toBe(1);
  expect([await stage.get(broken), await stage.get(sound)]).toMatchObject([{ status: 'pending' }, { status: 'refunded' }]);
  await pool().query('UPDATE hold SET closed_at = NULL WHERE id = $1', [broken]);
  expect(await close()).toBe(1);
});

test('looking before the time changes nothing, whoever looks and however often', async () => {
  const id = await stage.anEscrowIn('disputed');
  const before = await stage.get(id);
  await Promise.all(Array.from({ length: 5 }, () => direct.clock(id)));
  expect(await stage.get(id)).toEqual(before);
});

test('an admin ends what is overdue, and is told how much that was', async () => {
  const ids = await Promise.all(['pending', 'delivered', 'disputed', 'arbitrating'].map((status) => stage.anEscrowIn(status)));
  const waiting = await stage.anEscrow();
  await Promise.all(ids.map((id) => deadlineIn(pool(), id, -1)));
  const close = () => platform().ask('POST', '/v1/admin/escrow/force-close-expired', { adminSecret: 'a-secret-for-tests' });
  expect((await close()).body).toEqual({ closedCount: 4 });
  expect((await close()).body).toEqual({ closedCount: 0 });
  expect(await Promise.all(ids.map(async (id) => (await stage.get(id))['resolution'])))
    .toEqual(['delivery_expired', 'auto_released', 'ruling_expired', 'ruling_expired']);
  expect((await stage.get(waiting))['status']).toBe('pending');
  await expectMoney(1, 1);
});
