/**
 * Money in its three forms: a decimal string on the wire, a digit string of micros through Temporal, a branded bigint of micros
 * in memory. This is the one place where text becomes money and money becomes text.
 */
import { Decimal } from 'decimal.js';
import { SuretyError } from './errors.ts';

declare const microsBrand: unique symbol;
/** An amount in millionths of its asset (1 USDC = 1,000,000 micros). Never negative. */
export type Micros = bigint & { readonly [microsBrand]: true };

const DECIMALS = 6;
/** What accounts can hold. Each is counted in millionths; one with other decimal places does not compile before its text can be read. */
export const assets = { USDC: { places: DECIMALS }, EURC: { places: DECIMALS } } as const satisfies
  Record<string, { readonly places: typeof DECIMALS }>;
export type Asset = keyof typeof assets;
/** Where none is named. */
export const DEFAULT_ASSET: Asset = 'USDC';

export function isAsset(text: string): text is Asset {
  return Object.hasOwn(assets, text);
}
const MICROS_PER_UNIT = 1_000_000n;
/** Largest amount of one movement: twelve digits before the point, so that sums of many stay inside BIGINT. */
export const AMOUNT_MICROS_MAX = 999_999_999_999_999_999n as Micros;
export const ZERO = 0n as Micros;

/** ASCII digits only: `\d` with the u flag would do too, but digits of other scripts must never pass. */
const AMOUNT_TEXT = /^[0-9]{1,12}(?:\.[0-9]{1,6})?$/;

/** Is this text an amount that {@link parseAmount} accepts? Zero is allowed only when `allowZero`. */
export function isAmountText(text: string, allowZero = false): boolean {
  return AMOUNT_TEXT.test(text) && (allowZero || /[1-9]/.test(text));
}

/**
 * Reads a decimal amount such as "1.50".
 * @throws SuretyError `invalid_amount` for anything but ASCII digits with at most six decimal places and twelve before the point,
 * and for zero. Nothing is ever truncated or rounded.
 */
export function parseAmount(text: string): Micros {
  if (!isAmountText(text)) {
    throw new SuretyError('invalid_amount',
      'The amount must be a decimal string above zero with at most 12 digits before and 6 after the point.');
  }
  const [whole = '0', fraction = ''] = text.split('.');
  return (BigInt(whole) * MICROS_PER_UNIT + BigInt(fraction.padEnd(DECIMALS, '0'))) as Micros;
}

/** Writes an amount with exactly six decimal places, as every answer does: 1500000 → "1.500000". */
export function formatMicros(micros: bigint | string | number): string {
  const value = BigInt(micros);
  const sign = value < 0n ? '-' : '';
  const digits = (value < 0n ? -value : value).toString().padStart(DECIMALS + 1, '0');
  return `${sign}${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`;
}

/** Brands a non-negative integer that is known to be micros, for example a BIGINT column. */
export function micros(value: bigint | string | number): Micros {
  const parsed = BigInt(value);
  if (parsed < 0n) throw new RangeError(`An amount of ${parsed} micros is negative.`);
  return parsed as Micros;
}

/** Micros as a decimal.js value in whole units, for formulas where rates meet amounts. Never goes back into the ledger unrounded. */
export function toUnits(amountMicros: bigint): Decimal {
  return new Decimal(amountMicros.toString()).div(MICROS_PER_UNIT.toString());
}

/** `part` of `whole` in percent, rounded down; 0 when the whole is 0. */
export function percentOf(part: bigint, whole: bigint): number {
  return whole === 0n ? 0 : Number((part * 100n) / whole);
}
