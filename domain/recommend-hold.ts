/** How much to hold for a stream whose ticks come at random: enough for as many as come with the wanted confidence (Poisson). */
import { Decimal } from 'decimal.js';

export interface HoldQuestion {
  /** In whole units of the asset, above zero. */
  readonly pricePerTick: number;
  /** Ticks a second, above zero. */
  readonly tickRate: number;
  readonly durationSec: number;
  /** Between 0 and 1; anything else means 0.95. */
  readonly confidence?: number | undefined;
}

export interface HoldAdvice {
  readonly recommendedHold: number;
  readonly expectedCost: number;
  /** Expected cost as a part of the hold, at most 1. */
  readonly efficiency: number;
  readonly confidence: number;
  readonly expectedTicks: number;
  /** How many ticks the hold pays. */
  readonly ticks: number;
}

const CONFIDENCE_DEFAULT = 0.95;
/** From here on the normal approximation is as good as the sum, and the sum's first term would soon vanish. */
const EXACT_TICKS_MAX = 100;

/** Contract alancoin-payments 2.8. */
export function recommendHold({ pricePerTick, tickRate, durationSec, confidence = CONFIDENCE_DEFAULT }: HoldQuestion): HoldAdvice {
  const wanted = confidence > 0 && confidence < 1 ? confidence : CONFIDENCE_DEFAULT;
  const expectedTicks = tickRate * durationSec;
  // A stream that cannot pay one tick cannot be opened.
  const ticks = Math.max(1, poissonQuantile(expectedTicks, wanted));
  const price = new Decimal(pricePerTick);
  // Decimal, because 0.1 × 3 is not 0.3 in binary; rounded up to what can be held.
  const recommendedHold = price.times(ticks).toDecimalPlaces(6, Decimal.ROUND_UP).toNumber();
  const expectedCost = price.times(expectedTicks).toNumber();
  return { recommendedHold, expectedCost, efficiency: Math.min(1, expectedCost / recommendedHold),
    confidence: wanted, expectedTicks, ticks };
}

/** Smallest k with P(X ≤ k) ≥ confidence for X ~ Poisson(mean); above 100 by the normal approximation. */
export function poissonQuantile(mean: number, confidence: number): number {
  if (mean > EXACT_TICKS_MAX) return Math.max(0, Math.ceil(mean + normalQuantile(confidence) * Math.sqrt(mean)));
  let term = Math.exp(-mean);
  let sum = term;
  let k = 0;
  // Once the terms no longer add anything, the sum stays a hair below 1, and so could a confidence.
  while (sum < confidence && (k < mean || sum + term > sum)) {
    k += 1;
    term *= mean / k;
    sum += term;
  }
  return k;
}

/** Inverse of the standard normal distribution for 0 < p < 1: Wichura's algorithm AS 241 (1988), sixteen digits. */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(central.over, r)) / polynomial(central.under, r);
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const z = r <= 5 ? polynomial(middle.over, r - 1.6) / polynomial(middle.under, r - 1.6)
    : polynomial(tail.over, r - 5) / polynomial(tail.under, r - 5);
  return q < 0 ? -z : z;
}

/** Coefficients from the lowest power up. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
}

const central = {
  over: [3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
    33430.57558358813, 2509.0809287301227],
  under: [1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
    28729.085735721943, 5226.495278852546],
};
const middle = {
  over: [1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684, 0.2417807251774506,
    0.022723844989269184, 0.0007745450142783414],
  under: [1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
    0.0005475938084995345, 1.0507500716444169e-09],
};
const tail = {
  over: [6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124, 0.0012426609473880784,
    2.7115555687434876e-05, 2.0103343992922881e-07],
  under: [1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 1.8463183175100548e-05,
    1.421511758316446e-07, 2.0442631033899397e-15],
};
