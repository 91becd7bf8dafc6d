/** One card in the docs: issued, charged in part by its merchant, or cancelled. */
import { cardExpiry, cardPrefix, withCheckDigit } from '../../domain/card-number.ts';
import type { CardPayment } from '../../domain/card.ts';
import { micros, parseAmount, ZERO } from '../../domain/money.ts';
import { showCard } from '../card-shapes.ts';
import { at, buyer, digits, seller, wholePage } from './cast.ts';

const DAY_MINUTES = 24 * 60;
const ms = (minutes: number): number => at(minutes).getTime();
const number = withCheckDigit(`${cardPrefix}170829361`);
const [held, paid] = [parseAmount('25'), parseAmount('19.90')];

const active: CardPayment = {
  id: `card_${digits}`, kind: 'card', state: 'active', version: 1, deadlineMs: ms(DAY_MINUTES), buyer, seller: null, arbiter: null, tenantId: null, asset: 'USDC',
  heldMicros: held, paidMicros: ZERO, returnedMicros: ZERO, resolution: null,
  terms: { merchant: seller, category: null, description: 'A month of word statistics', lifeMs: DAY_MINUTES * 60_000, last4: number.slice(-4), check: '' },
  details: { expiresAtMs: ms(DAY_MINUTES), wrongTries: 0 }, workflowId: `virtual-card-card_${digits}`, workflowStarted: true,
  createdAtMs: ms(0), updatedAtMs: ms(0), endedAtMs: null,
};
const ended = { ...active, version: 2, deadlineMs: null, updatedAtMs: ms(50), endedAtMs: ms(50) };
const used: CardPayment = {
  ...ended, state: 'used', resolution: 'charged', seller, paidMicros: paid, returnedMicros: micros(held - paid),
  details: { ...active.details, chargedFor: 'Word statistics, February' },
};

export const issueExample = {
  body: { amount: '25', merchant: seller, description: 'A month of word statistics' },
  answer: { card: { ...showCard(active), number, cvv: '031', expiry: cardExpiry(active.createdAtMs) } },
};
export const chargeExample = {
  body: { number, amount: '19.90', description: 'Word statistics, February', cvv: '031', expiry: cardExpiry(active.createdAtMs) },
  answer: { card: showCard(used) },
};
export const cancelExample = { answer: { card: showCard({ ...ended, state: 'cancelled', resolution: 'cancelled', returnedMicros: held }) } };
export const oneExample = { answer: { card: showCard(active) } };
export const listExample = { answer: { cards: [showCard(used)], ...wholePage } };
