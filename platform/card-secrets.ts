/** Numbers and cvvs of cards: made here, shown once, and known afterwards only by hashes that need the platform's key. */
import { createHmac, randomInt, timingSafeEqual } from 'node:crypto';
import type { CardTerms, Credentials } from '../domain/card.ts';
import { cardExpiry, cardPrefix, cardRandomDigits, withCheckDigit } from '../domain/card-number.ts';

/** What a card is known by: `number` and `cvv` for its holder, `lookup` and `check` for us. */
export interface CardSecret extends Pick<CardTerms, 'last4' | 'check'> {
  readonly number: string;
  readonly cvv: string;
  readonly lookup: string;
}

export interface CardSecrets {
  /** A new number; whether another card has it is for the books to say. */
  make(): CardSecret;
  lookupOf(number: string): string;
  /** Compares what a merchant sent with the card that the number led to. */
  judge(
    sent: { readonly number: string; readonly cvv?: string | undefined; readonly expiry?: string | undefined },
    card: { readonly check: string; readonly issuedAtMs: number },
  ): Credentials;
}

/** @param key known to every process that shares the database. */
export function createCardSecrets(key: string): CardSecrets {
  const hash = (what: 'number' | 'cvv', text: string): string => createHmac('sha256', key).update(`card ${what} ${text}`).digest('hex');
  // With the number in it, equal cvvs of two cards do not look alike.
  const checkOf = (number: string, cvv: string): string => hash('cvv', `${number} ${cvv}`);
  const lookupOf = (number: string): string => hash('number', number);
  return {
    lookupOf,
    make() {
      const number = withCheckDigit(cardPrefix + digits(cardRandomDigits));
      const cvv = digits(3);
      return { number, cvv, lookup: lookupOf(number), check: checkOf(number, cvv), last4: number.slice(-4) };
    },
    judge({ number, cvv, expiry }, { check, issuedAtMs }) {
      if (cvv !== undefined && !timingSafeEqual(Buffer.from(checkOf(number, cvv)), Buffer.from(check))) return 'wrong_cvv';
      if (expiry !== undefined && expiry !== cardExpiry(issuedAtMs)) return 'wrong_expiry';
      return cvv === undefined && expiry === undefined ? 'not_sent' : 'right';
    },
  };
}

/** So many digits from the system's generator for secrets. */
function digits(count: number): string {
  return String(randomInt(10 ** count)).padStart(count, '0');
}
