/** Which sellers a gateway call asks, and in which order (contract alancoin-payments 5.1, 5 steps 6–11). */
import type { Offer, Strategy } from './gateway.ts';
import type { Micros } from './money.ts';

/** Sellers asked for one call at most. */
export const CANDIDATES_MAX = 3;

/** Factor on the reputation score by tier, capped at 100 (5, step 7). */
const tierBoost = { new: 1, emerging: 1.125, established: 1.25, trusted: 1.375, elite: 1.5 } as const;

function boostedScore(offer: Offer): number {
  return Math.min(100, offer.score * tierBoost[offer.tier]);
}

/** score^alpha × (1/price)^(1−alpha) with the price in whole units; 0 when either is 0. A rank, not an amount of money. */
function worth(offer: Offer, alpha: number): number {
  const score = boostedScore(offer);
  return score === 0 ? 0 : score ** alpha * (1_000_000 / Number(offer.priceMicros)) ** (1 - alpha);
}

/** The sort key of a strategy; higher is asked first. `budgetUsed` is the used part of the session's budget, 0 to 1. */
function rankOf(strategy: Strategy, budgetUsed: number): ((offer: Offer) => number) | null {
  switch (strategy) {
    case 'cheapest': return null;
    case 'reputation': return boostedScore;
    // No graph score is computed yet, so every offer is equal there and the cheapest comes first, as in the first system.
    case 'tracerank': return null;
    case 'best_value': return (offer) => worth(offer, 0.65);
    case 'budget': return (offer) => worth(offer, 0.8 - 0.45 * Math.min(1, Math.max(0, budgetUsed)));
  }
}

export interface Wish {
  readonly buyer: string;
  readonly strategy: Strategy;
  readonly priceMicrosMax: Micros;
  readonly preferAgent: string | null;
  readonly budgetUsed: number;
  /** Only services that let their work be given back. */
  readonly refundableOnly?: boolean | undefined;
}

/**
 * The sellers to ask, best first, at most {@link CANDIDATES_MAX}.
 * @param offers active offers of the wanted type, cheapest first; every one is considered, not only the cheapest ten.
 */
export function rankOffers(offers: readonly Offer[], wish: Wish): Offer[] {
  const rank = rankOf(wish.strategy, wish.budgetUsed);
  const fits = (offer: Offer): boolean => offer.priceMicros <= wish.priceMicrosMax && offer.seller !== wish.buyer
    && (offer.refundable || wish.refundableOnly !== true);
  const preferred = wish.preferAgent === null ? undefined : offers.find((offer) => offer.seller === wish.preferAgent && fits(offer));
  const others: Offer[] = [];
  for (const offer of offers) {
    // The list is sorted by price: nothing further down can fit, and the cheapest strategy needs only the first few.
    if (offer.priceMicros > wish.priceMicrosMax || (rank === null && others.length === CANDIDATES_MAX)) break;
    if (fits(offer) && offer !== preferred) others.push(offer);
  }
  if (rank !== null) {
    const keys = new Map(others.map((offer) => [offer, rank(offer)]));
    others.sort((a, b) => (keys.get(b) ?? 0) - (keys.get(a) ?? 0));
  }
  return (preferred === undefined ? others : [preferred, ...others]).slice(0, CANDIDATES_MAX);
}
