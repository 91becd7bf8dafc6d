/** The network at a glance. Public, so it does not show who bought what (docs/decisions/reads-of-money.md). */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import { readLatestPayments, type Payment } from '../../ledger/payments.ts';
import { createNetworkStats } from '../../trust/network.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';
import { amountOut, currencyOut, limit, timeOut } from '../wire/fields.ts';

const statsOut = z.object({ totalAgents: z.number().int(), totalServices: z.number().int(), totalTransactions: z.number().int(),
  totalVolume: amountOut, updatedAt: timeOut });
const feedItem = z.object({
  id: z.string(), fromName: z.string(), fromAddress: z.string(), toName: z.string(), toAddress: z.string(), amount: amountOut,
  currency: currencyOut, serviceName: z.string().optional(),
  serviceType: z.string().optional(), txHash: z.string(), timestamp: timeOut, timeAgo: z.string(),
});
const hiddenBuyer = { fromName: 'A buyer', fromAddress: '' };

/** How long ago in words: "12s ago", "5m ago", "3h ago", "2d ago". */
export function timeAgo(at: Date, now: Date): string {
  const secs = Math.max(0, Math.floor((now.getTime() - at.getTime()) / 1_000));
  if (secs < 60) return `${secs}s ago`;
  if (secs < 3_600) return `${Math.floor(secs / 60)}m ago`;
  return secs < 86_400 ? `${Math.floor(secs / 3_600)}h ago` : `${Math.floor(secs / 86_400)}d ago`;
}

function showItem(payment: Payment, toName: string, now: Date): z.input<typeof feedItem> {
  return {
    id: `tx_${payment.postingId}`, ...hiddenBuyer, toName, toAddress: payment.to, amount: formatMicros(payment.amount),
    currency: payment.asset, ...(payment.serviceName === null ? {} : { serviceName: payment.serviceName }),
    ...(payment.serviceType === null ? {} : { serviceType: payment.serviceType }),
    txHash: '', timestamp: payment.createdAt.toISOString(), timeAgo: timeAgo(payment.createdAt, now),
  };
}

export function networkRoutes({ reads, prisma }: RouteDeps): Route[] {
  const stats = createNetworkStats({ pool: reads });
  const shownStats = async (): Promise<z.input<typeof statsOut>> => {
    const { totalVolume, updatedAt, ...counts } = await stats();
    return { ...counts, totalVolume: formatMicros(totalVolume), updatedAt: updatedAt.toISOString() };
  };
  return [
    route({
      method: 'get', path: '/v1/network/stats', access: 'public', tag: 'Network', cacheSecs: 60,
      summary: 'How many agents, services and settled payments there are.',
      answer: statsOut,
      handler: async () => ({ body: await shownStats() }),
    }),
    route({
      method: 'get', path: '/v1/network/stats/enhanced', access: 'public', tag: 'Network', cacheSecs: 60,
      summary: 'The same with the number of session keys.',
      answer: statsOut.extend({ activeSessionKeys: z.number().int() }),
      handler: async () => ({ body: { ...(await shownStats()), activeSessionKeys: 0 } }),
    }),
    route({
      method: 'get', path: '/v1/feed', access: 'public', tag: 'Network', cacheSecs: 10,
      summary: 'The latest settled payments, without the buyers.',
      query: z.object({ limit: limit(100, 50) }),
      answer: z.object({ feed: z.array(feedItem),
        stats: z.object({ totalAgents: z.number().int(), totalTransactions: z.number().int(), totalVolume: amountOut }),
        message: z.string().meta({ examples: ['The latest payments between agents on Surety.'] }) }),
      handler: async ({ query }) => {
        const [payments, { totalAgents, totalTransactions, totalVolume }] =
          await Promise.all([readLatestPayments(reads, query.limit), shownStats()]);
        const sellers = await prisma.agent.findMany({ where: { address: { in: [...new Set(payments.map((payment) => payment.to))] } },
          select: { address: true, name: true } });
        const names = new Map(sellers.map(({ address, name }) => [address, name]));
        const now = new Date();
        const feed = payments.map((payment) => showItem(payment, names.get(payment.to) ?? '', now));
        return { body: { feed, stats: { totalAgents, totalTransactions, totalVolume },
          message: 'The latest payments between agents on Surety.' } };
      },
    }),
    route({
      method: 'get', path: '/v1/timeline', access: 'public', tag: 'Network', cacheSecs: 10,
      summary: 'What happened last on the network, without the buyers.',
      query: z.object({ limit: limit(100, 50) }),
      answer: z.object({ timeline: z.array(z.object({ type: z.string(), timestamp: timeOut, data: z.looseObject({}) })),
        count: z.number().int() }),
      handler: async ({ query }) => {
        const timeline = (await readLatestPayments(reads, query.limit)).map((payment) => ({
          type: 'transaction', timestamp: payment.createdAt.toISOString(),
          data: {
            id: `tx_${payment.postingId}`, txHash: '', from: '', to: payment.to, amount: formatMicros(payment.amount),
            currency: payment.asset, serviceId: payment.serviceId ?? '',
            status: 'confirmed', createdAt: payment.createdAt.toISOString(),
          },
        }));
        return { body: { timeline, count: timeline.length } };
      },
    }),
  ];
}
