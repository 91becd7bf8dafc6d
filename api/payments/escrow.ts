/** An escrow: created, delivered, disputed, ruled, and where its money went. */
import { escrowKind as onEngine } from '../../payments/kinds.ts';
import { endOf, engineKind, type SentenceAbout } from './engine.ts';
import { money } from './timeline.ts';

const ended = (...[step, payment]: SentenceAbout): string => endOf(step, payment, 'escrow');

export const escrowKind =
    engineKind(onEngine, ({ heldMicros, paidMicros, returnedMicros }) =>
    ({ amount: heldMicros, released: paidMicros, refunded: returnedMicros }), {
  open: ({ heldMicros }, { asset }) => `The buyer put ${money(heldMicros, asset)} into an escrow.`,
  deliver: 'The seller says that it has delivered; the buyer can look at it and dispute it.',
  dispute: 'The buyer disputes the delivery; the money stays until somebody rules.',
  arbitrate: 'The arbiter was called in.',
  evidence: 'A party handed in evidence.',
  confirm: ended, cancel: ended, decline: ended, resolve: ended, clock: ended,
});
