/** How multistep escrows look on the wire (contract alancoin-payments 2.7), and what requests about them may hold. */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import {
  multistepBounds, multistepResolutions, multistepStatuses, type MultistepPayment, type MultistepStatus,
} from '../../domain/multistep.ts';
import { address, addressOut, amount, amountOut, currency, currencyOut, duration, textIf, timeIf, timeOut } from './fields.ts';

const { stepsMax, expiresInMsDefault, expiresInMsMin, expiresInMsMax } = multistepBounds;

const stepOut = z.object({
  stepIndex: z.number().int(), sellerAddr: addressOut, amount: amountOut, confirmed: z.boolean(), confirmedAt: timeOut.optional(),
});

export const multistepOut = z.object({
  id: z.string(), buyerAddr: addressOut, tenantId: z.string().optional(), currency: currencyOut, totalAmount: amountOut,
  spentAmount: amountOut,
  refundedAmount: amountOut, remainingAmount: amountOut.describe('Still held: neither paid nor given back.'),
  totalSteps: z.number().int(), confirmedSteps: z.number().int(), plannedSteps: z.array(stepOut).max(stepsMax),
  status: z.enum(multistepStatuses),
  resolution: z.enum(multistepResolutions).optional().describe('Why the rest went back to the buyer.'),
  deadline: timeOut.describe('When the rest goes back by itself.'), workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
  endedAt: timeOut.optional(),
});

/** What is still held is the total without what was paid and given back. */
export function showMultistep(escrow: MultistepPayment): z.input<typeof multistepOut> {
  const { id, parts, heldMicros, paidMicros, returnedMicros, resolution } = escrow;
  // How a completed one ended is said by its state.
  const why = multistepResolutions.find((known) => known === resolution);
  return {
    id, buyerAddr: escrow.buyer, ...textIf('tenantId', escrow.tenantId), currency: escrow.asset, totalAmount: formatMicros(heldMicros),
    spentAmount: formatMicros(paidMicros), refundedAmount: formatMicros(returnedMicros),
    remainingAmount: formatMicros(heldMicros - paidMicros - returnedMicros),
    totalSteps: parts.length, confirmedSteps: parts.filter(({ paidAtMs }) => paidAtMs !== null).length,
    plannedSteps: parts.map(({ index: stepIndex, payee: sellerAddr, amountMicros, paidAtMs }) =>
      ({ stepIndex, sellerAddr, amount: formatMicros(amountMicros), confirmed: paidAtMs !== null, ...timeIf('confirmedAt', paidAtMs) })),
    status: escrow.state as MultistepStatus, ...(why === undefined ? {} : { resolution: why }),
    deadline: new Date(escrow.details.expiresAtMs).toISOString(), workflowId: escrow.workflowId,
    createdAt: new Date(escrow.createdAtMs).toISOString(), updatedAt: new Date(escrow.updatedAtMs).toISOString(),
    ...timeIf('endedAt', escrow.endedAtMs),
  };
}

export const createBody = z.object({
  totalAmount: amount.describe('Held at once; the steps must add up to it.'),
  currency,
  totalSteps: z.number().int().min(1).max(stepsMax),
  plannedSteps: z.array(z.object({ sellerAddr: address, amount }).strict()).min(1).max(stepsMax)
    .describe('Who is paid how much, in the order of the plan.'),
  expiresIn: duration({ msMin: expiresInMsMin, msMax: expiresInMsMax, fallbackMs: expiresInMsDefault })
    .describe('When the rest goes back by itself, as 90s, 1h30m or 2d; 24h when left out.'),
}).refine(({ totalSteps, plannedSteps }) => plannedSteps.length === totalSteps,
  { path: ['plannedSteps'], error: 'must have as many steps as totalSteps says' });

/** However far out it is, it is only a step that the plan does not have: Postgres and JavaScript agree on numbers of this size. */
const stepIndex = z.number().refine(Number.isInteger, 'must be a whole number').meta({ type: 'integer' })
  .transform((index) => Math.min(Math.max(index, -1), stepsMax))
  .describe('Which step of the plan, from 0; in any order.');

export const confirmBody = z.object({
  stepIndex, sellerAddr: address.describe('As planned.'), amount: amount.describe('As planned; `0.1` is `0.10`.'),
});
