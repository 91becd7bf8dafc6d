/** What became of the escrow of the docs, which its buyer confirmed. */
import { parseAmount } from '../../../domain/money.ts';
import { rolesOf, type Party } from '../../payments/kind.ts';
import { postingEntry } from '../../payments/timeline.ts';
import type { TimelinePosting } from '../../../ledger/timeline.ts';
import { at, buyer, digits, seller } from './cast.ts';

const id = `esc_${digits}`;
const parties: readonly Party[] = [{ role: 'buyer', address: buyer }, { role: 'seller', address: seller }];

function posting(change: Pick<TimelinePosting, 'id' | 'kind' | 'from' | 'to'>, minutes: number): object {
  const { kind, what, data } =
    postingEntry({ atMicros: 0n, ref: id, part: id, asset: 'USDC', amountMicros: parseAmount('1.50'), note: null, ...change },
    rolesOf(parties));
  return { at: at(minutes).toISOString(), kind, what, data };
}
const state = (name: string, what: string, minutes: number, data: object): object =>
  ({ at: at(minutes).toISOString(), kind: 'state', what, data: { state: name, ...data } });

export const paymentExample = {
  answer: {
    payment: {
      kind: 'escrow', id, state: 'released', ended: true, amounts: { amount: '1.500000', released: '1.500000', refunded: '0.000000' },
      parties,
      workflowId: `escrow-${id}`, temporalUrl: `http://127.0.0.1:8233/namespaces/default/workflows/escrow-${id}`,
      createdAt: at(0).toISOString(), endedAt: at(50).toISOString(),
      timeline: [
        state('created', 'The buyer put 1.500000 USDC into an escrow.', 0, { amount: '1.500000' }),
        posting({ id: 17n, kind: 'hold', from: buyer, to: buyer }, 0),
        state('delivered', 'The seller says that it has delivered; the buyer can look at it and dispute it.', 40, { by: seller }),
        state('released', 'The escrow ended (buyer_confirmed): 1.500000 USDC for the seller, 0.000000 USDC back to the buyer.', 50,
          { by: buyer, resolution: 'buyer_confirmed', released: '1.500000', refunded: '0.000000' }),
        posting({ id: 18n, kind: 'capture', from: buyer, to: seller }, 50),
      ],
    },
    has_more: false,
  },
};
