/** How streams and ticks look on the wire (contract alancoin-payments 2.8). */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import { isDepositLow, isPaused, leftOf, priceOf, streamStatuses, type StreamPayment } from '../../domain/stream.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

export const streamOut = z.object({
  id: z.string(), buyerAddr: addressOut, sellerAddr: addressOut, serviceId: z.string().optional(),
  sessionKeyId: z.string().optional(), holdAmount: amountOut,
  spentAmount: amountOut, remaining: amountOut, pricePerTick: amountOut, tickCount: z.number().int(),
  status: z.enum(streamStatuses),
  staleTimeoutSecs: z.number(), depositLow: z.boolean(), paused: z.boolean(), lastTickAt: timeOut.optional(), closedAt: timeOut.optional(),
  closeReason: z.string().optional(),
  workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
});

const timeOf = (atMs: number): string => new Date(atMs).toISOString();

/** A stream, as its row and its meter have it together. */
export function showStream(stream: StreamPayment): z.input<typeof streamOut> {
  const { id, buyer, seller, terms, details, meter, heldMicros, state, endedAtMs, createdAtMs, updatedAtMs, workflowId } = stream;
  const { serviceId, sessionKeyId, staleTimeoutMs } = terms;
  const price = priceOf(stream);
  const lastTickAtMs = meter.uses === 0 ? null : meter.lastUsedAtMs;
  const closeReason = state === 'stale_closed' ? stream.resolution : details.closeReason;
  return {
    id, buyerAddr: buyer, sellerAddr: seller ?? '', ...(serviceId === null ? {} : { serviceId }),
    ...(sessionKeyId === null ? {} : { sessionKeyId }),
    holdAmount: formatMicros(heldMicros), spentAmount: formatMicros(meter.usedMicros),
    remaining: formatMicros(meter.isOpen ? leftOf(meter) : 0n), pricePerTick: formatMicros(price), tickCount: meter.uses,
    status: state as (typeof streamStatuses)[number], staleTimeoutSecs: staleTimeoutMs / 1_000,
    depositLow: isDepositLow(meter), paused: isPaused(meter, price),
    ...(lastTickAtMs === null ? {} : { lastTickAt: timeOf(lastTickAtMs) }),
    ...(endedAtMs === null ? {} : { closedAt: timeOf(endedAtMs) }),
    ...(closeReason === undefined || closeReason === null ? {} : { closeReason }), workflowId,
    createdAt: timeOf(createdAtMs), updatedAt: timeOf(Math.max(updatedAtMs, lastTickAtMs ?? 0)),
  };
}

export const tickOut = z.object({
  id: z.string(), streamId: z.string(), seq: z.number().int(), amount: amountOut, cumulative: amountOut, metadata: z.string().optional(),
  tickedBy: z.enum(['buyer', 'seller']), createdAt: timeOut,
});

/** What a meter wants to know after its ticks, beside the stream itself. */
export const afterTicksOut = { stream: streamOut, remaining: amountOut, depositLow: z.boolean(), paused: z.boolean() };

export function showAfterTicks(stream: StreamPayment): { stream: z.input<typeof streamOut>; remaining: string;
    depositLow: boolean; paused: boolean } {
  const shown = showStream(stream);
  return { stream: shown, remaining: shown.remaining, depositLow: shown.depositLow, paused: shown.paused };
}
