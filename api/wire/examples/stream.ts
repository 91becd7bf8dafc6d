/** One metered stream in the docs: opened, ticked one by one and together, topped up, closed. */
import { parseAmount, ZERO, type Micros } from '../../../domain/money.ts';
import { recommendHold } from '../../../domain/recommend-hold.ts';
import type { Stream, Tick } from '../../../domain/stream.ts';
import { showAfterTicks, showStream, showTick } from '../stream.ts';
import { at, buyer, digits, seller, wholePage } from './cast.ts';

const opened: Stream = {
  id: `str_${digits}`, buyer, seller, depositMicros: parseAmount('1.00'), pricePerTickMicros: parseAmount('0.001'), staleTimeoutMs: 60_000,
  serviceId: null, tenantId: null, sessionKeyId: null,
  spentMicros: ZERO, tickCount: 0, status: 'open', paused: false, lastTickAt: null, closedAt: null, closeReason: null, version: 1,
  workflowId: `stream-str_${digits}`, createdAt: at(0), updatedAt: at(0),
};
const ticked = (tickCount: number, spent: string, minutes: number): Stream =>
  ({ ...opened, tickCount, spentMicros: parseAmount(spent), lastTickAt: at(minutes), updatedAt: at(minutes) });
const first: Tick = { streamId: opened.id, seq: 1, amountMicros: opened.pricePerTickMicros,
  cumulativeMicros: opened.pricePerTickMicros as Micros, metadata: 'page 1', tickedBy: 'seller', createdAt: at(1) };
const three = ticked(3, '0.004', 2);
const topped: Stream = { ...three, depositMicros: parseAmount('1.50'), version: 2 };
const closed: Stream = { ...topped, status: 'closed', closedAt: at(3), closeReason: 'done', version: 3, updatedAt: at(3) };
const answer = (stream: Stream): object => ({ stream: showStream(stream) });

export const openExample = { body: { buyerAddr: buyer, sellerAddr: seller, holdAmount: '1.00', pricePerTick: '0.001' },
  answer: answer(opened) };
export const tickExample = { body: { seq: 1, metadata: 'page 1' },
  answer: { tick: showTick(first), ...showAfterTicks(ticked(1, '0.001', 1)) } };
export const batchExample = {
  body: { fromSeq: 2, ticks: [{ metadata: 'page 2' }, { amount: '0.002', metadata: 'page 3, a long one' }] },
  answer: { accepted: 2, firstSeq: 2, lastSeq: 3, ...showAfterTicks(three) },
};
export const topUpExample = { body: { amount: '0.50' }, answer: answer(topped) };
export const closeExample = { body: { reason: 'done' }, answer: answer(closed) };
export const oneExample = { answer: answer(three) };
export const ticksExample = { answer: { ticks: [showTick(first)], ...wholePage } };
export const listExample = { answer: { streams: [showStream(three)], ...wholePage } };

const question = { pricePerTick: 0.001, tickRate: 2, durationSec: 600, confidence: 0.95 };
export const adviceExample = { body: question, answer: recommendHold(question) };
