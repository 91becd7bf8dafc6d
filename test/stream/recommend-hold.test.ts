/** How much to hold: against sums made term by term in fifty digits, and at the edges of what can be asked. */
import { Decimal } from 'decimal.js';
import { normalQuantile, poissonQuantile, recommendHold } from '../../domain/recommend-hold.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';
import type { Trader } from '../support/market.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });
let asker: Trader;
beforeAll(async () => {
  asker = await platform().aTrader();
}, 30_000);

const Exact = Decimal.clone({ precision: 60 });

/** The definition, word for word: the smallest k whose probabilities from 0 to k add up to the confidence. */
function summed(mean: number, confidence: number): number {
  let term = new Exact(mean).neg().exp();
  let sum = term;
  let k = 0;
  while (sum.lt(confidence)) {
    k += 1;
    term = term.times(mean).div(k);
    sum = sum.plus(term);
  }
  return k;
}

test.each([0.5, 1, 2.5, 3, 7, 10, 20, 33.3, 50, 77.7, 99,
    100])('for %s expected ticks the number is that of the exact sum, at every confidence', (mean) => {
  for (const confidence of [0.001, 0.05, 0.3, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999999]) expect([confidence,
    poissonQuantile(mean, confidence)]).toEqual([confidence, summed(mean, confidence)]);
});

test.each([101, 150, 500, 1_000, 5_000])('for %s expected ticks the approximation is a tick or a few from the exact sum', (mean) => {
  for (const confidence of [0.5, 0.9, 0.95, 0.99]) expect(Math.abs(poissonQuantile(mean, confidence) - summed(mean, confidence)))
    .toBeLessThanOrEqual(2);
});

test.each([[0.5, 0], [0.8413447460685429, 1], [0.9, 1.2815515655446004], [0.95, 1.6448536269514722], [0.975, 1.959963984540054],
  [0.99, 2.3263478740408408], [0.999, 3.090232306167814], [1e-10, -6.361340902404056], [1e-20, -9.26234008979841]])(
  'the normal quantile of %s is %s', (p, z) => expect(normalQuantile(p)).toBeCloseTo(z, 12),
);

/** By hand, from tables of the Poisson and the normal distribution. */
test.each([
  [{ pricePerTick: 0.001, tickRate: 1, durationSec: 3 },
    { recommendedHold: 0.006, expectedCost: 0.003, efficiency: 0.5, confidence: 0.95, expectedTicks: 3, ticks: 6 }],
  [{ pricePerTick: 0.1, tickRate: 2, durationSec: 5, confidence: 0.99 },
    { recommendedHold: 1.8, expectedCost: 1, confidence: 0.99, expectedTicks: 10, ticks: 18 }],
  [{ pricePerTick: 0.5, tickRate: 10, durationSec: 60, confidence: 0.95 },
    { recommendedHold: 320.5, expectedCost: 300, expectedTicks: 600, ticks: 641 }],
  [{ pricePerTick: 0.000001, tickRate: 1_000, durationSec: 1_000 },
    { recommendedHold: 1.001645, expectedCost: 1, expectedTicks: 1_000_000, ticks: 1_001_645 }],
  // Rare ticks: zero would be enough in 99 of 100 cases, but a stream must be able to pay one.
  [{ pricePerTick: 2, tickRate: 0.001, durationSec: 10 }, { recommendedHold: 2, expectedCost: 0.02, efficiency: 0.01, ticks: 1 }],
  // Few are enough when one need not be sure: cheaper than what is expected, and the efficiency stays 1.
  [{ pricePerTick: 1, tickRate: 1, durationSec: 10_000, confidence: 0.01 }, { recommendedHold: 9_768, efficiency: 1 }],
])('%j is answered %j', async (question, answer) => {
  const { status, body } = await platform().ask('POST', '/v1/streams/recommend-hold', { key: asker.key, body: question });
  expect([status, body]).toEqual([200, expect.objectContaining(answer)]);
});

test.each([0, 1, -1, 2, 1e300])('a confidence of %s means 0.95', async (confidence) => {
  const { body } = await platform()
    .ask('POST', '/v1/streams/recommend-hold', { key: asker.key, body: { pricePerTick: 1, tickRate: 1, durationSec: 3, confidence } });
  expect(body).toMatchObject({ confidence: 0.95, ticks: 6 });
});

test('every question has a finite answer, from the rarest ticks to a million million', () => {
  for (const expected of [1e-300, 1e-9, 0.05, 1, 99.999, 100.001, 1e6, 1e9, 1e12]) {
    for (const confidence of [1e-300, 1e-12, 0.5, 0.95, 1 - 1e-12, 1 - 2 ** -53]) {
      const { recommendedHold, expectedCost, efficiency, ticks } =
        recommendHold({ pricePerTick: 0.000001, tickRate: expected, durationSec: 1, confidence });
      for (const value of [recommendedHold, expectedCost, efficiency]) expect(Number.isFinite(value)).toBe(true);
      expect(recommendedHold).toBeGreaterThan(0);
      expect(efficiency).toBeGreaterThanOrEqual(0);
      expect(efficiency).toBeLessThanOrEqual(1);
      expect(Number.isInteger(ticks)).toBe(true);
    }
  }
});

test.each<[string, Record<string, unknown>, string]>([
  ['no price', { pricePerTick: undefined }, 'validation_error'], ['a price of zero', { pricePerTick: 0 }, 'validation_error'],
  ['a price as text', { pricePerTick: '0.1' }, 'validation_error'],
  ['a rate of zero', { tickRate: 0 }, 'validation_error'], ['a negative time', { durationSec: -1 }, 'validation_error'],
  ['more ticks than anybody counts', { tickRate: 1e9, durationSec: 1e9 }, 'validation_error'],
  ['so few ticks that their number is zero', { tickRate: 1e-300, durationSec: 1e-300 }, 'validation_error'],
  ['a deposit larger than a payment', { pricePerTick: 999_999_999_999, tickRate: 1, durationSec: 10 }, 'invalid_amount'],
])('%s is refused', async (_what, change, code) => {
  const { status, body } = await platform()
    .ask('POST', '/v1/streams/recommend-hold', { key: asker.key, body: { pricePerTick: 0.1, tickRate: 1, durationSec: 10, ...change } });
  expect([status, body.error]).toEqual([400, code]);
});

test('what is recommended can be held', async () => {
  const { body } = await platform()
    .ask('POST', '/v1/streams/recommend-hold', { key: asker.key, body: { pricePerTick: 0.0033333333, tickRate: 7, durationSec: 11 } });
  expect(String(body.recommendedHold)).toMatch(/^\d+(\.\d{1,6})?$/);
});
