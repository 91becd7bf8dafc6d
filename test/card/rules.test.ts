/** The table of the card: every state with every step by everybody, and what a wrong try does. No database, no clock. */
import { cardBounds, cardRules, cardStatuses, cardSteps, type CardInput, type CardPayment, type CardTerms } from '../../domain/card.ts';
import { micros, parseAmount, ZERO } from '../../domain/money.ts';
import { decide, decideByClock } from '../../domain/decide.ts';
import type { Actor, ClockVerdict, Decision, Refusal, Verdict } from '../../domain/payment.ts';

const address = (n: number): string => `0x${String(n).padStart(40, '0')}`;
const [buyer, merchant, stranger] = [address(1), address(2), address(3)];
const NOW = 1_000_000;
const held = parseAmount('10');

function aCard(state: string = 'active',
    { terms = {}, wrongTries = 0 }: { terms?: Partial<CardTerms>; wrongTries?: number } = {}): CardPayment {
  const ended = state !== 'active';
  return {
    id: 'card_1', kind: 'card', state, version: 1, deadlineMs: ended ? null : NOW + 1_000, buyer, seller: state === 'used' ? merchant
      : null, arbiter: null, tenantId: null, asset: 'USDC',
    heldMicros: held, paidMicros: ZERO, returnedMicros: ZERO, resolution: ended ? state : null,
    terms: { merchant: null, category: null, description: null, lifeMs: 86_400_000, last4: '4242', check: '', ...terms },
    details: { expiresAtMs: NOW + 1_000, wrongTries }, meter: null, parts: [], workflowId: 'w', workflowStarted: true, createdAtMs: 0,
    updatedAtMs: 0,
    endedAtMs: ended ? NOW : null,
  };
}

const ten: CardInput = { amountMicros: held, description: 'A thing', credentials: 'not_sent' };
const agent = (who: string): Actor => ({ address: who, as: null });
const operator = (as: Actor['as']): Actor => ({ address: null, as });
const take = (card: CardPayment, step: string, actor: Actor, input: CardInput = ten, nowMs = NOW): Verdict =>
  decide(cardRules, card, { step, actor, input }, nowMs);

function applied(verdict: Verdict): { decision: Decision; refusal: Refusal | null } {
  if (verdict.kind !== 'apply') throw new Error(`Refused: ${verdict.refusal.message}`);
  return verdict;
}
const said = (verdict: ClockVerdict): string => (verdict.kind === 'postpone' ? 'postponed' : verdict.kind === 'apply'
  ? `${verdict.decision.to}${verdict.refusal === null ? '' : ` ${verdict.refusal.code}`}` : verdict.refusal.code);

const everybody: Readonly<Record<string, Actor>> = {
  buyer: agent(buyer), merchant: agent(merchant), stranger: agent(stranger), nobody: operator(null), platform: operator('platform'),
  buyerByOperator: operator('buyer'),
};
/** Who gets what from an active card for one merchant. In every other state whoever may try hears `invalid_state`. */
const active: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  charge: { buyer: 'self_trade', merchant: 'used', stranger: 'active wrong_merchant', nobody: 'unauthorized', platform: 'validation_error',
    buyerByOperator: 'self_trade' },
  cancel: { buyer: 'cancelled', merchant: 'unauthorized', stranger: 'unauthorized', nobody: 'unauthorized', platform: 'unauthorized',
    buyerByOperator: 'cancelled' },
};

test.each(cardStatuses.flatMap((state) => cardSteps.flatMap((step) => Object.keys(everybody).map((who) => [state, step, who] as const))))(
    '%s, %s by %s', (state, step, who) => {
  const onActive = active[step]?.[who] ?? '';
  const refusedAnyhow = ['unauthorized', 'self_trade', 'validation_error'].includes(onActive);
  const verdict = take(aCard(state, { terms: { merchant } }), step, everybody[who] as Actor);
  expect(said(verdict)).toBe(state === 'active' || refusedAnyhow ? onActive : 'invalid_state');
});

test('a charge pays what was asked and gives the rest back, to whoever charges a card for anybody', () => {
  const { decision, refusal } = applied(take(aCard(), 'charge', agent(stranger), { ...ten, amountMicros: parseAmount('4') }));
  expect(refusal).toBeNull();
  expect(decision).toMatchObject({
    to: 'used', deadlineMs: null, isDue: false, resolution: 'charged', seller: stranger, by: stranger, role: 'seller', note: 'A thing',
    details: { chargedFor: 'A thing', wrongTries: 0 },
    moves: [{ move: 'pay', to: stranger, amountMicros: parseAmount('4') }, { move: 'giveBack', amountMicros: 'rest' }],
  });
});

test.each<[string, Partial<CardTerms>, CardInput, string, string]>([
  ['another merchant', { merchant }, ten, 'wrong_merchant', 'This card is for another merchant.'],
  ['a merchant without such a service', { category: 'translation' }, { ...ten, inCategory: false }, 'wrong_merchant', 'type translation'],
  ['a wrong cvv', {}, { ...ten, credentials: 'wrong_cvv' }, 'wrong_card_details', 'This cvv'],
  ['a wrong expiry', {}, { ...ten, credentials: 'wrong_expiry' }, 'wrong_card_details', 'This expiry'],
  ['too high an amount', {}, { ...ten, amountMicros: micros(held + 1n) }, 'above_card_limit', 'does not cover'],
])('%s is a wrong try: counted, on record, refused with a word of its own; the fifth blocks', (_what, terms, input, code, sentence) => {
  for (let wrongTries = 0; wrongTries < cardBounds.wrongTriesMax; wrongTries += 1) {
    const isLast = wrongTries === cardBounds.wrongTriesMax - 1;
    const { decision, refusal } = applied(take(aCard('active', { terms, wrongTries }), 'charge', agent(stranger), input));
    expect(refusal).toMatchObject({ code, message: expect.stringContaining(sentence) });
    expect(refusal?.message).toContain(isLast ? 'blocked' : `Wrong try ${wrongTries + 1} of 5`);
    expect(decision).toMatchObject({
      to: isLast ? 'blocked' : 'active', deadlineMs: isLast ? null : NOW + 1_000, resolution: isLast ? 'blocked' : null, seller: null,
      note: expect.stringContaining(sentence),
      moves: isLast ? [{ move: 'giveBack', amountMicros: 'rest' }] : [], details: { wrongTries: wrongTries + 1 },
    });
  }
});

test('a stranger hears of the merchant only, whatever else is wrong, and nobody hears the limit', () => {
  const verdict = applied(take(aCard('active', { terms: { merchant } }), 'charge', agent(stranger),
    { amountMicros: parseAmount('9999'), credentials: 'wrong_cvv', description: 'x' }));
  expect(verdict.refusal?.code).toBe('wrong_merchant');
  expect(applied(take(aCard(), 'charge', agent(merchant), { ...ten, amountMicros: parseAmount('9999') })).refusal?.message)
    .not.toContain('10');
});

test('after its time the clock comes first, for charge and cancel alike, and gives everything back', () => {
  for (const [step, actor] of [['charge', agent(merchant)], ['cancel', agent(buyer)]] as const) {
    const { decision, refusal } = applied(take(aCard(), step, actor, ten, NOW + 1_000));
    expect(decision).toMatchObject({ step: 'clock', to: 'expired', isDue: true, resolution: 'expired',
      moves: [{ move: 'giveBack', amountMicros: 'rest' }] });
    expect(refusal).toMatchObject({ code: 'invalid_state', message: expect.stringContaining('expired') });
  }
  expect(said(decideByClock(cardRules, aCard(), NOW + 999))).toBe('invalid_state');
});

test('an operator charges for the merchant it names, in any category, and not for the buyer', () => {
  const limited = aCard('active', { terms: { category: 'translation' } });
  expect(applied(take(limited, 'charge', operator('platform'), { ...ten, merchant })).decision)
    .toMatchObject({ to: 'used', seller: merchant, by: 'platform' });
  expect(said(take(aCard(), 'charge', operator('platform'), { ...ten, merchant: buyer }))).toBe('self_trade');
});

test.each<[string, string, unknown, string]>([
  ['no amount', 'charge', { description: 'x' }, 'invalid_amount'],
  ['nothing', 'charge', { amount: '0', description: 'x' }, 'invalid_amount'],
  ['less than nothing', 'charge', { amount: '-1', description: 'x' }, 'invalid_amount'],
  ['a number', 'charge', { amount: 1, description: 'x' }, 'invalid_amount'],
  ['no text', 'charge', { amount: '1', description: 7 }, 'validation_error'],
  ['a word nobody knows', 'charge', { amount: '1', description: 'x', credentials: 'fine' }, 'validation_error'],
  ['no address', 'charge', { amount: '1', description: 'x', merchant: 'me' }, 'validation_error'],
  ['text', 'charge', 'rubbish', 'invalid_amount'],
])('%s is not read as a charge', (_what, step, raw, code) => {
  expect(() => cardRules.read(step as 'charge', raw)).toThrow(expect.objectContaining({ code }));
});
