/** Metered streams over the HTTP of a running platform, in this process or in another one; and their time, as the rows have it. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { viewOf } from '../../activities/payment/activities.ts';
import type { PaymentInput } from '../../domain/payment-messages.ts';
import { taskQueues } from '../../workflows/contracts/ids.ts';
import type { Reply } from './app.ts';
import type { Market, Trader } from './market.ts';
import { eventually } from './platform-suite.ts';
import type { TestPlatform } from './platform.ts';

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

/**
 * Lets the stream be silent for too long, as the rows see it.
 * @param overdueSecs so long ago its time was up; the sweeper leaves what is less than ten to the workflow.
 * @param rows `payment` alone: its deadline has passed, and it was ticked meanwhile.
 */
export async function silent(pool: pg.Pool, { id }: Pick<OpenedStream, 'id'>, overdueSecs = 3_600,
    rows: readonly ('meter' | 'payment')[] = ['meter', 'payment']): Promise<void> {
  const was = `clock_timestamp() - $2 * interval '1 second'`;
  const passed = { meter: `UPDATE meter SET last_used_at = ${was} - idle_ms * interval '1 millisecond' WHERE id = $1`,
    payment: `UPDATE payment SET deadline = ${was} WHERE id = $1` };
  for (const row of rows) await pool.query(passed[row], [id, overdueSecs]);
}

/** Starts the workflow of a stream again, so that it goes on in a new run after so many events. @returns the first run. */
export async function newRunsAfter(eventsMax: number, { temporal, runtime, queueSuffix }: TestPlatform,
    { id, workflowId, buyer }: OpenedStream): Promise<string> {
  const { workflow } = temporal.client;
  await eventually(() => workflow.getHandle(workflowId).terminate('to be started with a shorter limit'));
  const payment = await runtime.ports.payments.read(id);
  if (payment === null) throw new Error('There is no such stream.');
  const input: PaymentInput = {
    id, startId: randomUUID(), amount: '1.000000', asset: 'USDC', buyer: buyer.address, open: null, view: viewOf(payment),
    searchAttributes: ['PaymentState'], eventsMax,
  };
  const { firstExecutionRunId } = await workflow.start('stream',
    { workflowId, taskQueue: taskQueues.stream + queueSuffix, args: [input], searchAttributes: { Buyer: [buyer.address] } });
  return firstExecutionRunId;
}

/** What the outside was told of it, in order. */
export async function eventsOf(pool: pg.Pool, { id }: Pick<OpenedStream, 'id'>): Promise<string[]> {
  const { rows } = await pool.query<{ topic: string }>(
    `SELECT topic FROM outbox WHERE ref = $1 AND topic NOT LIKE 'call.%' ORDER BY id`, [id]);
  return rows.map(({ topic }) => topic.replace('stream.', ''));
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
