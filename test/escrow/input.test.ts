/** What an escrow is asked in a wrong way, twice, or by people it does not concern. */
import { parseDuration, formatDuration } from '../../domain/duration.ts';
import { purse, setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
let stage: EscrowStage;
beforeEach(async () => {
  stage = await setStage(platform(), '10');
});

const untouched = async (): Promise<void> => expect(await purse(platform().db.pool, stage.cast.buyer))
  .toEqual({ available: usdc('10'), escrowed: 0n });

test.each<[what: string, terms: (stage: EscrowStage) => Record<string, unknown>, status: number, code: string, field: string | null]>([
  ['more than there is', () => ({ amount: '10.000001' }), 402, 'insufficient_balance', null],
  ['nothing', () => ({ amount: '0' }), 400, 'invalid_amount', 'amount'],
  ['seven decimal places', () => ({ amount: '1.0000001' }), 400, 'invalid_amount', 'amount'],
  ['a number instead of text', () => ({ amount: 1 }), 400, 'invalid_amount', 'amount'],
  ['a seller that is no address', () => ({ sellerAddr: '0x12' }), 400, 'invalid_address', 'sellerAddr'],
  ['no seller', () => ({ sellerAddr: undefined }), 400, 'invalid_address', 'sellerAddr'],
  ['oneself as seller', ({ cast }) => ({ sellerAddr: cast.buyer.address, arbitratorAddr: undefined }), 400, 'self_trade', null],
  ['the money of somebody else', ({ cast }) => ({ buyerAddr: cast.stranger.address }), 403, 'unauthorized', null],
  ['the seller as arbiter', ({ cast }) => ({ arbitratorAddr: cast.seller.address }), 400, 'validation_error', 'arbitratorAddr'],
  ['oneself as arbiter', ({ cast }) => ({ arbitratorAddr: cast.buyer.address }), 400, 'validation_error', 'arbitratorAddr'],
  ['a session key', () => ({ sessionKeyId: 'sk_1' }), 400, 'validation_error', 'sessionKeyId'],
  ['a field that does not exist', () => ({ autoRefund: '5m' }), 400, 'validation_error', 'autoRefund'],
  ...['soon', '0s', '-5m', '5', '1y', '999ms', '366d', '5m ', '1e3s'].map((autoRelease) =>
    [`autoRelease ${autoRelease}`, () => ({ autoRelease }), 400, 'validation_error', 'autoRelease'] as [string,
      () => Record<string, unknown>, number, string, string | null]),
  ['reviewWindow 0s', () => ({ reviewWindow: '0s' }), 400, 'validation_error', 'reviewWindow'],
  ['rulingWindow never', () => ({ rulingWindow: 'never' }), 400, 'validation_error', 'rulingWindow'],
])('an escrow over %s is refused and holds nothing', async (_what, terms, status, code, field) => {
  const { amount, ...rest } = terms(stage);
  const reply = await stage.create({ terms: { ...rest, ...(amount === undefined ? {} : { amount }) } });
  expect([reply.status, reply.body.code, reply.body.funds_status]).toEqual([status, code, 'no_change']);
  if (field !== null) expect(reply.body.details).toEqual([{ field, message: expect.any(String) }]);
  if (status === 402) expect(reply.body).toMatchObject({ price: '10.000001', currency: 'USDC' });
  await untouched();
});

test.each([['90s', 90_000], ['5m', 300_000], ['1h', 3_600_000], ['1h30m', 5_400_000], ['2d', 172_800_000], ['1.5h', 5_400_000],
    ['1s', 1_000], ['365d', 31_536_000_000]])('autoRelease %s is understood', async (autoRelease, ms) => {
  const { body: { escrow } } = await stage.create({ terms: { autoRelease } });
  expect(Date.parse(escrow.autoReleaseAt) - Date.parse(escrow.createdAt)).toBe(ms);
});

test('a length of time survives being written and read again', () => {
  for (const ms of [1, 1_000, 90_000, 5_400_000, 86_400_000, 31_536_000_000, 3_723_004]) expect(parseDuration(formatDuration(ms))).toBe(ms);
  expect(formatDuration(0)).toBe('0s');
  for (const text of ['', 'h', '1', '1h-1m', '1 h', '１h', 'Infinityh', '9999999999s']) expect(parseDuration(text)).toBeNull();
});

test.each<[step: string, body: unknown, status: number, code: string]>([
  ['dispute', undefined, 400, 'validation_error'],
  ['dispute', { reason: '' }, 400, 'validation_error'],
  ['dispute', { reason: '  ' }, 400, 'validation_error'],
  ['dispute', { reason: 'x'.repeat(10_001) }, 400, 'validation_error'],
  ['dispute', { reason: 'x\u0000y' }, 400, 'validation_error'],
  ['dispute', { reason: 'x'.repeat(10_000) }, 200, 'disputed'],
])('%s with too much or too little to say is refused (%#)', async (step, body, status, code) => {
  const id = await stage.anEscrow();
  expect(stage.outcome(await platform()
    .ask('POST', `/v1/escrow/${id}/${step}`, { key: stage.cast.buyer.key, ...(body === undefined ? {} : { body }) })))
    .toBe(`${status} ${code}`);
});

test('evidence has a length and a number: 10,000 characters, and twenty entries of each party', async () => {
  const { buyer, seller, arbiter } = stage.cast;
  const id = await stage.anEscrowIn('disputed');
  expect(stage.outcome(await stage.step(id, 'evidence', buyer, { content: 'x'.repeat(10_001) }))).toBe('400 validation_error');
  expect(stage.outcome(await stage.step(id, 'evidence', buyer, { content: '' }))).toBe('400 validation_error');
  // The reason of the dispute is the buyer's first entry. All at once, so that counting and writing cannot come apart.
  const replies = await Promise.all(Array.from({ length: 25 },
    (_, n) => stage.step(id, 'evidence', buyer, { content: n === 0 ? 'x'.repeat(10_000) : `entry ${n}` })));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(19);
  const refused = replies.find(({ status }) => status !== 200);
  expect(refused).toMatchObject({ status: 409,
    body: { error: 'evidence_limit', funds_status: 'locked_in_escrow', status: 'disputed', message: expect.stringContaining('20') } });
  expect(stage.outcome(await stage.step(id, 'evidence', seller))).toBe('200 disputed');
  expect((await stage.get(id, arbiter))['disputeEvidence']).toHaveLength(21);
});

test.each<[what: string, body: Record<string, unknown>, code: string]>([
  ['no amount', { resolution: 'partial' }, 'invalid_amount'],
  ['nothing', { resolution: 'partial', releaseAmount: '0' }, 'invalid_amount'],
  ['the whole', { resolution: 'partial', releaseAmount: '1.00' }, 'invalid_amount'],
  ['more than the whole', { resolution: 'partial', partialAmount: '1.000001' }, 'invalid_amount'],
  ['two different amounts', { resolution: 'partial', releaseAmount: '0.2', partialAmount: '0.3' }, 'invalid_amount'],
  ['an amount where none belongs', { resolution: 'release', releaseAmount: '0.2' }, 'invalid_amount'],
  ['a ruling nobody knows', { resolution: 'split' }, 'validation_error'],
  ['no ruling', {}, 'validation_error'],
  ['a field nobody knows', { resolution: 'release', winner: 'me' }, 'validation_error'],
])('a ruling with %s is refused, and the escrow waits on', async (_what, body, code) => {
  const id = await stage.anEscrowIn('disputed');
  expect(stage.outcome(await stage.step(id, 'resolve', stage.cast.arbiter, body))).toBe(`400 ${code}`);
  expect(await stage.get(id)).toMatchObject({ status: 'disputed' });
  expect(stage.outcome(await stage.step(id, 'resolve', stage.cast.arbiter,
    { resolution: 'partial', releaseAmount: '0.2', partialAmount: '0.200' }))).toBe('200 released');
});

test('an arbiter cannot be chosen afterwards: only the one named at the start may be called in', async () => {
  const { buyer, seller, arbiter, stranger } = stage.cast;
  const id = await stage.anEscrowIn('disputed');
  const unnamed = await stage.anEscrowIn('disputed', { arbiter: false });
  for (const [which, arbitratorAddr] of [[id, stranger.address], [id, seller.address], [id, buyer.address], [unnamed, stranger.address],
      [unnamed, seller.address]]) {
    expect(stage.outcome(await stage.step(which ?? '', 'arbitrate', buyer, { arbitratorAddr }))).toBe('403 unauthorized');
  }
  expect(stage.outcome(await stage.step(id, 'arbitrate', buyer, { arbitratorAddr: 'somebody' }))).toBe('400 invalid_address');
  expect(stage.outcome(await stage.step(id, 'arbitrate', buyer, { arbitratorAddr: arbiter.address.toUpperCase().replace('X', 'x') })))
    .toBe('200 arbitrating');
  expect(stage.outcome(await stage.step(unnamed, 'arbitrate', seller))).toBe('200 arbitrating');
});

test('a key makes a request safe to repeat: one hold, one release, and the first answer again', async () => {
  const { buyer, seller } = stage.cast;
  const keyed = (key: string) => ({ key: buyer.key, headers: { 'idempotency-key': key } });
  const twins = await Promise.all(Array.from({ length: 5 }, () => stage.create({}, keyed('make'))));
  expect(twins.map(({ status }) => status)).toEqual([201, 201, 201, 201, 201]);
  expect(new Set(twins.map(({ body }) => body.escrow.id)).size).toBe(1);
  expect(twins.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(4);
  expect((await purse(platform().db.pool, buyer)).escrowed).toBe(usdc('1'));
  expect(stage.outcome(await stage.create({ amount: '2' }, keyed('make')))).toBe('422 idempotency_mismatch');

  const id = twins[0]?.body.escrow.id as string;
  const confirms = await Promise.all(Array.from({ length: 5 }, () => stage.step(id, 'confirm', buyer, undefined, keyed('pay'))));
  expect(confirms.map((reply) => stage.outcome(reply))).toEqual(Array(5).fill('200 released'));
  expect(confirms.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(4);
  expect((await purse(platform().db.pool, seller)).available).toBe(usdc('1'));
  expect(stage.outcome(await stage.step(id, 'confirm', buyer))).toBe('409 invalid_state');
  expect(stage.outcome(await stage.step(id, 'dispute', buyer, undefined, keyed('pay')))).toBe('422 idempotency_mismatch');
});

test('a refused request leaves its key free', async () => {
  const { buyer, seller } = stage.cast;
  const keyed = { key: buyer.key, headers: { 'idempotency-key': 'again' } };
  expect((await stage.create({ amount: '11' }, keyed)).status).toBe(402);
  expect((await stage.create({ amount: '1' }, keyed)).status).toBe(201);
  const id = await stage.anEscrow();
  const asSeller = { key: seller.key, headers: { 'idempotency-key': 'mine' } };
  expect((await stage.step(id, 'confirm', seller, undefined, asSeller)).status).toBe(403);
  expect((await stage.step(id, 'deliver', seller, undefined, asSeller)).status).toBe(200);
  expect((await platform().db.pool.query('SELECT key FROM idempotency WHERE agent_address = $1', [seller.address])).rows)
    .toEqual([{ key: 'mine' }]);
});

test('only those it concerns may read an escrow', async () => {
  const { buyer, seller, arbiter, stranger } = stage.cast;
  const id = await stage.anEscrowIn('disputed');
  for (const who of [buyer, seller, arbiter]) expect((await stage.get(id, who))['id']).toBe(id);
  const ask = (options: Record<string, string>) => platform().ask('GET', `/v1/escrow/${id}`, options);
  const strange = await ask({ key: stranger.key });
  expect([strange.status, strange.body.error]).toEqual([403, 'unauthorized']);
  expect(strange.text).not.toContain('not what we agreed');
  expect((await ask({ adminSecret: 'a-secret-for-tests' })).status).toBe(200);
  expect((await ask({ adminSecret: 'a-guess-for-tests' })).status).toBe(401);
  expect((await ask({})).status).toBe(401);
  expect((await platform().ask('GET', '/v1/escrow/esc_nothing', { key: buyer.key })).status).toBe(404);
});

test('the list of an agent has what it buys, sells and judges, newest first, page by page', async () => {
  const { buyer, seller, arbiter, stranger } = stage.cast;
  const made: string[] = [];
  for (let n = 0; n < 5; n += 1) made.unshift(await stage.anEscrow({ amount: '0.1', arbiter: n % 2 === 0 }));
  // Two of the same instant, which only their ids tell apart.
  await platform().db.pool.query('UPDATE payment SET created_at = (SELECT created_at FROM payment WHERE id = $1) WHERE id = $2',
    [made[0], made[1]]);
  made.splice(0, 2, ...made.slice(0, 2).sort().reverse());
  const page = async (who: { address: string; key: string }, query = '') =>
    (await platform().ask('GET', `/v1/agents/${who.address}/escrows${query}`, { key: who.key })).body;
  const all = await page(buyer);
  expect(all).toMatchObject({ count: 5, has_more: false });
  expect(all.escrows.map((escrow: { id: string }) => escrow.id)).toEqual(made);
  expect(all.escrows[0]).not.toHaveProperty('disputeEvidence');
  const walked: string[] = [];
  for (let query = '?limit=2'; query !== '';) {
    const { escrows, next_cursor: next, has_more: more } = await page(seller, query);
    walked.push(...escrows.map((escrow: { id: string }) => escrow.id));
    expect(more).toBe(next !== undefined);
    query = next === undefined ? '' : `?limit=2&cursor=${next}`;
  }
  expect(walked).toEqual(made);
  expect((await page(arbiter)).count).toBe(3);
  expect(await page(stranger)).toEqual({ escrows: [], count: 0, has_more: false });
  expect((await platform().ask('GET', `/v1/agents/${buyer.address}/escrows`, { key: seller.key })).status).toBe(403);
  expect((await platform().ask('GET', `/v1/agents/${buyer.address}/escrows?cursor=x`, { key: buyer.key })).body.error)
    .toBe('invalid_cursor');
});
