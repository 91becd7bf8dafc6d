/** How streams and ticks look on the wire (contract alancoin-payments 2.8). */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import { isDepositLow, tickIdOf, type Stream, type Tick } from '../../domain/stream.ts';
import type { StreamModel, StreamTickModel } from '../../prisma/generated/models.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

export const streamOut = z.object({
  id: z.string(), buyerAddr: addressOut, sellerAddr: addressOut, serviceId: z.string().optional(),
  sessionKeyId: z.string().optional(), holdAmount: amountOut,
  spentAmount: amountOut, remaining: amountOut, pricePerTick: amountOut, tickCount: z.number().int(),
  status: z.enum(['open', 'closed', 'stale_closed']),
  staleTimeoutSecs: z.number(), depositLow: z.boolean(), paused: z.boolean(), lastTickAt: timeOut.optional(), closedAt: timeOut.optional(),
  closeReason: z.string().optional(),
  workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
});

export function showStream(stream: Stream): z.input<typeof streamOut> {
  const { id, buyer, seller, serviceId, sessionKeyId, depositMicros, spentMicros, pricePerTickMicros, tickCount, status, staleTimeoutMs,
    paused, workflowId } = stream;
  const { lastTickAt, closedAt, closeReason, createdAt, updatedAt } = stream;
  return {
    id, buyerAddr: buyer, sellerAddr: seller, ...(serviceId === null ? {} : { serviceId }),
    ...(sessionKeyId === null ? {} : { sessionKeyId }),
    holdAmount: formatMicros(depositMicros), spentAmount: formatMicros(spentMicros), remaining: status === 'open'
      ? formatMicros(depositMicros - spentMicros) : '0.000000',
    pricePerTick: formatMicros(pricePerTickMicros), tickCount, status, staleTimeoutSecs: staleTimeoutMs / 1_000,
    depositLow: isDepositLow(stream), paused,
    ...(lastTickAt === null ? {} : { lastTickAt: lastTickAt.toISOString() }),
    ...(closedAt === null ? {} : { closedAt: closedAt.toISOString() }),
    ...(closeReason === null ? {} : { closeReason }), workflowId, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString(),
  };
}

/** A stored stream, as the port would give it. */
export function streamOf(row: StreamModel): Stream {
  const { deposit, spent, pricePerTick, staleTimeoutMs, ...rest } = row;
  return { ...rest, depositMicros: deposit, spentMicros: spent, pricePerTickMicros: pricePerTick,
    staleTimeoutMs: Number(staleTimeoutMs) } as unknown as Stream;
}

export const tickOut = z.object({
  id: z.string(), streamId: z.string(), seq: z.number().int(), amount: amountOut, cumulative: amountOut, metadata: z.string().optional(),
  tickedBy: z.enum(['buyer', 'seller']), createdAt: timeOut,
});

export function showTick(tick: Tick): z.input<typeof tickOut> {
  const { streamId, seq, amountMicros, cumulativeMicros, metadata, tickedBy, createdAt } = tick;
  return {
    id: tickIdOf(streamId, seq), streamId, seq, amount: formatMicros(amountMicros), cumulative: formatMicros(cumulativeMicros),
    ...(metadata === null ? {} : { metadata }),
    tickedBy, createdAt: createdAt.toISOString(),
  };
}

/** A stored tick, as the port would give it. */
export function tickOf(row: StreamTickModel): Tick {
  const { amount, cumulative, ...rest } = row;
  return { ...rest, amountMicros: amount, cumulativeMicros: cumulative } as unknown as Tick;
}

/** What a meter wants to know after its ticks, beside the stream itself. */
export const afterTicksOut = { stream: streamOut, remaining: amountOut, depositLow: z.boolean(), paused: z.boolean() };

export function showAfterTicks(stream: Stream): { stream: z.input<typeof streamOut>; remaining: string;
    depositLow: boolean; paused: boolean } {
  const shown = showStream(stream);
  return { stream: shown, remaining: shown.remaining, depositLow: shown.depositLow, paused: shown.paused };
}
