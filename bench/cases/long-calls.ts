/**
 * Long calls: a thousand are open all the time. Each turn buys another one and has the oldest completed by its seller, so what is measured
 * is the price of a whole life (accepted, asked, begun, completed, settled, with its workflow) and the memory of those that wait.
 */
import type { BenchCase, Turn } from '../case.ts';
import { requestHead, requestTail } from '../http-client.ts';
import { inParallel, openSessions, serviceTypeOf } from '../market.ts';
import type { World } from '../world.ts';
import { pick } from './gateway.ts';

interface OpenCall { readonly callId: string; readonly seller: string }
interface LongCallSetup {
  readonly sessions: readonly { readonly apiKey: string; readonly token: string }[];
  readonly serviceTypes: readonly string[];
  /** API keys by address. */
  readonly sellerKeys: Readonly<Record<string, string>>;
  readonly open: readonly OpenCall[];
}

const OPEN = 1_000;
const HOUR_SECS = 3_600;
const PARAMS = { question: 'How much is the fish?', copies: 3 };
const ASYNC = { Prefer: 'respond-async' };

/** The case with so many calls open. */
export const longCallsWith = (open: number): BenchCase<LongCallSetup> => ({
  name: 'long-calls',
  summary: `Each client buys long calls of random sellers in random sessions; ${open} are open, and the oldest is completed.`,
  unit: 'long calls', unitsPerTurn: 1, deliveriesPerUnit: 0,
  population: { buyers: 100, sellers: 100 },
  price: '0.001', pricePerUnit: '0.001',
  prepare: (world) => openMany(world, open), finish: completeAll,
  turns: (setup, { host, port }) => longCallTurns(setup, `${host}:${port}`),
  payees: (world) => world.sellers.map((seller) => seller.address),
});

export const longCallsCase = longCallsWith(OPEN);

/** Sellers declare an hour, and so many calls are opened. The benchmark's sellers answer such requests with 202. */
async function openMany({ wire, buyers, sellers }: World, count: number): Promise<LongCallSetup> {
  await inParallel(sellers, async ({ address, apiKey }) => {
    const agent = await wire.must('GET', `/v1/agents/${address}`, { apiKey });
    const { services } = (agent.agent ?? agent) as { services: readonly { id: string }[] };
    await wire.must('PUT', `/v1/agents/${address}/services/${services[0]?.id ?? ''}`, { apiKey, body: { maxDurationSecs: HOUR_SECS } });
  });
  const sessions = await openSessions({ wire, buyers });
  const serviceTypes = sellers.map((_, index) => serviceTypeOf(index));
  const open = await inParallel(Array.from({ length: count }), async (_, index) => {
    const { apiKey = '', token = '' } = sessions[index % sessions.length] ?? {};
    const { callId, seller } = await wire.must('POST', '/v1/gateway/proxy',
      { apiKey, token, body: { serviceType: serviceTypes[index % serviceTypes.length], params: PARAMS, async: true } });
    return { callId: callId as string, seller: seller as string };
  });
  return { sessions, serviceTypes, open, sellerKeys: Object.fromEntries(sellers.map(({ address, apiKey }) => [address, apiKey])) };
}

/** What is open at the end of a level is completed, so that the books can be compared. */
async function completeAll({ wire, pool }: World, { sellerKeys }: LongCallSetup): Promise<void> {
  const { rows } = await pool.query<{ id: string; seller: string }>(`SELECT id, seller FROM gateway_call WHERE state = 'accepted'`);
  await inParallel(rows, ({ id, seller }) =>
    wire.must('POST', `/v1/gateway/calls/${id}/complete`, { apiKey: sellerKeys[seller] ?? '', body: { result: { output: 'done' } } }));
}

function longCallTurns({ sessions, serviceTypes, sellerKeys, open }: LongCallSetup, host: string): Turn {
  // All clients of the load process take from one queue.
  const queue = [...open];
  const heads = sessions.map(({ apiKey, token }) =>
    requestHead(host, '/v1/gateway/proxy', { Authorization: `Bearer ${apiKey}`, 'X-Gateway-Token': token, ...ASYNC }));
  const tails = serviceTypes.map((serviceType) => requestTail(JSON.stringify({ serviceType, params: PARAMS })));
  const result = requestTail(JSON.stringify({ result: { output: 'done' } }));
  return async (client, random) => {
    const begun = performance.now();
    const bought = await client.send(pick(heads, random) + pick(tails, random));
    if (bought.status !== 202) return `buy: ${bought.status} ${bought.body.slice(0, 200)}`;
    const buy = performance.now() - begun;
    queue.push(JSON.parse(bought.body) as OpenCall);
    const oldest = queue.shift() as OpenCall;
    const asked = performance.now();
    const done = await client.send(requestHead(host, `/v1/gateway/calls/${oldest.callId}/complete`,
      { Authorization: `Bearer ${sellerKeys[oldest.seller] ?? ''}` }) + result);
    const complete = performance.now() - asked;
    return done.status === 200 ? { stepsMs: { buy, complete } } : `complete: ${done.status} ${done.body.slice(0, 200)}`;
  };
}
