/** How agents have proven themselves. Public: that is what reputation is for. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { reputationTiers } from '../../domain/gateway.ts';
import { toUnits } from '../../domain/money.ts';
import { createReputationReader, type AgentReputation, type ReputationReader } from '../../trust/reputation.ts';
import type { RouteDeps } from '../deps.ts';
import { onward, onwardOut } from '../routing/paging.ts';
import { route, type Route } from '../routing/route.ts';
import { address, addressOut, addressParams, limit, placeCursor, timeOut, writePlace } from '../wire/fields.ts';

const batchMax = 100;
const compareMax = 10;

const reputationOut = z.object({
  address: addressOut, score: z.number(), tier: z.enum(reputationTiers),
  components: z.object({ volumeScore: z.number(), activityScore: z.number(), successScore: z.number(), ageScore: z.number(),
    diversityScore: z.number(), traceRankScore: z.number() }),
  metrics: z.object({
    totalTransactions: z.number().int(), totalVolumeUsd: z.number(), successfulTxns: z.number().int(), failedTxns: z.number().int(),
    uniqueCounterparties: z.number().int(),
    firstSeen: timeOut.optional(), lastActive: timeOut.optional(), daysOnNetwork: z.number().int(), traceRankInput: z.number(),
  }),
  calculatedAt: timeOut,
});
/** The same facts flat, as the demo, the MCP server and the Go client read them. */
const flatOut = z.object({ address: addressOut, score: z.number(), tier: z.enum(reputationTiers), totalTransactions: z.number().int(),
  transactionCount: z.number().int(), successRate: z.number() });

const tenth = (value: number): number => Math.round(value * 10) / 10;

function show(of: AgentReputation): z.input<typeof reputationOut> {
  const { components } = of;
  return {
    address: of.address, score: of.score, tier: of.tier,
    components: {
      volumeScore: tenth(components.volumeScore), activityScore: tenth(components.activityScore),
      successScore: tenth(components.successScore),
      ageScore: tenth(components.ageScore), diversityScore: tenth(components.diversityScore),
      traceRankScore: tenth(components.traceRankScore),
    },
    metrics: {
      totalTransactions: of.totalTransactions, totalVolumeUsd: toUnits(of.totalVolume).toNumber(), successfulTxns: of.successful,
      failedTxns: of.failed,
      uniqueCounterparties: of.counterparties, firstSeen: of.firstSeenAt.toISOString(),
      ...(of.lastActiveAt === null ? {} : { lastActive: of.lastActiveAt.toISOString() }),
      daysOnNetwork: of.daysOnNetwork, traceRankInput: 0,
    },
    calculatedAt: of.calculatedAt.toISOString(),
  };
}

const flat = (of: AgentReputation): z.input<typeof flatOut> => ({
  address: of.address, score: of.score, tier: of.tier, totalTransactions: of.totalTransactions, transactionCount: of.totalTransactions,
  successRate: of.successRate,
});

/** An address nobody registered: no score at all, which is less than that of a fresh agent. */
function unknown(who: string): { nested: z.input<typeof reputationOut>; flat: z.input<typeof flatOut> } {
  const zero = { volumeScore: 0, activityScore: 0, successScore: 0, ageScore: 0, diversityScore: 0, traceRankScore: 0 };
  const metrics = { totalTransactions: 0, totalVolumeUsd: 0, successfulTxns: 0, failedTxns: 0, uniqueCounterparties: 0,
    daysOnNetwork: 0, traceRankInput: 0 };
  const base = { address: who, score: 0, tier: 'new' as const };
  return { nested: { ...base, components: zero, metrics, calculatedAt: new Date().toISOString() },
    flat: { ...base, totalTransactions: 0, transactionCount: 0, successRate: 0 } };
}

/** A list of addresses; too many has a code of its own. */
const addressList = (min: number) => z.array(address).min(min).max(1_000);
function refuseTooMany(addresses: readonly string[], max: number): void {
  if (addresses.length > max) throw new SuretyError('too_many_addresses', `Ask for at most ${max} addresses at once.`);
}

export function reputationRoutes({ reads }: RouteDeps): Route[] {
  const reader = createReputationReader({ pool: reads });
  return [boardRoute(reader), batchRoute(reader), compareRoute(reader), ...singleRoutes(reader)];
}

function boardRoute(reader: ReputationReader): Route {
  const score = z.string().optional().refine((text) => text === undefined || text === '' || /^\d{1,3}(\.\d{1,3})?$/.test(text),
    'must be a number from 0 to 100')
    .transform((text) => (text === undefined || text === '' ? undefined : Number(text)));
  return route({
    method: 'get', path: '/v1/reputation', access: 'public', tag: 'Reputation', cacheSecs: 30,
    summary: 'Agents by score, best first; ranks count everybody, whatever the filter.',
    query: z.object({ limit: limit(100, 20), minScore: score, tier: z.enum([...reputationTiers, '']).optional(),
      cursor: placeCursor(/^([0-9]{1,15})\|([0-9]{1,3}(?:\.[0-9]{1,17})?)\|(0x[0-9a-f]{40})$/) }),
    answer: z.object({ leaderboard: z.array(z.looseObject({ rank: z.number().int(), address: addressOut, score: z.number() })),
      total: z.number().int(), tiers: z.record(z.string(), z.number().int()), ...onwardOut }), errors: ['invalid_cursor'],
    handler: async ({ query }) => {
      const [rank, lastScore, who = ''] = query.cursor ?? [];
      const after = query.cursor === undefined ? {} : { after: { rank: Number(rank), listedScore: Number(lastScore), address: who } };
      const { agents: rows, more, total, tiers } =
        await reader.leaderboard({ limit: query.limit, minScore: query.minScore, tier: query.tier || undefined, ...after });
      const leaderboard = rows.map((of) => ({
        rank: of.rank, address: of.address, score: of.score, tier: of.tier, totalTransactions: of.totalTransactions,
        totalVolumeUsd: toUnits(of.totalVolume).toNumber(), daysOnNetwork: of.daysOnNetwork,
      }));
      return { body: { leaderboard, total, tiers,
        ...onward({ rows, more }, (last) => writePlace([last.rank, last.listedScore, last.address])) } };
    },
  });
}

function batchRoute(reader: ReputationReader): Route {
  return route({
    method: 'post', path: '/v1/reputation/batch', access: 'public', tag: 'Reputation',
    summary: 'The scores of up to 100 agents, in the order asked; unknown ones have score 0.',
    body: z.object({ addresses: addressList(1) }),
    answer: z.object({ scores: z.array(flatOut.extend({ reputation: reputationOut })), results: z.array(flatOut) }),
    errors: ['invalid_address', 'too_many_addresses'],
    handler: async ({ body: { addresses } }) => {
      refuseTooMany(addresses, batchMax);
      const known = new Map((await reader.of(addresses)).map((of) => [of.address, of]));
      const shown = addresses.map((who) => {
        const of = known.get(who);
        return of === undefined ? unknown(who) : { nested: show(of), flat: flat(of) };
      });
      return { body: { scores: shown.map((one) => ({ ...one.flat, reputation: one.nested })), results: shown.map((one) => one.flat) } };
    },
  });
}

function compareRoute(reader: ReputationReader): Route {
  return route({
    method: 'post', path: '/v1/reputation/compare', access: 'public', tag: 'Reputation',
    summary: 'Two to ten agents side by side, and which of them is best.',
    body: z.object({ addresses: addressList(2) }),
    answer: z.object({ best: z.string(), agents: z.array(reputationOut) }),
    errors: ['invalid_address', 'too_many_addresses'],
    handler: async ({ body: { addresses } }) => {
      refuseTooMany(addresses, compareMax);
      const known = new Map((await reader.of(addresses)).map((of) => [of.address, of]));
      const agents = addresses.map((who) => {
        const of = known.get(who);
        return of === undefined ? unknown(who).nested : show(of);
      });
      // Among equals the one named first.
      const best = agents.reduce((leader, next) => (next.score > leader.score ? next : leader));
      return { body: { best: best.address, agents } };
    },
  });
}

function singleRoutes(reader: ReputationReader): Route[] {
  return [
    route({
      method: 'get', path: '/v1/reputation/:address', access: 'public', tag: 'Reputation', cacheSecs: 15,
      summary: 'The score of an agent and the facts behind it.',
      params: addressParams, answer: flatOut.extend({ reputation: reputationOut }), errors: ['agent_not_found'],
      handler: async ({ params }) => {
        const [of] = await reader.of([params.address]);
        if (of === undefined) throw new SuretyError('agent_not_found', 'There is no agent with this address.');
        return { body: { ...flat(of), reputation: show(of) } };
      },
    }),
    route({
      method: 'get', path: '/v1/reputation/:address/history', access: 'public', tag: 'Reputation',
      summary: 'How the score developed. Not kept yet.',
      params: addressParams, answerStatus: 501, errors: ['not_configured'],
      handler: () => {
        throw new SuretyError('not_configured', 'Scores of the past are not kept yet.');
      },
    }),
  ];
}
