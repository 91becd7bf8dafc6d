/** How escrows look on the wire (contract alancoin-payments 2.6), and what requests about them may hold. */
import { z } from 'zod';
import { formatDuration, parseDuration } from '../domain/duration.ts';
import { escrowBounds } from '../domain/escrow-input.ts';
import { escrowStatuses, type EscrowPayment, type EscrowStatus } from '../domain/escrow.ts';
import { formatMicros } from '../domain/money.ts';
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

const time = (name: string, atMs: number | null | undefined): Record<string, string> => (atMs === null || atMs === undefined ? {} : { [name]: new Date(atMs).toISOString() });
const text = (name: string, value: string | null | undefined): Record<string, string> => (value === null || value === undefined ? {} : { [name]: value });

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
    id, buyerAddr: escrow.buyer, sellerAddr: escrow.seller ?? '', ...text('arbitratorAddr', escrow.arbiter), amount: formatMicros(escrow.heldMicros),
    ...text('serviceId', terms.serviceId), status: state as EscrowStatus, autoReleaseAt: new Date(details.deliverByMs).toISOString(), ...time('deliveredAt', details.deliveredAtMs),
    ...time('disputeWindowUntil', details.reviewUntilMs), ...text('disputeReason', details.disputeReason),
    ...(evidence === undefined ? {} : { disputeEvidence: evidence.map(({ submittedAtMs, ...said }) => ({ ...said, submittedAt: new Date(submittedAtMs).toISOString() })) }),
    ...time('arbitrationDeadline', details.rulingUntilMs), ...time('deadline', escrow.deadlineMs), ...text('resolution', escrow.resolution), ...time('resolvedAt', endedAtMs),
    releasedAmount: formatMicros(paidMicros), refundedAmount: formatMicros(returnedMicros),
    ...(isSplit ? { partialReleaseAmount: formatMicros(paidMicros), partialRefundAmount: formatMicros(returnedMicros) } : {}),
    reviewWindow: formatDuration(terms.reviewMs), rulingWindow: formatDuration(terms.rulingMs), buyerMayCancel: terms.buyerMayCancel,
    ...text('tenantId', escrow.tenantId), workflowId: escrow.workflowId, createdAt: new Date(escrow.createdAtMs).toISOString(), updatedAt: new Date(escrow.updatedAtMs).toISOString(),
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
