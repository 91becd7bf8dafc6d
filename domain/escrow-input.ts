/** What may be sent with a step of an escrow, whichever way it comes: the fields are those of the HTTP route of the same name. */
import { SuretyError } from './errors.ts';
import type { EscrowStep } from './escrow.ts';
import { isAddress, normaliseAddress } from './ids.ts';
import { parseAmount, type Micros } from './money.ts';
import { fieldsOf, textOf, wrongField } from './step-input.ts';

export const rulings = ['release', 'refund', 'partial'] as const;
export type Ruling = (typeof rulings)[number];

export const escrowBounds = {
  durationMsMin: 1_000,
  durationMsMax: 365 * 86_400_000,
  deliveryMsDefault: 300_000,
  reviewMsDefault: 24 * 3_600_000,
  rulingMsDefault: 72 * 3_600_000,
  textMax: 10_000,
  evidenceEachMax: 20,
  reasonMax: 1_000,
} as const;

/** A step's input once it has been read. */
export interface EscrowInput {
  /** Of a dispute or a ruling. */
  readonly reason?: string;
  /** Of evidence. */
  readonly content?: string;
  /** Whom somebody wants to call in; null where nobody was named. */
  readonly arbiter?: string | null;
  readonly ruling?: Ruling;
  /** What a partial ruling gives the seller. */
  readonly amountMicros?: Micros | null;
}

/**
 * Reads what was sent with a step.
 * @throws SuretyError validation_error, invalid_amount, invalid_address.
 */
export function readEscrowInput(step: EscrowStep, raw: unknown): EscrowInput {
  const fields = fieldsOf(raw);
  switch (step) {
    case 'dispute':
      return { reason: textOf(fields, 'reason', escrowBounds.textMax) };
    case 'evidence':
      return { content: textOf(fields, 'content', escrowBounds.textMax) };
    case 'arbitrate': {
      const named = fields['arbitratorAddr'];
      if (named === undefined || named === null) return { arbiter: null };
      if (typeof named !== 'string' || !isAddress(named))
        throw new SuretyError('invalid_address', 'arbitratorAddr: must be 0x followed by 40 hexadecimal digits');
      return { arbiter: normaliseAddress(named) };
    }
    case 'resolve': {
      const ruling = rulings.find((known) => known === fields['resolution']);
      if (ruling === undefined) throw wrongField('resolution', `must be one of ${rulings.join(', ')}`);
      const amount = fields['releaseAmount'] ?? fields['partialAmount'];
      return {
        ruling,
        ...(ruling === 'partial' ? { amountMicros: parseAmount(typeof amount === 'string' ? amount : '') } : {}),
        ...(fields['reason'] === undefined ? {} : { reason: textOf(fields, 'reason', escrowBounds.reasonMax) }),
      };
    }
    default:
      return {};
  }
}
