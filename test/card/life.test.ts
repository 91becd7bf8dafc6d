/** The life of a card over HTTP: what buyer and merchant see, and where the money is at each moment. */
import { setCardStage, type CardStage } from '../support/cards.ts';
import { deadlineIn } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'card' });
let stage: CardStage;
beforeEach(async () => {
  stage = await setCardStage(platform(), '100');
});

const money = async () => {
  const [buyer, merchant] = await Promise.all([platform().moneyOf(stage.buyer), platform().moneyOf(stage.merchant)]);
  return [buyer.available, buyer.pending, merchant.available];
};

test('in another currency: held, charged and returned in that', async () => {
  await platform().db.pool.query(`SELECT ledger_deposit($1, 'EURC', 5000000, $1, NULL)`, [stage.buyer.address]);
  const { card } = (await stage.issue({ amount: '5', currency: 'EURC', merchant: stage.merchant.address })).body;
  expect(card).toMatchObject({ amount: '5.000000', currency: 'EURC' });
  expect((await stage.charge(card, { amount: '2' })).body.card).toMatchObject({ chargedAmount: '2.000000', currency: 'EURC' });
  const { rows } = await platform().db.pool.query(`SELECT available FROM account WHERE asset = 'EURC' ORDER BY available`);
  expect(rows).toEqual([{ available: '2000000' }, { available: '3000000' }]);
  expect(await money()).toEqual([usdc('100'), 0n, 0n]);
  expect((await stage.issue({ amount: '1', currency: 'DOGE' })).body).toMatchObject({ code: 'unknown_currency' });
});

test('issued, charged whole: the money is set aside, and reaches the merchant', async () => {
  const issued = await stage.issue({ amount: '10', merchant: stage.merchant.address, description: 'A month of statistics' });
  expect(issued.status).toBe(201);
  const { card } = issued.body;
  expect(card).toMatchObject({
    buyer: stage.buyer.address, status: 'active', amount: '10.000000', chargedAmount: '0.000000', returnedAmount: '0.000000',
    merchant: stage.merchant.address,
    description: 'A month of statistics', last4: card.number.slice(-4), wrongTries: 0, workflowId: `virtual-card-${card.id}`,
  });
  expect(card.id).toMatch(/^card_[0-9a-f]{24}$/);
  expect(card.number).toMatch(/^424242[0-9]{10}$/);
  expect(card.cvv).toMatch(/^[0-9]{3}$/);
  const at = new Date(card.createdAt);
  expect(card.expiry).toBe(`${String(at.getUTCMonth() + 1).padStart(2, '0')}/${String((at.getUTCFullYear() + 1) % 100).padStart(2, '0')}`);
  expect(Date.parse(card.expiresAt) - Date.parse(card.createdAt)).toBe(86_400_000);
  expect(await money()).toEqual([usdc('90'), usdc('10'), 0n]);

  const charged = await stage.charge(card, { cvv: card.cvv, expiry: card.expiry, description: 'February' });
  expect(charged.status).toBe(200);
  expect(charged.body.card).toMatchObject({
    status: 'used', chargedAmount: '10.000000', returnedAmount: '0.000000', chargedBy: stage.merchant.address,
    chargedFor: 'February', resolution: 'charged',
  });
  expect(await money()).toEqual([usdc('90'), 0n, usdc('10')]);
  expect((await stage.get(card)).body.card).toEqual(charged.body.card);
  expect((await stage.get(card, stage.merchant)).body.card).toEqual(charged.body.card);
});

test('a partial charge pays that much and gives the rest back; there is no second one', async () => {
  const card = await stage.aCard();
  const charged = await stage.charge(card, { amount: '3.5' });
  expect(charged.body.card).toMatchObject({ status: 'used', amount: '10.000000', chargedAmount: '3.500000', returnedAmount: '6.500000' });
  expect(await money()).toEqual([usdc('96.5'), 0n, usdc('3.5')]);
  const again = await stage.charge(card, { amount: '1' });
  expect(again).toMatchObject({ status: 409,
    body: { error: 'invalid_state', status: 'used', funds_status: 'settled_safe',
    message: 'The card is used, and then it is not possible to charge it.' } });
  expect(await money()).toEqual([usdc('96.5'), 0n, usdc('3.5')]);
});

test('cancelled by its buyer, and by nobody else, everything comes back', async () => {
  const card = await stage.aCard();
  for (const who of [stage.merchant, stage.stranger]) expect(await stage.cancel(card, who))
    .toMatchObject({ status: 403, body: { error: 'unauthorized' } });
  const cancelled = await stage.cancel(card);
  expect(cancelled.body.card).toMatchObject({ status: 'cancelled', resolution: 'cancelled', returnedAmount: '10.000000' });
  expect(await money()).toEqual([usdc('100'), 0n, 0n]);
  for (const status of ['used', 'cancelled', 'blocked']) expect(await stage.cancel(await stage.aCardIn(status)))
    .toMatchObject({ status: 409, body: { error: 'invalid_state', status } });
});

test('a card whose time is up is expired by its workflow, and a charge at that moment is refused by the same clock', async () => {
  const { pool } = platform().db;
  const late = await stage.aCard();
  await deadlineIn(pool, late.id, -1);
  const refused = await stage.charge(late);
  expect(refused).toMatchObject({ status: 409,
    body: { error: 'invalid_state', status: 'expired', funds_status: 'returned', message: expect.stringContaining('(expired)') } });
  expect((await stage.get(late)).body.card).toMatchObject({ status: 'expired', returnedAmount: '10.000000', wrongTries: 0 });
  expect(await money()).toEqual([usdc('100'), 0n, 0n]);
});

test('a card for a type of service is charged by whoever offers it now', async () => {
  const shop = await platform().offers(await seller('Shop'), { serviceType: 'card-translation' });
  const card = await stage.aCard({ category: 'card-translation' });
  expect(await stage.charge(card))
    .toMatchObject({ status: 403, body: { error: 'wrong_merchant', message: expect.stringContaining('card-translation') } });
  expect((await stage.charge(card, {}, shop)).body.card)
    .toMatchObject({ status: 'used', category: 'card-translation', chargedBy: shop.address, wrongTries: 1 });
  const nobodys = await stage.aCard({ category: 'no-such-service' });
  expect(await stage.charge(nobodys, {}, shop)).toMatchObject({ status: 403, body: { error: 'wrong_merchant' } });
  await stage.cancel(nobodys);
});

test('issued twice with one Idempotency-Key it is one card, whose number is shown once', async () => {
  const options = { headers: { 'idempotency-key': 'card-17' } };
  const first = await stage.issue({}, options);
  const again = await stage.issue({}, options);
  const { number, cvv, expiry, ...card } = first.body.card;
  expect(again).toMatchObject({ status: 201, body: { notice: expect.stringContaining('shown once') } });
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(again.body.card).toEqual(card);
  for (const secret of [number, cvv.padStart(4, '"'), expiry]) expect(again.text).not.toContain(secret);
  expect(await money()).toEqual([usdc('90'), usdc('10'), 0n]);
  expect(await stage.issue({ amount: '11' }, options)).toMatchObject({ status: 422, body: { error: 'idempotency_mismatch' } });
  expect((await stage.charge({ number })).status).toBe(200);
});

test('a charge whose answer was lost is sent again with its Idempotency-Key, and a refused one keeps no key', async () => {
  const card = await stage.aCard();
  const options = { headers: { 'idempotency-key': 'charge-1' } };
  expect((await stage.charge(card, { amount: '11' }, stage.merchant, options)).body).toMatchObject({ error: 'above_card_limit' });
  const charged = await stage.charge(card, { amount: '4' }, stage.merchant, options);
  const again = await stage.charge(card, { amount: '4' }, stage.merchant, options);
  expect(again.status).toBe(200);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(again.body).toEqual(charged.body);
  expect(await stage.charge(card, { amount: '5' }, stage.merchant, options)).toMatchObject({ status: 422 });
  expect(await money()).toEqual([usdc('96'), 0n, usdc('4')]);
});

test('twenty charges at the same moment: exactly one is paid', async () => {
  const card = await stage.aCard();
  const replies = await Promise.all(Array.from({ length: 20 }, (_, n) => stage.charge(card, { amount: '2', description: `try ${n}` })));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(new Set(replies.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${body.error}`)))
    .toEqual(new Set(['409 invalid_state']));
  expect(await money()).toEqual([usdc('98'), 0n, usdc('2')]);
});

test('the list has the cards one issued and those one charged, newest first, page by page', async () => {
  const cards = [await stage.aCard(), await stage.aCard(), await stage.aCard()];
  await stage.charge(cards[0] ?? { number: '' });
  const list = (query: string, who = stage.buyer) => platform().ask('GET', `/v1/agents/${who.address}/cards${query}`, { key: who.key });
  const first = await list('?limit=2');
  expect(first.body).toMatchObject({ count: 2, has_more: true, cards: [{ id: cards[2]?.id }, { id: cards[1]?.id }] });
  const rest = await list(`?limit=2&cursor=${first.body.next_cursor}`);
  expect(rest.body).toMatchObject({ count: 1, has_more: false, cards: [{ id: cards[0]?.id, status: 'used' }] });
  expect((await list('', stage.merchant)).body).toMatchObject({ count: 1, cards: [{ id: cards[0]?.id }] });
  for (const { number } of cards) expect(first.text + rest.text).not.toContain(number);
  expect(await platform().ask('GET', `/v1/agents/${stage.buyer.address}/cards`, { key: stage.stranger.key }))
    .toMatchObject({ status: 403 });
});

test('who may look: the buyer, the admin, and the merchant once it has charged', async () => {
  const card = await stage.aCard({ merchant: stage.merchant.address });
  for (const who of [stage.merchant, stage.stranger]) expect(await stage.get(card, who))
    .toMatchObject({ status: 403, body: { error: 'unauthorized' } });
  expect((await platform().ask('GET', `/v1/cards/${card.id}`, { adminSecret: 'a-secret-for-tests' })).status).toBe(200);
  await stage.charge(card);
  expect((await stage.get(card, stage.merchant)).status).toBe(200);
  expect(await stage.get({ id: 'card_000000000000000000000000' })).toMatchObject({ status: 404 });
});

test('a payment of another kind is no card, whatever its buyer asks', async () => {
  const { body: { escrow } } = await platform().ask('POST', '/v1/escrow', {
    key: stage.buyer.key, body: { buyerAddr: stage.buyer.address, sellerAddr: stage.merchant.address, amount: '1', buyerMayCancel: true },
  });
  expect(await stage.get(escrow)).toMatchObject({ status: 404 });
  expect(await stage.cancel(escrow)).toMatchObject({ status: 404, body: { error: 'not_found', message: 'There is no such card.' } });
  expect((await platform().ask('POST', `/v1/escrow/${escrow.id}/cancel`, { key: stage.buyer.key })).status).toBe(200);
});

test('the timeline tells of the issue, of each wrong try, and of the charge', async () => {
  const card = await stage.aCard({ merchant: stage.merchant.address });
  await stage.charge(card, {}, stage.stranger);
  await stage.charge(card, { amount: '4' });
  const { body: { payment } } = await platform().ask('GET', `/v1/payments/${card.id}`, { key: stage.buyer.key });
  expect(payment).toMatchObject({ kind: 'card', state: 'used', ended: true,
    amounts: { amount: '10.000000', charged: '4.000000', returned: '6.000000' }, workflowId: card.workflowId });
  expect((payment.timeline as { kind: string; what: string }[]).filter(({ kind }) => kind === 'state').map(({ what }) => what)).toEqual([
    'The buyer issued a card for up to 10.000000 USDC.', 'A try to charge the card was refused: This card is for another merchant.',
    'The card ended (charged): 4.000000 USDC for the seller, 6.000000 USDC back to the buyer.',
  ]);
});
