/** Whole lives of escrows: the buyer locks the money, the seller delivers, the buyer confirms. Three requests a turn. */
import type { BenchCase, Turn } from '../case.ts';
import { requestHead, requestTail, type HttpClient } from '../http-client.ts';
import type { BenchAgent } from '../world.ts';
import { pick } from './gateway.ts';

interface EscrowSetup {
  readonly buyers: readonly BenchAgent[];
  readonly sellers: readonly BenchAgent[];
}

export const escrowCase: BenchCase<EscrowSetup> = {
  name: 'escrow',
  summary: 'Each client lives whole escrows between random agents: create, deliver, confirm.',
  unit: 'escrows', unitsPerTurn: 1, deliveriesPerUnit: 0,
  population: { buyers: 100, sellers: 100 },
  price: '0.001', pricePerUnit: '0.01',
  prepare: async ({ buyers, sellers }) => ({ buyers, sellers }),
  turns: (setup, { host, port }) => escrowTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
};

function escrowTurns({ buyers, sellers }: EscrowSetup, host: string): Turn {
  const post = (client: HttpClient, { apiKey }: BenchAgent, path: string, body: string) =>
    client.send(requestHead(host, path, { Authorization: `Bearer ${apiKey}` }) + requestTail(body));
  return async (client, random) => {
    const [buyer, seller] = [pick(buyers, random), pick(sellers, random)];
    const begun = performance.now();
    const created = await post(client, buyer, '/v1/escrow',
      JSON.stringify({ buyerAddr: buyer.address, sellerAddr: seller.address, amount: '0.01', autoRelease: '1h' }));
    if (created.status !== 201) return `create: ${created.status} ${created.body.slice(0, 200)}`;
    const stepsMs: Record<string, number> = { create: performance.now() - begun };
    const { escrow } = JSON.parse(created.body) as { escrow: { id: string } };
    for (const [agent, step] of [[seller, 'deliver'], [buyer, 'confirm']] as const) {
      const asked = performance.now();
      const answer = await post(client, agent, `/v1/escrow/${escrow.id}/${step}`, '');
      if (answer.status !== 200) return `${step}: ${answer.status} ${answer.body.slice(0, 200)}`;
      stepsMs[step] = performance.now() - asked;
    }
    return { stepsMs };
  };
}
