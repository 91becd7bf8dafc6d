/** How a multistep escrow looks on the wire (contract alancoin-payments 2.7): schema beside presenter. */
import { z } from 'zod';
import { formatMicros, micros } from '../../domain/money.ts';
import { remainingOf, type MultistepEscrow } from '../../domain/multistep.ts';
import type { MultistepEscrowModel, MultistepStepModel } from '../../prisma/generated/models.ts';
import { addressOut, amountOut, timeOut } from './fields.ts';

export const multistepOut = z.object({
  id: z.string(), buyerAddr: addressOut, tenantId: z.string().optional(), totalAmount: amountOut, spentAmount: amountOut,
  refundedAmount: amountOut,
  remainingAmount: amountOut.describe('Still held: neither paid nor given back.'), totalSteps: z.number().int(),
  confirmedSteps: z.number().int(),
  plannedSteps: z.array(z.object({ stepIndex: z.number().int(), sellerAddr: addressOut, amount: amountOut, confirmed: z.boolean(),
    confirmedAt: timeOut.optional() })),
  status: z.enum(['open', 'completed', 'aborted']), resolution: z.enum(['buyer_refund', 'expired']).optional()
    .describe('Why the rest went back to the buyer.'),
  deadline: timeOut.describe('When the rest goes back by itself.'), workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
  endedAt: timeOut.optional(),
});

export function showMultistep(escrow: MultistepEscrow): z.input<typeof multistepOut> {
  const { id, buyer, tenantId, steps, confirmedSteps, status, resolution, workflowId, endedAt } = escrow;
  return {
    id, buyerAddr: buyer, ...(tenantId === null ? {} : { tenantId }), totalAmount: formatMicros(escrow.totalMicros),
    spentAmount: formatMicros(escrow.spentMicros),
    refundedAmount: formatMicros(escrow.refundedMicros), remainingAmount: formatMicros(remainingOf(escrow)),
    totalSteps: steps.length, confirmedSteps,
    plannedSteps: steps.map(({ seller, amountMicros, confirmedAt }, stepIndex) => ({
      stepIndex, sellerAddr: seller, amount: formatMicros(amountMicros), confirmed: confirmedAt !== null,
      ...(confirmedAt === null ? {} : { confirmedAt: confirmedAt.toISOString() }),
    })),
    status, ...(resolution === null ? {} : { resolution }), deadline: escrow.deadline.toISOString(), workflowId,
    createdAt: escrow.createdAt.toISOString(),
    updatedAt: escrow.updatedAt.toISOString(), ...(endedAt === null ? {} : { endedAt: endedAt.toISOString() }),
  };
}

/** A stored escrow with its plan in order. */
export function multistepOf(row: MultistepEscrowModel & { readonly steps: readonly MultistepStepModel[] }): MultistepEscrow {
  return {
    ...row, totalMicros: micros(row.total), spentMicros: micros(row.spent), refundedMicros: micros(row.refunded),
    status: row.status as MultistepEscrow['status'],
    resolution: row.resolution as MultistepEscrow['resolution'],
    steps: row.steps.map(({ seller, amount, confirmedAt }) => ({ seller, amountMicros: micros(amount), confirmedAt })),
  };
}
