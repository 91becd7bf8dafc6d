/** Pipelines of three paid steps, the answer of one handed to the next. One request a turn. */
import type { BenchCase, Turn } from '../case.ts';
import { requestHead, requestTail } from '../http-client.ts';
import { openSessions, serviceTypeOf } from '../market.ts';
import { pick, type GatewaySetup } from './gateway.ts';

const STEPS = 3;

export const pipelineCase: BenchCase<GatewaySetup> = {
  name: 'pipeline',
  summary: 'Each client buys pipelines of three steps from random sellers, each time in the session of a random buyer.',
  unit: 'pipelines', unitsPerTurn: 1, deliveriesPerUnit: STEPS,
  population: { buyers: 100, sellers: 100 },
  price: '0.001', pricePerUnit: '0.003',
  async prepare(world) {
    return { sessions: await openSessions(world), serviceTypes: world.sellers.map((_, index) => serviceTypeOf(index)) };
  },
  turns: (setup, { host, port }) => pipelineTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
};

function pipelineTurns(setup: GatewaySetup, host: string): Turn {
  const heads = setup.sessions.map(({ apiKey, token }) =>
    requestHead(host, '/v1/gateway/pipeline', { Authorization: `Bearer ${apiKey}`, 'X-Gateway-Token': token }));
  return async (client, random) => {
    const steps = Array.from({ length: STEPS },
      (_, index) => ({ serviceType: pick(setup.serviceTypes, random), params: index === 0 ? { question: 'How much is the fish?' }
      : { before: '$prev.output' } }));
    const answer = await client.send(pick(heads, random) + requestTail(JSON.stringify({ steps })));
    if (answer.status !== 200) return `${answer.status} ${answer.body.slice(0, 200)}`;
    const done = JSON.parse(answer.body) as { steps: readonly { readonly latencyMs: number }[] };
    return { sellersMs: done.steps.reduce((sum, { latencyMs }) => sum + latencyMs, 0) };
  };
}
