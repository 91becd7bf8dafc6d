/** How escrows look on the wire (contract alancoin-payments 2.6), and what requests about them may hold. */
import { z } from 'zod';
import { formatDuration, parseDuration } from '../domain/duration.ts';
import { escrowBounds, escrowStatuses, type Escrow } from '../domain/escrow.ts';
import { formatMicros, micros } from '../domain/money.ts';
import type { EscrowEvidenceModel, EscrowModel } from '../prisma/generated/models.ts';
import { address, addressOut, amount, amountOut, emptyIsAbsent, line, paragraph, timeOut } from './schemas.ts';

const evidenceOut = z.object({ submittedBy: z.string(), content: z.string(), submittedAt: timeOut });

export const escrowOut = z.object({
  id: z.string(), buyerAddr: addressOut, sellerAddr: addressOut, arbitratorAddr: addressOut.optional(), amount: amountOut, serviceId: z.string().optional(),
  status: z.enum(escrowStatuses), autoReleaseAt: timeOut.describe('The delivery deadline: undelivered by then, the money goes back to the buyer.'),
  deliveredAt: timeOut.optional(), disputeWindowUntil: timeOut.optional().describe('Until then the buyer may dispute; then the seller is paid.'),
  disputeReason: z.string().optional(), disputeEvidence: z.array(evidenceOut).optional().describe('Left out of lists.'),
  arbitrationDeadline: timeOut.optional().describe('Without a ruling by then, the money goes back to the buyer.'),
  deadline: timeOut.optional().describe('When the clock decides the state the escrow is in. Absent once it has ended.'),
  resolution: z.string().optional(), resolvedAt: timeOut.optional(), releasedAmount: amountOut, refundedAmount: amountOut,
  partialReleaseAmount: amountOut.optional(), partialRefundAmount: amountOut.optional(),
  reviewWindow: z.string(), rulingWindow: z.string(), buyerMayCancel: z.boolean(), tenantId: z.string().optional(), workflowId: z.string(), createdAt: timeOut, updatedAt: timeOut,
});

const time = (name: string, at: Date | null): Record<string, string> => (at === null ? {} : { [name]: at.toISOString() });
const text = (name: string, value: string | null): Record<string, string> => (value === null ? {} : { [name]: value });

/** @param evidence undefined where it was not read: lists leave it out. */
export function showEscrow(escrow: Escrow, evidence?: readonly Pick<EscrowEvidenceModel, 'submittedBy' | 'content' | 'submittedAt'>[]): z.input<typeof escrowOut> {
  const { id, status, releasedMicros, refundedMicros } = escrow;
  const isSplit = releasedMicros > 0n && refundedMicros > 0n;
  return {
    id, buyerAddr: escrow.buyer, sellerAddr: escrow.seller, ...text('arbitratorAddr', escrow.arbiter), amount: formatMicros(escrow.amountMicros),
    ...text('serviceId', escrow.serviceId), status, autoReleaseAt: escrow.deliveryDeadline.toISOString(), ...time('deliveredAt', escrow.deliveredAt),
    ...time('disputeWindowUntil', escrow.reviewUntil), ...text('disputeReason', escrow.disputeReason),
    ...(evidence === undefined ? {} : { disputeEvidence: evidence.map(({ submittedBy, content, submittedAt }) => ({ submittedBy, content, submittedAt: submittedAt.toISOString() })) }),
    ...time('arbitrationDeadline', escrow.rulingUntil), ...time('deadline', escrow.deadline), ...text('resolution', escrow.resolution), ...time('resolvedAt', escrow.resolvedAt),
    releasedAmount: formatMicros(releasedMicros), refundedAmount: formatMicros(refundedMicros),
    ...(isSplit ? { partialReleaseAmount: formatMicros(releasedMicros), partialRefundAmount: formatMicros(refundedMicros) } : {}),
    reviewWindow: formatDuration(escrow.reviewWindowMs), rulingWindow: formatDuration(escrow.rulingWindowMs), buyerMayCancel: escrow.buyerMayCancel,
    ...text('tenantId', escrow.tenantId), workflowId: escrow.workflowId, createdAt: escrow.createdAt.toISOString(), updatedAt: escrow.updatedAt.toISOString(),
  };
}

/** A stored escrow, as the port itself would give it. */
export function escrowOf(row: EscrowModel): Escrow {
  return {
    ...row, status: row.status as Escrow['status'], amountMicros: micros(row.amount), releasedMicros: micros(row.released), refundedMicros: micros(row.refunded),
    reviewWindowMs: Number(row.reviewWindowMs), rulingWindowMs: Number(row.rulingWindowMs),
  };
}

const { durationMsMin, durationMsMax, textMax, reasonMax } = escrowBounds;

function duration(fallbackMs: number) {
  const complaint = `must be a time such as 90s, 5m, 1h30m or 2d, from ${formatDuration(durationMsMin)} to 365d`;
  return z.preprocess(emptyIsAbsent, z.string().optional()
    .refine((given) => given === undefined || inBounds(parseDuration(given)), complaint)
    .transform((given) => (given === undefined ? fallbackMs : (parseDuration(given) ?? fallbackMs))));
}

const inBounds = (ms: number | null): boolean => ms !== null && ms >= durationMsMin && ms <= durationMsMax;

export const createBody = z.object({
  buyerAddr: address.describe('You.'), sellerAddr: address.describe('Need not be registered.'), amount,
  serviceId: z.preprocess(emptyIsAbsent, line(100).optional()),
  sessionKeyId: z.preprocess(emptyIsAbsent, z.undefined({ error: 'cannot be used: session keys are not offered yet' })),
  autoRelease: duration(escrowBounds.deliveryMsDefault).describe('Time to deliver; 5m when left out. Undelivered by then, the money goes back to you.'),
  reviewWindow: duration(escrowBounds.reviewMsDefault).describe('Time to dispute after the delivery; 24h when left out. In silence the seller is paid.'),
  rulingWindow: duration(escrowBounds.rulingMsDefault).describe('Time for the ruling; 72h when left out. Without one the money goes back to you.'),
  arbitratorAddr: z.preprocess(emptyIsAbsent, address.optional()).describe('Who rules in a dispute; the platform when left out. Cannot be changed later.'),
  buyerMayCancel: z.boolean().default(false).describe('You may cancel as long as nothing was delivered.'),
}).refine(({ arbitratorAddr, buyerAddr, sellerAddr }) => arbitratorAddr === undefined || (arbitratorAddr !== buyerAddr && arbitratorAddr !== sellerAddr), {
  path: ['arbitratorAddr'], error: 'must be neither the buyer nor the seller',
});

export const disputeBody = z.object({ reason: paragraph(textMax, 1) });
export const evidenceBody = z.object({ content: paragraph(textMax, 1) });
export const arbitrateBody = z.object({
  arbitratorAddr: z.preprocess(emptyIsAbsent, address.optional()).describe('May be left out. Anybody but the arbiter named at the start is refused.'),
});

const noAmount = { params: { code: 'invalid_amount' } };
export const resolveBody = z.strictObject({
  resolution: z.enum(['release', 'refund', 'partial']),
  releaseAmount: z.preprocess(emptyIsAbsent, amount.optional()).describe('For `partial`: what the seller gets; more than nothing, less than all.'),
  partialAmount: z.preprocess(emptyIsAbsent, amount.optional()).describe('The same by another name.'),
  reason: z.preprocess(emptyIsAbsent, paragraph(reasonMax, 1).optional()),
}).transform((body) => ({ ...body, amounts: [body.releaseAmount, body.partialAmount].filter((given) => given !== undefined) }))
  .refine(({ amounts: [first, second] }) => first === undefined || second === undefined || first === second, { path: ['releaseAmount'], error: 'differs from partialAmount', ...noAmount })
  .refine(({ resolution, amounts }) => (resolution === 'partial') === amounts.length > 0, { path: ['releaseAmount'], error: 'is needed for a partial ruling, and only there', ...noAmount });
