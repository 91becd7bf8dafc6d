/** The workflow behind a card, on a real Temporal: its clock, its messages, and its absence. */
import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { parseAmount } from '../../domain/money.ts';
import { cardKind } from '../../payments/kinds.ts';
import { createCardSecrets } from '../../platform/card-secrets.ts';
import { setCardStage, type CardStage } from '../support/cards.ts';
import { deadlineIn } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, story } = createPlatformSuite({ WORKER_QUEUES: 'card' });
let stage: CardStage;
beforeEach(async () => {
  stage = await setCardStage(platform(), '100');
});

const handleOf = (id: string) => platform().temporal.client.workflow.getHandle(`virtual-card-${id}`);
const viewOf = (id: string) => handleOf(id).query<{ state: string; version: number; lastRefusal: string | null }>('surety-view');
const codeOf = async (asked: Promise<unknown>): Promise<unknown> => {
  const error: unknown = await asked.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  let cause = error as { cause?: { type?: string }; type?: string };
  while (cause.cause !== undefined) cause = cause.cause as typeof cause;
  return cause.type;
};

story('what nobody charges is expired by the timer of its workflow', async () => {
  const { buyer } = await setCardStage(platform(), '100');
  const { lookup, last4, check } = createCardSecrets('a key for tests').make();
  // Shorter than the route allows.
  const { payment } = await platform().runtime.ports.payments.open(cardKind, {
    buyer: buyer.address, seller: null, arbiter: null, tenantId: null, asset: 'USDC', amountMicros: parseAmount('3'), lookup,
    terms: { merchant: null, category: null, description: null, lifeMs: 1_000, last4, check },
  }, null);
  expect(await handleOf(payment.id).result())
    .toMatchObject({ state: 'expired', resolution: 'expired', role: 'clock', paid: [], returned: '3.000000' });
  const { body: { card } } = await platform().ask('GET', `/v1/cards/${payment.id}`, { key: buyer.key });
  expect(card).toMatchObject({ status: 'expired', returnedAmount: '3.000000' });
  expect(Date.parse(card.endedAt) - Date.parse(card.expiresAt)).toBeLessThan(8_000);
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('100'), pending: 0n });
});

story('without its workflow a card is expired by the sweeper, ten seconds after its time', async () => {
  const lost = await setCardStage(platform(), '100');
  const card = await lost.aCard();
  await eventually(async () => expect((await viewOf(card.id)).state).toBe('active'));
  await handleOf(card.id).terminate('lost');
  await expect(handleOf(card.id).result()).rejects.toThrow(WorkflowFailedError);
  await deadlineIn(platform().db.pool, card.id, -11_000);
  await eventually(async () => expect((await lost.get(card)).body.card).toMatchObject({ status: 'expired' }));
});

test('steps over HTTP go through the workflow: it shows a wrong try, whom it paid, and how it ended', async () => {
  const card = await stage.aCard({ merchant: stage.merchant.address });
  expect((await handleOf(card.id).describe()).searchAttributes)
    .toMatchObject({ Buyer: [stage.buyer.address], PaymentState: ['active'], AmountUsd: [10] });
  await stage.charge(card, {}, stage.stranger);
  await eventually(async () => expect(await viewOf(card.id)).toMatchObject({ state: 'active', version: 2 }));
  await stage.charge(card, { amount: '4' });
  expect(await handleOf(card.id).result()).toEqual({
    id: card.id, state: 'used', resolution: 'charged', by: stage.merchant.address, role: 'seller', reason: 'A thing',
    paid: [{ to: stage.merchant.address, amount: '4.000000' }], returned: '6.000000', version: 3,
  });
  const { searchAttributes, status } = await handleOf(card.id).describe();
  expect(status.name).toBe('COMPLETED');
  expect(searchAttributes).toMatchObject({ PaymentState: ['used'], PaymentOutcome: ['split'], Seller: [stage.merchant.address] });
});

test('operators charge and cancel by update, for the merchant they name; what is refused answers with our code and counts where it should',
    async () => {
  const [charged, cancelled] = [await stage.aCard(), await stage.aCard()];
  const charge = (input: object) => handleOf(charged.id).executeUpdate<unknown, [object]>('surety-charge', { args: [input] });
  const merchant = stage.merchant.address;
  expect(await codeOf(charge({ amount: '4', description: 'By hand' }))).toBe('validation_error');
  expect(await codeOf(charge({ amount: '0', description: 'By hand', merchant }))).toBe('invalid_amount');
  expect(await codeOf(charge({ amount: '4', description: 'By hand', merchant: stage.buyer.address }))).toBe('self_trade');
  expect(await codeOf(charge({ amount: '11', description: 'By hand', merchant }))).toBe('above_card_limit');
  expect((await stage.get(charged)).body.card).toMatchObject({ status: 'active', wrongTries: 1 });
  expect(await charge({ amount: '4', description: 'By hand', merchant })).toMatchObject({ state: 'used', version: 3 });
  expect((await stage.get(charged, stage.merchant)).body.card)
    .toMatchObject({ status: 'used', chargedAmount: '4.000000', chargedBy: merchant, chargedFor: 'By hand' });
  expect(await handleOf(cancelled.id).executeUpdate('surety-cancel')).toMatchObject({ state: 'cancelled', ended: true });
  for (const { id } of [charged, cancelled]) await handleOf(id).result();
});

test('and by signal, whose refusal is kept for whoever looks', async () => {
  const [charged, cancelled, blocked] = [await stage.aCard(), await stage.aCard(), await stage.aCard()];
  const input = { amount: '4', description: 'By hand', merchant: stage.merchant.address };
  await handleOf(charged.id).signal('surety-charge', { ...input, amount: '11' });
  await eventually(async () => expect((await viewOf(charged.id)).lastRefusal).toMatch(/does not cover.*Wrong try 1 of 5/));
  await handleOf(charged.id).signal('surety-charge', input);
  await handleOf(cancelled.id).signal('surety-cancel');
  for (let n = 0; n < 5; n += 1) await handleOf(blocked.id).signal('surety-charge', { ...input, amount: '11' });
  expect(await Promise.all([charged, cancelled, blocked].map(({ id }) => handleOf(id).result())))
    .toMatchObject([{ state: 'used' }, { state: 'cancelled' }, { state: 'blocked', paid: [], returned: '10.000000' }]);
  expect((await stage.get(blocked)).body.card).toMatchObject({ status: 'blocked', wrongTries: 5 });
});

test('a card whose workflow was terminated is charged all the same', async () => {
  const card = await stage.aCard();
  await eventually(async () => expect((await viewOf(card.id)).state).toBe('active'));
  await handleOf(card.id).terminate('lost');
  expect((await stage.charge(card, { amount: '1' })).body.card).toMatchObject({ status: 'used', chargedAmount: '1.000000' });
});
