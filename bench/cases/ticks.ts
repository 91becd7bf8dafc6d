/** Metered streams: 32 of them, ticked one by one or by the thousand. The sellers are paid when the streams are closed at the end. */
import type { BenchCase, Turn } from '../case.ts';
import { requestHead, requestTail } from '../http-client.ts';
import { inParallel } from '../market.ts';
import type { World } from '../world.ts';
import { pick } from './gateway.ts';

interface TicksSetup {
  readonly streams: readonly { readonly id: string; readonly apiKey: string }[];
}

const STREAMS = 32;
const TICKS_PER_BATCH = 1_000;
const PRICE_PER_TICK = '0.000001';
const DEPOSIT = '100';

async function openStreams({ wire, buyers, sellers }: World): Promise<TicksSetup> {
  const streams = await inParallel(buyers, async ({ address, apiKey }, index) => {
    const body = { buyerAddr: address, sellerAddr: sellers[index % sellers.length]?.address, holdAmount: DEPOSIT,
      pricePerTick: PRICE_PER_TICK, staleTimeoutSecs: 600 };
    const { stream } = await wire.must('POST', '/v1/streams', { apiKey, body });
    return { id: stream.id as string, apiKey };
  });
  return { streams };
}

async function closeStreams({ wire }: World, { streams }: TicksSetup): Promise<void> {
  await inParallel(streams, ({ id, apiKey }) => wire.must('POST', `/v1/streams/${id}/close`, { apiKey, body: {} }));
}

const common = {
  unit: 'ticks', deliveriesPerUnit: 0, population: { buyers: STREAMS, sellers: STREAMS }, price: '0.001', pricePerUnit: PRICE_PER_TICK,
  prepare: openStreams, finish: closeStreams, payees: (world: World) => world.sellers.map((seller) => seller.address),
};

export const ticksCase: BenchCase<TicksSetup> = {
  ...common, name: 'ticks', unitsPerTurn: 1,
  summary: `Each client ticks random ones of ${STREAMS} streams, one tick a request.`,
  turns: (setup, { host, port }) => tickTurns(setup, `${host}:${port}`, 'tick', '{}'),
};

export const batchedTicksCase: BenchCase<TicksSetup> = {
  ...common, name: 'ticks-batched', unitsPerTurn: TICKS_PER_BATCH,
  summary: `Each client ticks random ones of ${STREAMS} streams, ${TICKS_PER_BATCH} ticks a request, each with its amount and a note of `
    + `the meter.`,
  turns: (setup, { host, port }) => tickTurns(setup, `${host}:${port}`, 'ticks', JSON.stringify({
    ticks: Array.from({ length: TICKS_PER_BATCH }, (_, index) => ({ amount: PRICE_PER_TICK, metadata: `meter ${index}` })),
  })),
};

function tickTurns({ streams }: TicksSetup, host: string, route: string, body: string): Turn {
  const requests = streams.map(({ id, apiKey }) => requestHead(host, `/v1/streams/${id}/${route}`, { Authorization: `Bearer ${apiKey}` }) +
    requestTail(body));
  return async (client, random) => {
    const answer = await client.send(pick(requests, random));
    return answer.status === 200 ? null : `${answer.status} ${answer.body.slice(0, 200)}`;
  };
}
