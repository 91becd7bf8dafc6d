/**
 * One-time virtual card: money up to an amount for one merchant, a type of service or anybody, charged once with its number. The tables
 * below are the rules; nothing repeats them. What the edge found out about number, cvv and expiry comes as a word: secrets stop there.
 */
import { isAddress, normaliseAddress } from './ids.ts';
import { parseAmount, ZERO, type Micros } from './money.ts';
import { refusal, type Choice, type Context, type Payment, type Refusal, type Rules } from './payment.ts';
import { fieldsOf, textOf, wrongField } from './step-input.ts';

export const cardStatuses = ['active', 'used', 'expired', 'cancelled', 'blocked'] as const;
export type CardStatus = (typeof cardStatuses)[number];

/** What can be done with a card; also the names of its updates and signals, after `surety-`. */
export const cardSteps = ['charge', 'cancel'] as const;
export type CardStep = (typeof cardSteps)[number];

export const cardBounds = {
  lifeMsMin: 5 * 60_000, lifeMsMax: 365 * 86_400_000, lifeMsDefault: 24 * 3_600_000, textMax: 500, wrongTriesMax: 5,
} as const;

/** What a card was issued for; nothing of it changes. */
export interface CardTerms {
  /** Nobody else may charge it; null: see `category`. */
  readonly merchant: string | null;
  /** Only who offers an active service of this type may; null, and no merchant: anybody. */
  readonly category: string | null;
  readonly description: string | null;
  readonly lifeMs: number;
  readonly last4: string;
  /** Keyed hash of number and cvv together. */
  readonly check: string;
}

export interface CardDetails {
  readonly expiresAtMs: number;
  readonly wrongTries: number;
  /** What the merchant said it is for, once charged. */
  readonly chargedFor?: string;
}

export type CardPayment = Payment<CardTerms, CardDetails>;

/** What came of comparing cvv and expiry, as far as they were sent. */
export const credentials = ['right', 'wrong_cvv', 'wrong_expiry', 'not_sent'] as const;
export type Credentials = (typeof credentials)[number];

/** A step's input once it has been read. */
export interface CardInput {
  readonly amountMicros?: Micros;
  readonly description?: string;
  readonly credentials?: Credentials;
  /** Does the merchant offer a service of the card's category? Left out: nobody has looked, an operator vouches for it. */
  readonly inCategory?: boolean;
  /** Whom an operator charges for. */
  readonly merchant?: string;
}

type CardContext = Context<CardTerms, CardDetails, CardInput>;

export const cardRules: Rules<CardTerms, CardDetails, CardInput, CardStatus, CardStep> = {
  kind: 'card', noun: 'card', bucket: 'pending',
  opens: { to: 'active', details: (deadlineMs) => ({ expiresAtMs: deadlineMs ?? 0, wrongTries: 0 }) },
  steps: {
    charge: {
      by: ['buyer', 'seller', 'platform'], only: 'Only a merchant may charge a card.', operator: 'platform', verb: 'charge it',
      unless: notAMerchant, note: ({ description }) => description ?? null,
    },
    cancel: { by: ['buyer'], only: 'Only the agent who issued the card may cancel it.', operator: 'buyer', verb: 'cancel it' },
  },
  states: {
    active: {
      funds: 'held_pending', time: 'validity', until: ({ terms }, nowMs) => nowMs + terms.lifeMs,
      clock: { to: 'expired', moves: 'giveBack', resolution: 'expired' },
      on: {
        charge: { to: ['used', 'active', 'blocked'], choose: charge },
        cancel: { to: 'cancelled', moves: 'giveBack', resolution: 'cancelled' },
      },
    },
    used: { funds: 'settled_safe', end: true },
    expired: { funds: 'returned', end: true },
    cancelled: { funds: 'returned', end: true },
    blocked: { funds: 'returned', end: true },
  },
  read: readCardInput,
  // Whoever holds the number may try; the one who succeeds becomes the payee.
  roleOf: () => 'seller',
};

/** Pays what is asked and gives the rest back, or counts a wrong try; the last of them blocks the card. */
function charge(context: CardContext): Choice<CardStatus> {
  const { payment: { details }, input: { amountMicros = ZERO, description } } = context;
  const wrong = wrongTry(context);
  const rest = { move: 'giveBack', amountMicros: 'rest' } as const;
  if (wrong === null) {
    const seller = merchantOf(context) ?? '';
    const moves = [{ move: 'pay', to: seller, amountMicros }, rest] as const;
    return { to: 'used', moves, resolution: 'charged', seller,
      ...(description === undefined ? {} : { details: { chargedFor: description } }) };
  }
  const wrongTries = details.wrongTries + 1;
  const isLast = wrongTries >= cardBounds.wrongTriesMax;
  const count = isLast ? 'It was the last wrong try: the card is blocked, and its money is back with the buyer.'
    : `Wrong try ${wrongTries} of ${cardBounds.wrongTriesMax}.`;
  const counted = { details: { wrongTries }, note: wrong.message, refusal: { code: wrong.code, message: `${wrong.message} ${count}` } };
  if (isLast) return { to: 'blocked', moves: [rest], resolution: 'blocked', ...counted };
  return { to: 'active', moves: [], resolution: null, ...counted };
}

/** What is wrong with a charge. The merchant comes first: strangers learn nothing of cvv and amount; nor does anybody learn the limit. */
function wrongTry(context: CardContext): Refusal | null {
  const { payment: { terms, heldMicros }, input } = context;
  const isOther = terms.merchant !== null && terms.merchant !== merchantOf(context);
  if (isOther) return refusal('wrong_merchant', 'This card is for another merchant.');
  if (terms.category !== null && input.inCategory === false) {
    return refusal('wrong_merchant', `This card is for merchants with an active service of the type ${terms.category}.`);
  }
  if (input.credentials === 'wrong_cvv') return refusal('wrong_card_details', 'This cvv is not that of the card.');
  if (input.credentials === 'wrong_expiry') return refusal('wrong_card_details', 'This expiry is not that of the card.');
  return (input.amountMicros ?? 0n) > heldMicros ? refusal('above_card_limit', 'The card does not cover this amount.') : null;
}

function notAMerchant(context: CardContext): Refusal | null {
  const merchant = merchantOf(context);
  if (merchant === null) return refusal('validation_error', 'merchant: who charges for a merchant must name it');
  return merchant === context.payment.buyer ? refusal('self_trade', 'An agent cannot charge its own card.') : null;
}

/** Who would be paid: the one who asks, or the one an operator names. */
function merchantOf({ by, input }: CardContext): string | null {
  return input.merchant ?? (isAddress(by) ? by : null);
}

/**
 * Reads what was sent with a step.
 * @throws SuretyError validation_error, invalid_amount, invalid_address.
 */
function readCardInput(step: CardStep, raw: unknown): CardInput {
  if (step === 'cancel') return {};
  const fields = fieldsOf(raw);
  const { amount, description, merchant, inCategory, credentials: found = 'not_sent' } = fields;
  const known = credentials.find((word) => word === found);
  if (known === undefined) throw wrongField('credentials', `must be one of ${credentials.join(', ')}`);
  if (merchant !== undefined && !(typeof merchant === 'string' && isAddress(merchant))) throw wrongField('merchant', 'must be an address');
  const amountMicros = parseAmount(typeof amount === 'string' ? amount : '');
  return {
    amountMicros, credentials: known,
    ...(description === undefined ? {} : { description: textOf(fields, 'description', cardBounds.textMax) }),
    ...(merchant === undefined ? {} : { merchant: normaliseAddress(merchant) }), ...(typeof inCategory === 'boolean' ? { inCategory } : {}),
  };
}
