/** One card in the docs: issued, charged in part by its merchant, or cancelled. */
import { cardExpiry, cardPrefix, withCheckDigit } from '../../../domain/card-number.ts';
import type { CardPayment } from '../../../domain/card.ts';
import { micros, parseAmount, ZERO } from '../../../domain/money.ts';
import { showCard } from '../card.ts';
import { at, buyer, digits, seller, wholePage } from './cast.ts';

const [issuedAtMs, chargedAtMs, expiresAtMs] = [at(0).getTime(), at(50).getTime(), at(24 * 60).getTime()];
const [held, paid] = [parseAmount('25'), parseAmount('19.90')];
const [description, chargedFor] = ['A month of word statistics', 'Word statistics, February'];
const secret = { number: withCheckDigit(`${cardPrefix}170829361`), cvv: '031', expiry: cardExpiry(issuedAtMs) };

const active: CardPayment = {
  id: `card_${digits}`, kind: 'card', state: 'active', version: 1, deadlineMs: expiresAtMs, buyer, seller: null, arbiter: null,
  tenantId: null, asset: 'USDC', heldMicros: held, paidMicros: ZERO, returnedMicros: ZERO, resolution: null,
  details: { expiresAtMs, wrongTries: 0 },
  terms: { merchant: seller, category: null, description, lifeMs: expiresAtMs - issuedAtMs, last4: secret.number.slice(-4), check: '' },
  meter: null, parts: [], workflowId: `virtual-card-card_${digits}`, workflowStarted: true, createdAtMs: issuedAtMs,
  updatedAtMs: issuedAtMs, endedAtMs: null,
};
const ended = { ...active, version: 2, deadlineMs: null, updatedAtMs: chargedAtMs, endedAtMs: chargedAtMs };
const back = { paidMicros: paid, returnedMicros: micros(held - paid) };
const used = { ...ended, ...back, state: 'used', resolution: 'charged', seller, details: { ...active.details, chargedFor } };
const cancelled = { ...ended, state: 'cancelled', resolution: 'cancelled', returnedMicros: held };

export const issueExample = { body: { amount: '25', merchant: seller, description }, answer: { card: { ...showCard(active), ...secret } } };
export const chargeExample = { body: { ...secret, amount: '19.90', description: chargedFor }, answer: { card: showCard(used) } };
export const cancelExample = { answer: { card: showCard(cancelled) } };
export const oneExample = { answer: { card: showCard(active) } };
export const listExample = { answer: { cards: [showCard(used)], ...wholePage } };
