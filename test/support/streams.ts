/** Metered streams over the HTTP of a running platform, in this process or in another one. */
import type { Reply } from './app.ts';
import type { Market, Trader } from './market.ts';

export interface OpenedStream {
  readonly id: string;
  readonly workflowId: string;
  readonly buyer: Trader;
  readonly seller: Trader;
}

export interface StreamWish {
  readonly holdAmount?: string;
  readonly pricePerTick?: string;
  readonly staleTimeoutSecs?: number;
  readonly buyer?: Trader;
  readonly seller?: Trader;
}

/** A stream of fresh parties, the buyer having exactly its deposit, unless the test names others. */
export async function aStream(market: Market,
    { holdAmount = '1.00', pricePerTick = '0.10', staleTimeoutSecs = 600, ...parties }: StreamWish = {}): Promise<OpenedStream> {
  const buyer = parties.buyer ?? (await market.aTrader(holdAmount));
  const seller = parties.seller ?? (await market.aTrader());
  const reply = await market.ask('POST', '/v1/streams',
    { key: buyer.key, body: { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount, pricePerTick, staleTimeoutSecs } });
  if (reply.status !== 201) throw new Error(`The stream was not opened: ${reply.text}`);
  const { id, workflowId } = reply.body.stream as { id: string; workflowId: string };
  return { id, workflowId, buyer, seller };
}

/** POST to a step of the stream, by its buyer unless the test names somebody else. */
export function step(market: Market, stream: OpenedStream, name: string, body: unknown = {},
    { by = stream.buyer, key }: { by?: Trader; key?: string } = {}): Promise<Reply> {
  return market.ask('POST', `/v1/streams/${stream.id}/${name}`,
    { key: by.key, body, headers: key === undefined ? {} : { 'idempotency-key': key } });
}

/** GET of the stream by its buyer. */
export async function streamNow(market: Market,
    stream: OpenedStream): Promise<Record<string, string> & { tickCount: number; paused: boolean }> {
  return (await market.ask('GET', `/v1/streams/${stream.id}`, { key: stream.buyer.key })).body.stream;
}

/** The numbers of all ticks, page by page. */
export async function seqsOf(market: Market, stream: OpenedStream): Promise<number[]> {
  const seqs: number[] = [];
  let cursor = '';
  do {
    const { body } = await market.ask('GET', `/v1/streams/${stream.id}/ticks?limit=1000&cursor=${cursor}`, { key: stream.buyer.key });
    seqs.push(...(body.ticks as { seq: number }[]).map(({ seq }) => seq));
    cursor = (body.next_cursor as string | undefined) ?? '';
  } while (cursor !== '');
  return seqs;
}

/** 1, 2, … n. */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, index) => index + 1);
}
