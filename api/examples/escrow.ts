/** One escrow in the docs, as each step leaves it. */
import type { Escrow, EscrowStep } from '../../domain/escrow.ts';
import { parseAmount, ZERO } from '../../domain/money.ts';
import { showEscrow } from '../escrow-shapes.ts';
import { arbiter, at, buyer, digits, seller, wholePage } from './cast.ts';

interface Example { readonly body?: unknown; readonly answer: unknown }

const HOUR_MINUTES = 60;
const DAY_MINUTES = 24 * HOUR_MINUTES;
const MINUTE_MS = 60_000;
const amountMicros = parseAmount('1.50');
const [reason, reply] = ['Chapter three is missing.', 'It was sent at noon; see the log of the mail server.'];

const pending: Escrow = {
  id: `esc_${digits}`, buyer, seller, arbiter, amountMicros, serviceId: null, status: 'pending', releasedMicros: ZERO, refundedMicros: ZERO, resolution: null, disputeReason: null,
  buyerMayCancel: false, reviewWindowMs: DAY_MINUTES * MINUTE_MS, rulingWindowMs: 3 * DAY_MINUTES * MINUTE_MS, deliveryDeadline: at(2 * HOUR_MINUTES), deliveredAt: null, reviewUntil: null,
  rulingUntil: null, deadline: at(2 * HOUR_MINUTES), resolvedAt: null, version: 1, workflowId: `escrow-esc_${digits}`, tenantId: null, createdAt: at(0), updatedAt: at(0),
};
const delivered: Escrow = { ...pending, status: 'delivered', deliveredAt: at(40), reviewUntil: at(40 + DAY_MINUTES), deadline: at(40 + DAY_MINUTES), version: 2, updatedAt: at(40) };
const disputed: Escrow = { ...delivered, status: 'disputed', disputeReason: reason, rulingUntil: at(55 + 3 * DAY_MINUTES), deadline: at(55 + 3 * DAY_MINUTES), version: 3, updatedAt: at(55) };
const arbitrating: Escrow = { ...disputed, status: 'arbitrating', rulingUntil: at(90 + 3 * DAY_MINUTES), deadline: at(90 + 3 * DAY_MINUTES), version: 4, updatedAt: at(90) };

function ended(escrow: Escrow, end: Pick<Escrow, 'status' | 'resolution'> & { readonly released: Escrow['releasedMicros'] }, minutes: number): Escrow {
  const { status, resolution, released: releasedMicros } = end;
  const refundedMicros = (amountMicros - releasedMicros) as Escrow['refundedMicros'];
  return { ...escrow, status, resolution, releasedMicros, refundedMicros, deadline: null, resolvedAt: at(minutes), version: escrow.version + 1, updatedAt: at(minutes) };
}

const says = (submittedBy: string, content: string, minutes: number) => ({ submittedBy, content, submittedAt: at(minutes) });
const objection = says(buyer, reason, 55);
const evidence = [objection, says(seller, reply, 80)];
const answer = (escrow: Escrow, said: Parameters<typeof showEscrow>[1] = []): { escrow: object } => ({ escrow: showEscrow(escrow, said) });

/** When it is made. */
export const createExample: Example = {
  body: { buyerAddr: buyer, sellerAddr: seller, amount: '1.50', autoRelease: '2h', arbitratorAddr: arbiter }, answer: answer(pending),
};

/** What each step is sent, and what it answers. */
export const stepExamples: Readonly<Record<EscrowStep, Example>> = {
  deliver: { answer: answer(delivered) },
  confirm: { answer: answer(ended(delivered, { status: 'released', resolution: 'buyer_confirmed', released: amountMicros }, 50)) },
  decline: { answer: answer(ended(pending, { status: 'refunded', resolution: 'declined', released: ZERO }, 10)) },
  cancel: { answer: answer(ended({ ...pending, buyerMayCancel: true }, { status: 'refunded', resolution: 'cancelled', released: ZERO }, 10)) },
  dispute: { body: { reason }, answer: answer(disputed, [objection]) },
  evidence: { body: { content: reply }, answer: answer({ ...disputed, updatedAt: at(80) }, evidence) },
  arbitrate: { body: {}, answer: answer(arbitrating, evidence) },
  resolve: {
    body: { resolution: 'partial', releaseAmount: '0.90', reason: 'two of three chapters' },
    answer: answer(ended(arbitrating, { status: 'released', resolution: 'arbitration_partial: two of three chapters', released: parseAmount('0.90') }, 240), evidence),
  },
};

/** One that is read. */
export const oneExample: Example = { answer: answer(disputed, [objection]) };
/** A list, which leaves the evidence out. */
export const listExample: Example = { answer: { escrows: [showEscrow(disputed)], ...wholePage } };
