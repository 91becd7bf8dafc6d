/** The main job: many buyers, many sellers, each turn one paid call through `POST /v1/gateway/proxy` in the buyer's session. */
import { requestHead, requestTail, type HttpClient } from '../http-client.ts';
import type { BenchCase, Turn } from '../case.ts';
import { openSessions, serviceTypeOf } from '../market.ts';

/** What the load process needs: the sessions to pay from, and the types to ask for. */
export interface GatewaySetup {
  readonly sessions: readonly { readonly apiKey: string; readonly token: string }[];
  readonly serviceTypes: readonly string[];
}

/** Each seller has a type of its own, so that every one of them is asked and not only the cheapest. */
export const gatewayCase: BenchCase<GatewaySetup> = {
  name: 'gateway',
  summary: 'Each client buys calls from random sellers, each time in the session of a random buyer.',
  unit: 'calls', unitsPerTurn: 1, deliveriesPerUnit: 1,
  population: { buyers: 300, sellers: 300 },
  price: '0.001', pricePerUnit: '0.001',
  async prepare(world) {
    return { sessions: await openSessions(world), serviceTypes: world.sellers.map((_, index) => serviceTypeOf(index)) };
  },
  turns: (setup, { host, port }) => gatewayTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
};

/** Requests are put together from a head for each session and a tail for each type, both made once. */
export function gatewayTurns(setup: GatewaySetup, host: string): Turn {
  const heads = setup.sessions.map(({ apiKey, token }) =>
    requestHead(host, '/v1/gateway/proxy', { Authorization: `Bearer ${apiKey}`, 'X-Gateway-Token': token }));
  const tails = setup.serviceTypes.map((serviceType) =>
    requestTail(JSON.stringify({ serviceType, params: { question: 'How much is the fish?', copies: 3 } })));
  return async (client: HttpClient, random: () => number) => {
    const answer = await client.send(pick(heads, random) + pick(tails, random));
    return answer.status === 200 ? null : `${answer.status} ${answer.body.slice(0, 200)}`;
  };
}

/** One of them by chance. */
export function pick<T>(list: readonly T[], random: () => number): T {
  return list[Math.floor(random() * list.length)] as T;
}
