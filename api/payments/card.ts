/** A virtual card: issued, tried, charged, and what went back. */
import type { Payment } from '../../domain/payment.ts';
import { cardKind as onEngine } from '../../payments/kinds.ts';
import { endOf, engineKind, type SentenceAbout } from './engine.ts';
import { money } from './timeline.ts';

const ended = (...[step, payment]: SentenceAbout): string => endOf(step, payment, 'card');

const amountsOf = ({ heldMicros: amount, paidMicros: charged, returnedMicros: returned }: Payment) => ({ amount, charged, returned });

export const cardKind = engineKind(onEngine, amountsOf, {
  open: ({ heldMicros }, { asset }) => `The buyer issued a card for up to ${money(heldMicros, asset)}.`,
  charge: (step, payment) => {
    if (step.state === 'used') return ended(step, payment);
    const refused = `A try to charge the card was refused: ${step.note ?? ''}`;
    return step.state === 'blocked' ? `${refused} It was the last. ${ended(step, payment)}` : refused;
  },
  cancel: ended, clock: ended,
});
