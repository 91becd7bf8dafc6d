/** Amounts as the demo prints them. Money stays bigint micros; only the text is shortened for people. */
import { formatMicros, isAmountText, parseAmount, ZERO } from '../domain/money.ts';

/** Reads an amount of an answer, where zero is a fine balance. @throws RangeError for anything that is no amount. */
export function readAmount(text: unknown): bigint {
  if (typeof text !== 'string' || !isAmountText(text, true)) throw new RangeError(`"${String(text)}" is no amount.`);
  return /[1-9]/.test(text) ? parseAmount(text) : ZERO;
}

/** 1500000 → "1.50", 5000 → "0.005": two places at least, and no zeros beyond them. */
export function coins(micros: bigint): string {
  return formatMicros(micros).replace(/(\.\d\d\d*?)0+$/, '$1');
}

/** As `coins`, with a plus for what came in. */
export function change(micros: bigint): string {
  return micros > 0n ? `+${coins(micros)}` : coins(micros);
}
