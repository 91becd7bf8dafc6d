/** The life of an escrow over HTTP: what its parties see, and where the money is at each moment. */
import { purse, setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
let stage: EscrowStage;
beforeEach(async () => {
  stage = await setStage(platform(), '10');
});

const money = async () => [await purse(platform().db.pool, stage.cast.buyer), await purse(platform().db.pool, stage.cast.seller)];

test('created, delivered, confirmed: the money is locked, stays locked, and reaches the seller', async () => {
  const { buyer, seller, arbiter } = stage.cast;
  const created = await stage.create({ amount: '1.5', terms: { autoRelease: '1h30m', serviceId: 'svc_x' } });
  expect(created.status).toBe(201);
  const { escrow } = created.body;
  expect(escrow).toMatchObject({
    buyerAddr: buyer.address, sellerAddr: seller.address, arbitratorAddr: arbiter.address, amount: '1.500000', status: 'pending',
    serviceId: 'svc_x', disputeEvidence: [],
    releasedAmount: '0.000000', refundedAmount: '0.000000', reviewWindow: '24h', rulingWindow: '72h', buyerMayCancel: false,
    workflowId: `escrow-${escrow.id}`,
  });
  expect(escrow.id).toMatch(/^esc_[0-9a-f]{24}$/);
  expect(escrow.deadline).toBe(escrow.autoReleaseAt);
  expect(Date.parse(escrow.autoReleaseAt) - Date.parse(escrow.createdAt)).toBe(5_400_000);
  for (const absent of ['deliveredAt', 'resolvedAt', 'resolution', 'disputeReason', 'arbitrationDeadline', 'disputeWindowUntil']) expect(
    escrow).not.toHaveProperty(absent);
  expect(await money()).toEqual([{ available: usdc('8.5'), escrowed: usdc('1.5') }, { available: 0n, escrowed: 0n }]);

  const delivered = await stage.step(escrow.id, 'deliver', seller);
  expect(delivered.body.escrow).toMatchObject({ status: 'delivered', deadline: delivered.body.escrow.disputeWindowUntil });
  expect(Date.parse(delivered.body.escrow.disputeWindowUntil) - Date.parse(delivered.body.escrow.deliveredAt)).toBe(86_400_000);
  expect((await money())[0]).toEqual({ available: usdc('8.5'), escrowed: usdc('1.5') });

  const confirmed = await stage.step(escrow.id, 'confirm', buyer);
  expect(confirmed.body.escrow)
    .toMatchObject({ status: 'released', resolution: 'buyer_confirmed', releasedAmount: '1.500000', refundedAmount: '0.000000' });
  expect(confirmed.body.escrow).not.toHaveProperty('deadline');
  expect(confirmed.body.escrow).not.toHaveProperty('partialReleaseAmount');
  expect(await money()).toEqual([{ available: usdc('8.5'), escrowed: 0n }, { available: usdc('1.5'), escrowed: 0n }]);
  expect(await stage.get(escrow.id, seller)).toEqual(confirmed.body.escrow);
});

test('in another currency: its money is held, paid and returned in that, and the other stays as it was', async () => {
  const { buyer, seller, arbiter } = stage.cast;
  const { pool } = platform().db;
  const euros = async () => (await pool.query<{ owner: string; available: string; escrowed: string }>(
    `SELECT owner, available, escrowed FROM account WHERE asset = 'EURC' AND owner = ANY ($1)`, [[buyer.address, seller.address]])).rows;
  await pool.query(`SELECT ledger_deposit($1, 'EURC', 2000000, $1, NULL)`, [buyer.address]);
  const refused = await stage.create({ amount: '2.000001', terms: { currency: 'EURC' } });
  expect([refused.status, refused.body]).toMatchObject([402, { price: '2.000001', currency: 'EURC' }]);
  const { escrow } = (await stage.create({ amount: '1.5', terms: { currency: 'EURC' } })).body;
  expect(escrow).toMatchObject({ amount: '1.500000', currency: 'EURC' });
  await stage.step(escrow.id, 'dispute', buyer, { reason: 'half' });
  await stage.step(escrow.id, 'resolve', arbiter, { resolution: 'partial', releaseAmount: '1' });
  expect(await euros()).toEqual(expect.arrayContaining([{ owner: buyer.address, available: '1000000', escrowed: '0' },
    { owner: seller.address, available: '1000000', escrowed: '0' }]));
  expect(await money()).toEqual([{ available: usdc('10'), escrowed: 0n }, { available: 0n, escrowed: 0n }]);
  const timeline = await platform().ask('GET', `/v1/payments/${escrow.id}`, { key: buyer.key });
  expect(timeline.text).toContain('1.000000 EURC for the seller');
  await platform().booksAreRight();
});

test('the review window ends no earlier than the delivery deadline, however early the delivery comes', async () => {
  const id = await stage.anEscrow({ terms: { autoRelease: '2d', reviewWindow: '1h' } });
  const { body: { escrow } } = await stage.step(id, 'deliver', stage.cast.seller);
  expect(escrow.disputeWindowUntil).toBe(escrow.autoReleaseAt);
});

test('disputed and ruled partial: a part to each, in one moment, with what was said on record', async () => {
  const { buyer, seller, arbiter } = stage.cast;
  const id = await stage.anEscrowIn('disputed');
  expect((await money())[0]?.escrowed).toBe(usdc('1'));
  expect((await stage.step(id, 'evidence', seller, { content: 'It works on my machine.' })).status).toBe(200);
  const called = await stage.step(id, 'arbitrate', seller, { arbitratorAddr: arbiter.address });
  expect(called.body.escrow).toMatchObject({ status: 'arbitrating', deadline: called.body.escrow.arbitrationDeadline });
  const ruled = await stage.step(id, 'resolve', arbiter, { resolution: 'partial', releaseAmount: '0.40', reason: 'half done' });
  expect(ruled.body.escrow).toMatchObject({
    status: 'released', resolution: 'arbitration_partial: half done', releasedAmount: '0.400000', refundedAmount: '0.600000',
    partialReleaseAmount: '0.400000', partialRefundAmount: '0.600000',
    disputeReason: 'It is not what we agreed on.',
    disputeEvidence: [{ submittedBy: buyer.address, content: 'It is not what we agreed on.' },
      { submittedBy: seller.address, content: 'It works on my machine.' }],
  });
  expect(await money()).toEqual([{ available: usdc('9.6'), escrowed: 0n }, { available: usdc('0.4'), escrowed: 0n }]);
});

test.each([
  ['a ruling for the seller', 'disputed', (id: string) => stage.step(id, 'resolve', stage.cast.arbiter, { resolution: 'release' }),
    'released', 'arbitration_release'],
  ['a ruling for the buyer, by the name the Go client uses', 'arbitrating',
    (id: string) => stage.step(id, 'resolve', stage.cast.arbiter, { resolution: 'refund', partialAmount: '', reason: 'late' }), 'refunded',
    'arbitration_refund: late'],
  ['a seller who declines', 'pending', (id: string) => stage.step(id, 'decline', stage.cast.seller), 'refunded', 'declined'],
  ['a seller who gives back', 'disputed', (id: string) => stage.step(id, 'decline', stage.cast.seller), 'refunded', 'given_back'],
  ['a buyer who is content after all', 'disputed', (id: string) => stage.step(id, 'confirm', stage.cast.buyer),
    'released', 'buyer_confirmed'],
])('%s ends it', async (_what, from, end, status, resolution) => {
  const id = await stage.anEscrowIn(from);
  const { body } = await end(id);
  expect(body.escrow).toMatchObject({ status, resolution });
  const paid = status === 'released';
  expect(await money())
    .toEqual([{ available: usdc(paid ? '9' : '10'), escrowed: 0n }, { available: usdc(paid ? '1' : '0'), escrowed: 0n }]);
});

test('a buyer may cancel before the delivery where the terms say so, and not otherwise', async () => {
  const { buyer, seller } = stage.cast;
  const id = await stage.anEscrow({ terms: { buyerMayCancel: true } });
  expect((await stage.step(id, 'cancel', buyer)).body.escrow).toMatchObject({ status: 'refunded', resolution: 'cancelled' });
  const delivered = await stage.anEscrowIn('delivered', { terms: { buyerMayCancel: true } });
  expect(stage.outcome(await stage.step(delivered, 'cancel', buyer))).toBe('409 invalid_state');
  const firm = await stage.step(await stage.anEscrow(), 'cancel', buyer);
  expect(firm).toMatchObject({ status: 403,
    body: { error: 'forbidden', funds_status: 'locked_in_escrow', status: 'pending',
    message: expect.stringContaining('buyerMayCancel') } });
  expect(stage.outcome(await stage.step(id, 'cancel', seller))).toBe('403 unauthorized');
});

test('without a named arbiter the platform rules: by the admin secret, with or without a key, or by its own route', async () => {
  for (const options of [{ adminSecret: 'a-secret-for-tests' }, { adminSecret: 'a-secret-for-tests', key: stage.cast.buyer.key }]) {
    const id = await stage.anEscrowIn('disputed', { arbiter: false });
    expect(stage.outcome(await platform().ask('POST', `/v1/escrow/${id}/resolve`, { ...options, body: { resolution: 'refund' } })))
      .toBe('200 refunded');
  }
  const id = await stage.anEscrowIn('arbitrating', { arbiter: false });
  expect(stage.outcome(await platform()
    .ask('POST', `/v1/admin/escrow/${id}/resolve`, { adminSecret: 'a-secret-for-tests', body: { resolution: 'release' } })))
    .toBe('200 released');
  const named = await stage.anEscrowIn('disputed');
  expect(stage.outcome(await stage.step(named, 'resolve', null))).toBe('403 unauthorized');
});

test('paths in the plural, empty bodies, and bodies of the first system\'s clients work', async () => {
  const { buyer, seller } = stage.cast;
  const made = await platform()
    .ask('POST', '/v1/escrows',
    { key: buyer.key, body: { buyerAddr: buyer.address.toUpperCase().replace('X', 'x'), sellerAddr: seller.address, amount: '0.1',
    autoRelease: '5m', serviceId: '', sessionKeyId: '' } });
  expect(made.status).toBe(201);
  const path = `/v1/escrows/${made.body.escrow.id}`;
  expect((await platform().ask('POST', `${path}/deliver`, { key: seller.key, headers: { 'content-type': 'application/json' } })).status)
    .toBe(200);
  expect((await platform().ask('POST', `${path}/confirm`, { key: buyer.key, body: {} })).status).toBe(200);
  expect((await platform().ask('GET', path, { adminSecret: 'a-secret-for-tests' })).body.escrow.status).toBe('released');
});

test('a seller who is not registered is paid all the same', async () => {
  const address = '0x00000000000000000000000000000000000000ab';
  const { body } = await stage.create({ terms: { sellerAddr: address } });
  await stage.step(body.escrow.id, 'confirm', stage.cast.buyer);
  expect(await purse(platform().db.pool, { address })).toEqual({ available: usdc('1'), escrowed: 0n });
});
