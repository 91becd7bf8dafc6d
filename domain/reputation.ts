/**
 * How good an agent has proven to be, from 0 to 100. A pure function of what really happened: settled payments and failed attempts,
 * never claims. The formula is that of contract alancoin-platform 6.1.
 */
import { reputationTiers, type ReputationTier } from './gateway.ts';
import { toUnits } from './money.ts';

/** How much of the past counts. */
export const reputationWindow = {
  /** Latest payments and failures, both directions. */
  eventsMax: 1_000,
  /** Of these, the newest of each counterparty: two friends who pay each other all day gain little. */
  perCounterpartyMax: 5,
} as const;

export interface ReputationInputs {
  /** Volume of the successful payments in micros. */
  readonly volumeMicros: bigint;
  readonly successful: number;
  readonly failed: number;
  readonly counterparties: number;
  /** When the agent was first seen; null counts as now. */
  readonly firstSeenAt: Date | null;
  /** Score of the payment graph, 0 to 100; 0 while there is none. */
  readonly traceRank?: number;
}

/** Each 0 to 100. */
export interface ReputationComponents {
  readonly volumeScore: number;
  readonly activityScore: number;
  readonly successScore: number;
  readonly ageScore: number;
  readonly diversityScore: number;
  readonly traceRankScore: number;
}

export interface Reputation {
  /** 0 to 100, rounded to one decimal. */
  readonly score: number;
  /** From the score before rounding. */
  readonly tier: ReputationTier;
  readonly components: ReputationComponents;
  /** At least 1. */
  readonly daysOnNetwork: number;
}

const msPerDay = 86_400_000;
/** With fewer events than this a success rate means nothing, and counts as half. */
const successEventsMin = 5;

const capped = (value: number): number => Math.min(100, Math.max(0, value));

const weightsPlain = { volumeScore: 0.25, activityScore: 0.2, successScore: 0.25, ageScore: 0.15, diversityScore: 0.15, traceRankScore: 0 };
const weightsTraced = { volumeScore: 0.1, activityScore: 0.15, successScore: 0.25, ageScore: 0.05,
  diversityScore: 0.1, traceRankScore: 0.35 };

/** From which score a tier begins, and below which it ends. */
export const tierBounds: Readonly<Record<ReputationTier, readonly [from: number, below: number]>> = {
  new: [0, 20], emerging: [20, 40], established: [40, 60], trusted: [60, 80], elite: [80, 100],
};

/** The tier of an unrounded score. */
export function tierOf(score: number): ReputationTier {
  return reputationTiers.findLast((tier) => score >= tierBounds[tier][0]) ?? 'new';
}

/** Scores an agent as of `now`. */
export function reputationOf(inputs: ReputationInputs, now: Date): Reputation {
  const { volumeMicros, successful, failed, counterparties, firstSeenAt, traceRank = 0 } = inputs;
  const events = successful + failed;
  const daysOnNetwork = Math.max(1, Math.floor((now.getTime() - (firstSeenAt ?? now).getTime()) / msPerDay));
  const components: ReputationComponents = {
    volumeScore: capped(25 * Math.log10(toUnits(volumeMicros).toNumber() + 1)),
    activityScore: capped(33.3 * Math.log10(events + 1)),
    successScore: events < successEventsMin ? 50 : (100 * successful) / events,
    ageScore: capped(33.3 * Math.log10(daysOnNetwork + 1)),
    diversityScore: counterparties <= 1 ? 0 : capped(50 * Math.log10(counterparties)),
    traceRankScore: capped(traceRank),
  };
  const weights = traceRank > 0 ? weightsTraced : weightsPlain;
  const exact = (Object.keys(components) as (keyof ReputationComponents)[])
    .reduce((sum, name) => sum + components[name] * weights[name], 0);
  return { score: Math.round(exact * 10) / 10, tier: tierOf(exact), components, daysOnNetwork };
}

const beginning = new Date(0);
/** What an agent has that nobody has traded with yet. */
export const freshReputation: Reputation =
  reputationOf({ volumeMicros: 0n, successful: 0, failed: 0, counterparties: 0, firstSeenAt: beginning }, beginning);
