/** What is refused, each with its own word and sentence, and none of it moves money; and how a card is blocked by wrong tries. */
import { withCheckDigit } from '../../domain/card-number.ts';
import { setCardStage, type Card, type CardStage } from '../support/cards.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'card' });
let stage: CardStage;
beforeEach(async () => {
  stage = await setCardStage(platform(), '100');
});

type Wish = Readonly<Record<string, unknown>>;
const otherCvv = ({ cvv }: Card): string => (cvv === '999' ? '998' : '999');
const otherExpiry = ({ expiry }: Card): string => `${expiry.slice(0, 3)}${expiry.endsWith('99') ? '98' : '99'}`;
const spoilt = ({ number }: Card): string => number.slice(0, 15) + String((Number(number[15]) + 1) % 10);
const unknown = withCheckDigit('424242000000001');

test.each<[what: string, body: (card: Card) => Wish, status: number, code: string, sentence: RegExp]>([
  ['a number that was misread', (card) => ({ number: spoilt(card) }), 400, 'validation_error', /^number: is not the number of a card/],
  ['a number nobody has', () => ({ number: unknown }), 404, 'not_found', /no card with this number/],
  ['no amount', () => ({ amount: undefined }), 400, 'invalid_amount', /^amount/],
  ['nothing', () => ({ amount: '0' }), 400, 'invalid_amount', /^amount/],
  ['less than nothing', () => ({ amount: '-5' }), 400, 'invalid_amount', /^amount/],
  ['a number as amount', () => ({ amount: 5 }), 400, 'invalid_amount', /^amount/],
  ['a cvv of four digits', () => ({ cvv: '1234' }), 400, 'validation_error', /^cvv/],
  ['an expiry without a month', () => ({ expiry: '13/30' }), 400, 'validation_error', /^expiry/],
  ['a long description', () => ({ description: 'x'.repeat(501) }), 400, 'validation_error', /^description/],
  ['another payee', () => ({ merchant: '0x' }), 400, 'validation_error', /^merchant: is not a field/],
  ['an operator\'s word', () => ({ credentials: 'right' }), 400, 'validation_error', /^credentials: is not a field/],
])('%s is refused and leaves no trace on the card', async (_what, body, status, code, sentence) => {
  const card = await stage.aCard();
  const reply = await stage.charge(card, body(card));
  expect(reply).toMatchObject({ status, body: { error: code, message: expect.stringMatching(sentence), funds_status: 'no_change' } });
  expect(reply.text).not.toContain(card.number);
  expect((await stage.get(card)).body.card).toMatchObject({ status: 'active', wrongTries: 0 });
  expect((await stage.cancel(card)).status).toBe(200);
});

test('a buyer charges no card of its own and issues none for itself; neither is a wrong try', async () => {
  const card = await stage.aCard();
  expect(await stage.charge(card, {}, stage.buyer)).toMatchObject({ status: 400, body: { error: 'self_trade' } });
  expect((await stage.get(card)).body.card.wrongTries).toBe(0);
  expect(await stage.issue({ merchant: stage.buyer.address })).toMatchObject({ status: 400, body: { error: 'self_trade' } });
});

test.each<[string, Wish, string]>([
  ['amount', { amount: '0' }, 'invalid_amount'], ['merchant', { merchant: 'me' }, 'invalid_address'],
  ['category', { category: 'two words' }, 'validation_error'],
  ['category', { category: 'x', merchant: `0x${'1'.repeat(40)}` }, 'validation_error'],
  ['expiresIn', { expiresIn: '4m' }, 'validation_error'],
  ['expiresIn', { expiresIn: '366d' }, 'validation_error'], ['expiresIn', { expiresIn: 'soon' }, 'validation_error'],
  ['description', { description: 'x'.repeat(501) }, 'validation_error'],
])('an order for a card with a wrong %s is refused: %j', async (field, wish, code) => {
  expect(await stage.issue(wish)).toMatchObject({ status: 400, body: { error: code, details: [{ field }] } });
});

test('more than there is cannot be set aside, and the answer tells the price', async () => {
  expect(await stage.issue({ amount: '100.01' }))
    .toMatchObject({ status: 402, body: { error: 'insufficient_balance', price: '100.010000', funds_status: 'no_change' } });
  expect(await platform().moneyOf(stage.buyer)).toEqual({ available: usdc('100'), pending: 0n });
});

test.each<[what: string, wish: (stage: CardStage) => Wish, body: (card: Card) => Wish, code: string, sentence: RegExp]>([
  ['the wrong merchant', ({ stranger }) => ({ merchant: stranger.address }), () => ({}), 'wrong_merchant', /for another merchant/],
  ['a merchant that offers nothing of the kind', () => ({ category: 'refused-here' }), () => ({}), 'wrong_merchant', /type refused-here/],
  ['a wrong cvv', () => ({}), (card) => ({ cvv: otherCvv(card), expiry: card.expiry }), 'wrong_card_details', /^This cvv/],
  ['a wrong expiry', () => ({}), (card) => ({ cvv: card.cvv, expiry: otherExpiry(card) }), 'wrong_card_details', /^This expiry/],
  ['too much', () => ({}), () => ({ amount: '10.000001' }), 'above_card_limit', /does not cover/],
])('%s: counted four times, and the fifth blocks the card and gives everything back', async (_what, wish, body, code, sentence) => {
  const card = await stage.aCard(wish(stage));
  for (let tries = 1; tries <= 5; tries += 1) {
    const status = tries < 5 ? 'active' : 'blocked';
    const reply = await stage.charge(card, body(card));
    expect(reply).toMatchObject({ status: 403,
      body: { error: code, status, message: expect.stringMatching(sentence), funds_status: tries < 5 ? 'held_pending' : 'returned' } });
    expect((await stage.get(card)).body.card).toMatchObject({ status, wrongTries: tries });
  }
  expect(await platform().moneyOf(stage.buyer)).toEqual({ available: usdc('100'), pending: 0n });
  // From now on the right charge is refused as well.
  expect(await stage.charge(card, { cvv: card.cvv })).toMatchObject({ status: 409, body: { error: 'invalid_state', status: 'blocked' } });
  const { rows } = await platform()
    .db.pool.query<{ version: number; step: string; state: string }>(
    'SELECT version, step, state FROM payment_event WHERE payment_id = $1 ORDER BY version', [card.id]);
  expect(rows.map(({ version, step, state }) => `${version} ${step} ${state}`))
    .toEqual(['1 open active', ...[2, 3, 4, 5].map((n) => `${n} charge active`), '6 charge blocked']);
});

test('after four wrong tries the right one is paid', async () => {
  const card = await stage.aCard();
  for (let tries = 1; tries < 5; tries += 1) await stage.charge(card, { cvv: otherCvv(card) });
  expect((await stage.charge(card, { cvv: card.cvv })).body.card).toMatchObject({ status: 'used', wrongTries: 4 });
});

test('thirty wrong tries at the same moment are five, and the card is blocked once', async () => {
  const card = await stage.aCard();
  const replies = await Promise.all(Array.from({ length: 30 }, () => stage.charge(card, { cvv: otherCvv(card) })));
  for (const { status } of replies) expect([403, 409, 503]).toContain(status);
  for (let tries = 0; tries < 5; tries += 1) await stage.charge(card, { cvv: otherCvv(card) });
  expect((await stage.get(card)).body.card).toMatchObject({ status: 'blocked', wrongTries: 5 });
  expect(await platform().moneyOf(stage.buyer)).toEqual({ available: usdc('100'), pending: 0n });
});

test('who tries numbers that nobody has is stopped after ten, even with a right one; others are not', async () => {
  const card = await stage.aCard();
  const guess = (n: number) => stage.charge({ number: withCheckDigit(`424242${String(n).padStart(9, '0')}`) });
  for (let n = 1; n <= 10; n += 1) expect((await guess(n)).status).toBe(404);
  const stopped = await guess(11);
  expect(stopped).toMatchObject({ status: 429, body: { error: 'rate_limit_exceeded' } });
  expect(Number(stopped.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await stage.charge(card)).status).toBe(429);
  expect((await stage.charge(card, {}, stage.stranger)).status).toBe(200);
});
