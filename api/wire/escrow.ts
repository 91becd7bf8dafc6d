/** How escrows look on the wire (contract alancoin-payments 2.6), and what requests about them may hold. */
import { z } from 'zod';
import { formatDuration } from '../../domain/duration.ts';
import { escrowBounds } from '../../domain/escrow-input.ts';
import { escrowStatuses, type EscrowPayment, type EscrowStatus } from '../../domain/escrow.ts';
import { formatMicros } from '../../domain/money.ts';
import {
  address, addressOut, amount, amountOut, currency, currencyOut, duration, emptyIsAbsent, line, paragraph, textIf, timeIf, timeOut,
} from './fields.ts';

const evidenceOut = z.object({ submittedBy: z.string(), content: z.string(), submittedAt: timeOut });

export const escrowOut = z.object({
  id: z.string(), buyerAddr: addressOut, sellerAddr: addressOut, arbitratorAddr: addressOut.optional(), amount: amountOut,
  currency: currencyOut, serviceId: z.string().optional(),
  status: z.enum(escrowStatuses),
  autoReleaseAt: timeOut.describe('The delivery deadline: undelivered by then, the money goes back to the buyer.'),
  deliveredAt: timeOut.optional(), disputeWindowUntil: timeOut.optional()
    .describe('Until then the buyer may dispute; then the seller is paid.'),
  disputeReason: z.string().optional(), disputeEvidence: z.array(evidenceOut).optional().describe('Left out of lists.'),
  arbitrationDeadline: timeOut.optional().describe('Without a ruling by then, the money goes back to the buyer.'),
  deadline: timeOut.optional().describe('When the clock decides the state the escrow is in. Absent once it has ended.'),
  resolution: z.string().optional(), resolvedAt: timeOut.optional(), releasedAmount: amountOut, refundedAmount: amountOut,
  partialReleaseAmount: amountOut.optional(), partialRefundAmount: amountOut.optional(),
  reviewWindow: z.string(), rulingWindow: z.string(), buyerMayCancel: z.boolean(), tenantId: z.string().optional(), workflowId: z.string(),
  createdAt: timeOut, updatedAt: timeOut,
});


/** What a party has said in a dispute. */
export interface Evidence {
  readonly submittedBy: string;
  readonly content: string;
  readonly submittedAtMs: number;
}

/** @param evidence undefined where it was not read: lists leave it out. */
export function showEscrow(escrow: EscrowPayment, evidence?: readonly Evidence[]): z.input<typeof escrowOut> {
  const { id, state, terms, details, paidMicros, returnedMicros, endedAtMs } = escrow;
  const isSplit = paidMicros > 0n && returnedMicros > 0n;
  return {
    id, buyerAddr: escrow.buyer, sellerAddr: escrow.seller ?? '', ...textIf('arbitratorAddr', escrow.arbiter),
    amount: formatMicros(escrow.heldMicros), currency: escrow.asset,
    ...textIf('serviceId', terms.serviceId), status: state as EscrowStatus, autoReleaseAt: new Date(details.deliverByMs).toISOString(),
    ...timeIf('deliveredAt', details.deliveredAtMs),
    ...timeIf('disputeWindowUntil', details.reviewUntilMs), ...textIf('disputeReason', details.disputeReason),
    ...(evidence === undefined ? {}
      : { disputeEvidence: evidence.map(({ submittedAtMs, ...said }) =>
      ({ ...said, submittedAt: new Date(submittedAtMs).toISOString() })) }),
    ...timeIf('arbitrationDeadline', details.rulingUntilMs), ...timeIf('deadline', escrow.deadlineMs),
    ...textIf('resolution', escrow.resolution), ...timeIf('resolvedAt', endedAtMs),
    releasedAmount: formatMicros(paidMicros), refundedAmount: formatMicros(returnedMicros),
    ...(isSplit ? { partialReleaseAmount: formatMicros(paidMicros), partialRefundAmount: formatMicros(returnedMicros) } : {}),
    reviewWindow: formatDuration(terms.reviewMs), rulingWindow: formatDuration(terms.rulingMs), buyerMayCancel: terms.buyerMayCancel,
    ...textIf('tenantId', escrow.tenantId), workflowId: escrow.workflowId, createdAt: new Date(escrow.createdAtMs).toISOString(),
    updatedAt: new Date(escrow.updatedAtMs).toISOString(),
  };
}

const { durationMsMin, durationMsMax, textMax, reasonMax } = escrowBounds;

const time = (fallbackMs: number) => duration({ msMin: durationMsMin, msMax: durationMsMax, fallbackMs });

export const createBody = z.object({
  buyerAddr: address.describe('You.'), sellerAddr: address.describe('Need not be registered.'), amount, currency,
  serviceId: z.preprocess(emptyIsAbsent, line(100).optional()),
  sessionKeyId: z.preprocess(emptyIsAbsent, z.undefined({ error: 'cannot be used: session keys are not offered yet' })),
  autoRelease: time(escrowBounds.deliveryMsDefault)
    .describe('Time to deliver; 5m when left out. Undelivered by then, the money goes back to you.'),
  reviewWindow: time(escrowBounds.reviewMsDefault)
    .describe('Time to dispute after the delivery; 24h when left out. In silence the seller is paid.'),
  rulingWindow: time(escrowBounds.rulingMsDefault)
    .describe('Time for the ruling; 72h when left out. Without one the money goes back to you.'),
  arbitratorAddr: z.preprocess(emptyIsAbsent, address.optional())
    .describe('Who rules in a dispute; the platform when left out. Cannot be changed later.'),
  buyerMayCancel: z.boolean().default(false).describe('You may cancel as long as nothing was delivered.'),
}).refine(({ arbitratorAddr, buyerAddr, sellerAddr }) => arbitratorAddr === undefined || (arbitratorAddr !== buyerAddr
    && arbitratorAddr !== sellerAddr), {
  path: ['arbitratorAddr'], error: 'must be neither the buyer nor the seller',
});

export const disputeBody = z.object({ reason: paragraph(textMax, 1) });
export const evidenceBody = z.object({ content: paragraph(textMax, 1) });
export const arbitrateBody = z.object({
  arbitratorAddr: z.preprocess(emptyIsAbsent, address.optional())
    .describe('May be left out. Anybody but the arbiter named at the start is refused.'),
});

const noAmount = { params: { code: 'invalid_amount' } };
export const resolveBody = z.strictObject({
  resolution: z.enum(['release', 'refund', 'partial']),
  releaseAmount: z.preprocess(emptyIsAbsent, amount.optional())
    .describe('For `partial`: what the seller gets; more than nothing, less than all.'),
  partialAmount: z.preprocess(emptyIsAbsent, amount.optional()).describe('The same by another name.'),
  reason: z.preprocess(emptyIsAbsent, paragraph(reasonMax, 1).optional()),
}).transform((body) => ({ ...body, amounts: [body.releaseAmount, body.partialAmount].filter((given) => given !== undefined) }))
  .refine(({ amounts: [first, second] }) => first === undefined || second === undefined || first === second,
    { path: ['releaseAmount'], error: 'differs from partialAmount', ...noAmount })
  .refine(({ resolution, amounts }) => (resolution === 'partial') === amounts.length > 0,
    { path: ['releaseAmount'], error: 'is needed for a partial ruling, and only there', ...noAmount });
