/** An escrow: created, delivered, disputed, ruled, and where its money went. */
import { idPrefixes } from '../../domain/ids.ts';
import { amountIn, keptKind } from './kept.ts';

export const escrowKind = keptKind({
  kind: 'escrow', prefix: idPrefixes.escrow, shape: 'escrow', refs: ({ id }) => [id],
  tell: {
    created: (data) => `The buyer put ${amountIn(data, 'amount')} into an escrow.`,
    delivered: 'The seller says that it has delivered; the buyer can look at it and dispute it.',
    disputed: 'The buyer disputes the delivery; the money stays until somebody rules.',
    arbitrating: 'The arbiter was called in.',
    evidence: 'A party handed in evidence.',
    released: (data) => `The escrow ended (${String(data['resolution'])}): ${amountIn(data, 'released')} for the seller, ${amountIn(data, 'refunded')} back to the buyer.`,
    refunded: (data) => `The escrow ended (${String(data['resolution'])}): ${amountIn(data, 'refunded')} back to the buyer.`,
  },
});
