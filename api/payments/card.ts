/** A virtual card: issued, tried, charged, and what went back. */
import type { Payment } from '../../domain/payment.ts';
import { cardKind as onEngine } from '../../payments/kinds.ts';
import { endOf, engineKind } from './engine.ts';
import { usdc } from './timeline.ts';

const ended = (step: Parameters<typeof endOf>[0]): string => endOf(step, 'card');

const amountsOf = ({ heldMicros: amount, paidMicros: charged, returnedMicros: returned }: Payment) => ({ amount, charged, returned });

export const cardKind = engineKind(onEngine, amountsOf, {
  open: ({ heldMicros }) => `The buyer issued a card for up to ${usdc(heldMicros)}.`,
  charge: (step) => {
    if (step.state === 'used') return ended(step);
    const refused = `A try to charge the card was refused: ${step.note ?? ''}`;
    return step.state === 'blocked' ? `${refused} It was the last. ${ended(step)}` : refused;
  },
  cancel: ended, clock: ended,
});
