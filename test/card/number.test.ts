/** Numbers of cards: what they look like, and what is left of them once they were shown. */
import { cardExpiry, isCardNumber, withCheckDigit } from '../../domain/card-number.ts';
import { createCardSecrets } from '../../platform/card-secrets.ts';

const secrets = createCardSecrets('one key');

test.each(['4242424242424242', '4111111111111111', '5555555555554444', '4242420000000000'])(
    '%s: its check digit is right, and no other would be', (number) => {
  const right = withCheckDigit(number.slice(0, 15));
  expect(isCardNumber(right)).toBe(true);
  if (number !== '4242420000000000') expect(right).toBe(number);
  for (let digit = 0; digit < 10; digit += 1) expect(isCardNumber(number.slice(0, 15) + String(digit))).toBe(right.endsWith(String(digit)));
});

test('every digit that is misread is found', () => {
  const number = withCheckDigit('424242170829361');
  for (let at = 0; at < 16; at += 1) {
    const misread = number.slice(0, at) + String((Number(number[at]) + 1) % 10) + number.slice(at + 1);
    expect(isCardNumber(misread)).toBe(false);
  }
});

test.each(['', '424242', '4242 4242 4242 4242', '42424242424242424', 'abcdabcdabcdabcd'])('%j is no number of a card',
  (text) => expect(isCardNumber(text)).toBe(false));

test('a card has 16 digits that begin with 424242, three digits of cvv, and no number comes twice', () => {
  const made = Array.from({ length: 2_000 }, () => secrets.make());
  for (const { number, cvv, last4 } of made) {
    expect(number).toMatch(/^424242[0-9]{10}$/);
    expect(isCardNumber(number)).toBe(true);
    expect(cvv).toMatch(/^[0-9]{3}$/);
    expect(number.endsWith(last4)).toBe(true);
  }
  expect(new Set(made.map(({ number }) => number)).size).toBe(made.length);
});

test('what is kept needs the key: another key knows nothing of it, and one cvv on two cards leaves two traces', () => {
  const { number, cvv, lookup, check } = secrets.make();
  expect(secrets.lookupOf(number)).toBe(lookup);
  const others = createCardSecrets('another key');
  expect(others.lookupOf(number)).not.toBe(lookup);
  expect(others.judge({ number, cvv }, { check, issuedAtMs: 0 })).toBe('wrong_cvv');
  expect(`${lookup} ${check}`).not.toContain(number);
  const second = withCheckDigit('424242999999999');
  expect(secrets.judge({ number: second, cvv }, { check, issuedAtMs: 0 })).toBe('wrong_cvv');
});

test('the expiry is the month of the issue, a year later', () => {
  expect(cardExpiry(Date.UTC(2026, 0, 31, 23, 59))).toBe('01/27');
  expect(cardExpiry(Date.UTC(2026, 11, 1))).toBe('12/27');
  expect(cardExpiry(Date.UTC(2099, 5, 1))).toBe('06/00');
});

test('cvv and expiry are compared where they were sent', () => {
  const { number, cvv, check } = secrets.make();
  const card = { check, issuedAtMs: Date.UTC(2026, 0, 31) };
  const other = cvv === '000' ? '001' : '000';
  expect(secrets.judge({ number }, card)).toBe('not_sent');
  expect(secrets.judge({ number, cvv }, card)).toBe('right');
  expect(secrets.judge({ number, expiry: '01/27' }, card)).toBe('right');
  expect(secrets.judge({ number, cvv, expiry: '01/27' }, card)).toBe('right');
  expect(secrets.judge({ number, cvv: other, expiry: '01/27' }, card)).toBe('wrong_cvv');
  expect(secrets.judge({ number, cvv, expiry: '02/27' }, card)).toBe('wrong_expiry');
});
