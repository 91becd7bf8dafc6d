/** Numbers of cards: sixteen digits, the last made of the others (Luhn), so that a misread number differs from an unknown one. */

/** All numbers begin with it; the nine digits behind are random. */
export const cardPrefix = '424242';
export const cardRandomDigits = 9;

/** The number whose digits but the last are these. */
export function withCheckDigit(digits: string): string {
  return digits + String((10 - (luhnSum(`${digits}0`) % 10)) % 10);
}

/** Sixteen digits of which the last fits the others? */
export function isCardNumber(text: string): boolean {
  return /^[0-9]{16}$/.test(text) && luhnSum(text) % 10 === 0;
}

/** `MM/YY` on the card: the month of its issue, a year later. It follows from the time of issue and is kept nowhere. */
export function cardExpiry(issuedAtMs: number): string {
  const issued = new Date(issuedAtMs);
  const twoDigits = (value: number): string => String(value % 100).padStart(2, '0');
  return `${twoDigits(issued.getUTCMonth() + 1)}/${twoDigits(issued.getUTCFullYear() + 1)}`;
}

/** Every second digit from the right counts double, less nine where that exceeds nine. */
function luhnSum(digits: string): number {
  return [...digits].reverse().reduce((sum, digit, index) => {
    const value = Number(digit) * (index % 2 === 0 ? 1 : 2);
    return sum + (value > 9 ? value - 9 : value);
  }, 0);
}
