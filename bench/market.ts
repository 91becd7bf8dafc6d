/** Fills the world with sellers and with buyers who have money and open sessions, all through the HTTP API. */
import type { Wire } from '../demo/wire.ts';
import { randomAddress, type BenchAgent, type World } from './world.ts';

/** Requests under way at once while the world is filled. */
const AT_ONCE = 16;
const DEPOSIT = '10000';
const SESSION_BUDGET = '1000';
/** As many as a session may have; at 300 buyers the limit of all together is far above any rate measured. */
const REQUESTS_PER_MINUTE = 1_000;

/** The same number of digits for every seller, so that all requests are equally long. */
export function serviceTypeOf(index: number): string {
  return `bench-${String(index).padStart(4, '0')}`;
}

/** Registers one seller for each port and puts its service into the catalogue. */
export function createSellers(wire: Wire, ports: readonly number[], price: string): Promise<BenchAgent[]> {
  return inParallel(ports, async (port, index) => {
    const agent = await register(wire, `Bench seller ${index}`);
    await wire.must('POST', `/v1/agents/${agent.address}/services`, {
      apiKey: agent.apiKey,
      body: { type: serviceTypeOf(index), name: `Bench service ${index}`, price,
        endpoint: `http://127.0.0.1:${port}/work`, idempotent: true },
    });
    return agent;
  });
}

/** Registers buyers and gives each of them money. */
export function createBuyers(wire: Wire, adminSecret: string, count: number): Promise<BenchAgent[]> {
  return inParallel(Array.from({ length: count }), async (_, index) => {
    const agent = await register(wire, `Bench buyer ${index}`);
    await wire.must('POST', '/v1/admin/deposits',
      { adminSecret, body: { agentAddress: agent.address, amount: DEPOSIT, txHash: `bench-${agent.address}` } });
    return agent;
  });
}

/** Opens a session for each buyer. */
export function openSessions(world: Pick<World, 'wire' | 'buyers'>): Promise<{ apiKey: string; token: string }[]> {
  return inParallel(world.buyers, async ({ apiKey }) => {
    const { token } = await world.wire.must('POST', '/v1/gateway/sessions', {
      apiKey, body: { maxTotal: SESSION_BUDGET, maxPerRequest: '1', maxRequestsPerMinute: REQUESTS_PER_MINUTE },
    });
    return { apiKey, token: token as string };
  });
}

async function register(wire: Wire, name: string): Promise<BenchAgent> {
  const address = randomAddress();
  const { apiKey } = await wire.must('POST', '/v1/agents', { body: { address, name } });
  return { address, apiKey: apiKey as string };
}

/** Does the work for every item, {@link AT_ONCE} at a time; results come in the order of the items. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next; index < items.length; index = next) {
      next += 1;
      results[index] = await work(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  return results;
}
