/** The hot seller: many buyers, and every call pays the same account. Platforms that lock that account for long stand still here. */
import type { BenchCase } from '../case.ts';
import { openSessions, serviceTypeOf } from '../market.ts';
import { gatewayTurns, type GatewaySetup } from './gateway.ts';

export const hotCase: BenchCase<GatewaySetup> = {
  name: 'hot',
  summary: 'All clients buy from one seller, each time in the session of a random buyer.',
  unit: 'calls', unitsPerTurn: 1, deliveriesPerUnit: 1,
  population: { buyers: 300, sellers: 1 },
  price: '0.001', pricePerUnit: '0.001',
  async prepare(world) {
    return { sessions: await openSessions(world), serviceTypes: [serviceTypeOf(0)] };
  },
  turns: (setup, { host, port }) => gatewayTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
};
