/** Whole lives of sessions: a budget is held, one call is paid from it, the rest comes back. Three requests a turn. */
import type { BenchCase, Turn } from '../case.ts';
import { requestHead, requestTail, type HttpClient } from '../http-client.ts';
import { serviceTypeOf } from '../market.ts';
import type { BenchAgent } from '../world.ts';
import { pick } from './gateway.ts';

interface SessionsSetup {
  readonly buyers: readonly BenchAgent[];
  readonly serviceTypes: readonly string[];
}

export const sessionsCase: BenchCase<SessionsSetup> = {
  name: 'sessions',
  summary: 'Each client lives whole sessions of random buyers: open, one call, close.',
  unit: 'sessions', unitsPerTurn: 1, deliveriesPerUnit: 1,
  population: { buyers: 100, sellers: 100 },
  price: '0.001', pricePerUnit: '0.001',
  prepare: async ({ buyers, sellers }) => ({ buyers, serviceTypes: sellers.map((_, index) => serviceTypeOf(index)) }),
  turns: (setup, { host, port }) => sessionTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
};

function sessionTurns({ buyers, serviceTypes }: SessionsSetup, host: string): Turn {
  return async (client: HttpClient, random) => {
    const [{ apiKey }, serviceType] = [pick(buyers, random), pick(serviceTypes, random)];
    const stepsMs: Record<string, number> = {};
    const ask = async (step: string, method: string, path: string, body: object, more: Record<string, string> = {}): Promise<string> => {
      const begun = performance.now();
      const request = requestHead(host, path, { Authorization: `Bearer ${apiKey}`, ...more }).replace(/^POST/, method);
      const answer = await client.send(request + requestTail(JSON.stringify(body)));
      stepsMs[step] = performance.now() - begun;
      if (answer.status !== 200 && answer.status !== 201) throw new Error(`${step}: ${answer.status} ${answer.body.slice(0, 200)}`);
      return answer.body;
    };
    try {
      const opened = await ask('open', 'POST', '/v1/gateway/sessions', { maxTotal: '0.01' });
      const { token } = JSON.parse(opened) as { token: string };
      await ask('call', 'POST', '/v1/gateway/proxy', { serviceType, params: {} }, { 'X-Gateway-Token': token });
      await ask('close', 'DELETE', `/v1/gateway/sessions/${token}`, {});
      return { stepsMs };
    } catch (error) {
      return (error as Error).message;
    }
  };
}
