/** How virtual cards look on the wire, and what requests about them may hold. */
import { z } from 'zod';
import { isCardNumber } from '../../domain/card-number.ts';
import { cardBounds, cardStatuses, type CardPayment, type CardStatus } from '../../domain/card.ts';
import { formatMicros } from '../../domain/money.ts';
import {
  address, addressOut, amount, amountOut, currency, currencyOut, duration, emptyIsAbsent, line, serviceType, textIf, timeIf, timeOut,
} from './fields.ts';

const { lifeMsMin, lifeMsMax, lifeMsDefault, textMax } = cardBounds;

export const cardOut = z.object({
  id: z.string(), buyer: addressOut, status: z.enum(cardStatuses), amount: amountOut.describe('The most that can be charged; set aside.'),
  currency: currencyOut, chargedAmount: amountOut, returnedAmount: amountOut,
  merchant: addressOut.optional().describe('Who alone may charge it.'),
  category: z.string().optional().describe('What who charges it must sell.'), description: z.string().optional(), last4: z.string(),
  expiresAt: timeOut.describe('Not charged by then, the money goes back.'), wrongTries: z.number().int().describe('The fifth blocks it.'),
  chargedBy: addressOut.optional(), chargedFor: z.string().optional(), resolution: z.string().optional(), endedAt: timeOut.optional(),
  tenantId: z.string().optional(), workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
});

/** The only answer that ever holds the secrets. */
export const issuedOut = cardOut.extend({
  number: z.string().optional().describe('Shown in this answer only; stored nowhere.'),
  cvv: z.string().optional(), expiry: z.string().optional(),
});

/** Without number, cvv and expiry, which nobody has any more. */
export function showCard(card: CardPayment): z.input<typeof cardOut> {
  const { id, buyer, state, terms, details, heldMicros, paidMicros, returnedMicros, createdAtMs, updatedAtMs } = card;
  return {
    id, buyer, status: state as CardStatus, amount: formatMicros(heldMicros), currency: card.asset, chargedAmount: formatMicros(paidMicros),
    returnedAmount: formatMicros(returnedMicros), last4: terms.last4, wrongTries: details.wrongTries, workflowId: card.workflowId,
    ...textIf('merchant', terms.merchant), ...textIf('category', terms.category), ...textIf('description', terms.description),
    ...textIf('chargedBy', card.seller), ...textIf('chargedFor', details.chargedFor), ...textIf('resolution', card.resolution),
    ...textIf('tenantId', card.tenantId), ...timeIf('endedAt', card.endedAtMs), expiresAt: new Date(details.expiresAtMs).toISOString(),
    createdAt: new Date(createdAtMs).toISOString(), updatedAt: new Date(updatedAtMs).toISOString(),
  };
}

const orNothing = <S extends z.ZodType>(schema: S) => z.preprocess(emptyIsAbsent, schema.optional());

export const issueBody = z.object({
  amount: amount.describe('The most that can be charged.'), currency, merchant: orNothing(address).describe('Who alone may charge it.'),
  category: orNothing(serviceType).describe('Only who offers an active service of this type may charge it.'),
  description: orNothing(line(textMax)).describe('What it is for.'),
  expiresIn: duration({ msMin: lifeMsMin, msMax: lifeMsMax, fallbackMs: lifeMsDefault }).describe('24h when left out.'),
}).refine(({ merchant, category }) => merchant === undefined || category === undefined, {
  path: ['category'], error: 'cannot be given together with merchant',
});

export const chargeBody = z.object({
  number: z.string().refine(isCardNumber, 'is not the number of a card: sixteen digits, the last of which must fit'),
  amount: amount.describe('Paid to you; the rest goes back to the buyer.'), description: orNothing(line(textMax))
    .describe('What it is for.'),
  cvv: orNothing(z.string().regex(/^[0-9]{3}$/, 'must be three digits')).describe('Compared where it is sent.'),
  expiry: orNothing(z.string().regex(/^(0[1-9]|1[0-2])\/[0-9]{2}$/, 'must be MM/YY')).describe('Compared where it is sent.'),
});
