/** A multistep escrow: its plan, each step that was paid, and what went back. */
import { multistepKind as onEngine } from '../../payments/kinds.ts';
import { engineKind } from './engine.ts';
import type { PaymentKind } from './kind.ts';
import { money } from './timeline.ts';

const ended: Parameters<typeof engineKind>[2][string] = ({ resolution, returnedMicros }, { asset }) =>
  `It ended (${resolution ?? ''}) before every step was confirmed: ${money(returnedMicros, asset)} back to the buyer.`;

/** Clients know it by another name than the engine does. */
export const multistepKind: PaymentKind = {
  ...engineKind(onEngine, ({ heldMicros: total, paidMicros: spent, returnedMicros: refunded }) => ({ total, spent, refunded }), {
    open: ({ heldMicros }, { asset }) => `The buyer put ${money(heldMicros, asset)} into an escrow of several steps.`,
    'confirm-step': ({ note, paidMicros, resolution }, { asset }) => {
      const paid = `The buyer confirmed ${note ?? 'a step'}; its seller gets ${money(paidMicros, asset)}.`;
      return resolution === null ? paid : `${paid} Every step is paid.`;
    },
    refund: ended, clock: ended,
  }),
  kind: 'multistep_escrow',
};
