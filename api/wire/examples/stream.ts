/** One metered stream in the docs: opened, ticked one by one and together, topped up, closed. */
import { parseAmount, ZERO } from '../../../domain/money.ts';
import { recommendHold } from '../../../domain/recommend-hold.ts';
import type { StreamPayment } from '../../../domain/stream.ts';
import { shownTick, type Tick } from '../../../domain/tick.ts';
import { showAfterTicks, showStream } from '../stream.ts';
import { at, buyer, digits, seller, wholePage } from './cast.ts';

const [deposit, price] = [parseAmount('1.00'), parseAmount('0.001')];
const opened: StreamPayment = {
  id: `str_${digits}`, kind: 'stream', state: 'open', version: 1, deadlineMs: at(1).getTime(), buyer, seller, arbiter: null, tenantId: null,
  asset: 'USDC', heldMicros: deposit, paidMicros: ZERO, returnedMicros: ZERO, resolution: null,
  terms: { serviceId: null, sessionKeyId: null, pricePerTickMicros: price.toString(), staleTimeoutMs: 60_000 }, details: {},
  meter: { isOpen: true, capacityMicros: deposit, usedMicros: ZERO, reservedMicros: ZERO, uses: 0, idleMs: 60_000,
    lastUsedAtMs: at(0).getTime() },
  parts: [], workflowId: `stream-str_${digits}`, workflowStarted: true, createdAtMs: at(0).getTime(), updatedAtMs: at(0).getTime(),
  endedAtMs: null,
};
const ticked = (uses: number, used: string, minutes: number): StreamPayment =>
  ({ ...opened, meter: { ...opened.meter, uses, usedMicros: parseAmount(used), lastUsedAtMs: at(minutes).getTime() } });
const first: Tick = { streamId: opened.id, seq: 1, amountMicros: price, cumulativeMicros: price, metadata: 'page 1', tickedBy: 'seller',
  createdAt: at(1) };
const three = ticked(3, '0.004', 2);
const more = parseAmount('1.50');
const topped: StreamPayment = { ...three, heldMicros: more, meter: { ...three.meter, capacityMicros: more }, version: 2 };
const closed: StreamPayment = {
  ...topped, state: 'closed', version: 3, deadlineMs: null, resolution: 'closed', details: { closeReason: 'done' },
  meter: { ...topped.meter, isOpen: false }, updatedAtMs: at(3).getTime(), endedAtMs: at(3).getTime(),
};
const answer = (stream: StreamPayment): object => ({ stream: showStream(stream) });

export const openExample = { body: { buyerAddr: buyer, sellerAddr: seller, holdAmount: '1.00', pricePerTick: '0.001' },
  answer: answer(opened) };
export const tickExample = { body: { seq: 1, metadata: 'page 1' },
  answer: { tick: shownTick(first), ...showAfterTicks(ticked(1, '0.001', 1)) } };
export const batchExample = {
  body: { fromSeq: 2, ticks: [{ metadata: 'page 2' }, { amount: '0.002', metadata: 'page 3, a long one' }] },
  answer: { accepted: 2, firstSeq: 2, lastSeq: 3, ...showAfterTicks(three) },
};
export const topUpExample = { body: { amount: '0.50' }, answer: answer(topped) };
export const closeExample = { body: { reason: 'done' }, answer: answer(closed) };
export const oneExample = { answer: answer(three) };
export const ticksExample = { answer: { ticks: [shownTick(first)], ...wholePage } };
export const listExample = { answer: { streams: [showStream(three)], ...wholePage } };

const question = { pricePerTick: 0.001, tickRate: 2, durationSec: 600, confidence: 0.95 };
export const adviceExample = { body: question, answer: recommendHold(question) };
