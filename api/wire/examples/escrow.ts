/** One escrow in the docs, as each step leaves it. */
import type { EscrowPayment, EscrowStep } from '../../../domain/escrow.ts';
import { micros, parseAmount, ZERO, type Micros } from '../../../domain/money.ts';
import { showEscrow } from '../escrow.ts';
import { arbiter, at, buyer, digits, seller, wholePage } from './cast.ts';

interface Example { readonly body?: unknown; readonly answer: unknown }

const HOUR_MINUTES = 60;
const DAY_MINUTES = 24 * HOUR_MINUTES;
const MINUTE_MS = 60_000;
const ms = (minutes: number): number => at(minutes).getTime();
const amountMicros = parseAmount('1.50');
const [reason, reply] = ['Chapter three is missing.', 'It was sent at noon; see the log of the mail server.'];

const pending: EscrowPayment = {
  id: `esc_${digits}`, kind: 'escrow', state: 'pending', version: 1, deadlineMs: ms(2 * HOUR_MINUTES), buyer, seller, arbiter,
  tenantId: null, asset: 'USDC', heldMicros: amountMicros,
  paidMicros: ZERO, returnedMicros: ZERO, resolution: null,
  terms: { serviceId: null, deliveryMs: 2 * HOUR_MINUTES * MINUTE_MS, reviewMs: DAY_MINUTES * MINUTE_MS,
    rulingMs: 3 * DAY_MINUTES * MINUTE_MS, buyerMayCancel: false },
  details: { deliverByMs: ms(2 * HOUR_MINUTES) }, meter: null, parts: [], workflowId: `escrow-esc_${digits}`, workflowStarted: true,
  createdAtMs: ms(0), updatedAtMs: ms(0), endedAtMs: null,
};

/** The same in its next state, so many minutes after it was made. */
function next(escrow: EscrowPayment, state: string, deadlineMinutes: number, details: Partial<EscrowPayment['details']>,
    minutes: number): EscrowPayment {
  return { ...escrow, state, version: escrow.version + 1, deadlineMs: ms(deadlineMinutes), details: { ...escrow.details, ...details },
    updatedAtMs: ms(minutes) };
}

const delivered = next(pending, 'delivered', 40 + DAY_MINUTES, { deliveredAtMs: ms(40), reviewUntilMs: ms(40 + DAY_MINUTES) }, 40);
const disputed = next(delivered, 'disputed', 55 + 3 * DAY_MINUTES, { disputeReason: reason, rulingUntilMs: ms(55 + 3 * DAY_MINUTES) }, 55);
const arbitrating = next(disputed, 'arbitrating', 90 + 3 * DAY_MINUTES, { rulingUntilMs: ms(90 + 3 * DAY_MINUTES) }, 90);

function ended(escrow: EscrowPayment, end: { readonly status: string; readonly resolution: string; readonly released: Micros },
    minutes: number): EscrowPayment {
  const { status: state, resolution, released: paidMicros } = end;
  const returnedMicros = micros(amountMicros - paidMicros);
  return { ...escrow, state, resolution, paidMicros, returnedMicros, deadlineMs: null, endedAtMs: ms(minutes), version: escrow.version + 1,
    updatedAtMs: ms(minutes) };
}

const says = (submittedBy: string, content: string, minutes: number) => ({ submittedBy, content, submittedAtMs: ms(minutes) });
const objection = says(buyer, reason, 55);
const evidence = [objection, says(seller, reply, 80)];
const answer = (escrow: EscrowPayment, said: Parameters<typeof showEscrow>[1] = []): { escrow: object } =>
  ({ escrow: showEscrow(escrow, said) });

/** When it is made. */
export const createExample: Example = {
  body: { buyerAddr: buyer, sellerAddr: seller, amount: '1.50', autoRelease: '2h', arbitratorAddr: arbiter }, answer: answer(pending),
};

/** What each step is sent, and what it answers. */
export const stepExamples: Readonly<Record<EscrowStep, Example>> = {
  deliver: { answer: answer(delivered) },
  confirm: { answer: answer(ended(delivered, { status: 'released', resolution: 'buyer_confirmed', released: amountMicros }, 50)) },
  decline: { answer: answer(ended(pending, { status: 'refunded', resolution: 'declined', released: ZERO }, 10)) },
  cancel: { answer: answer(ended({ ...pending, terms: { ...pending.terms, buyerMayCancel: true } },
    { status: 'refunded', resolution: 'cancelled', released: ZERO }, 10)) },
  dispute: { body: { reason }, answer: answer(disputed, [objection]) },
  evidence: { body: { content: reply }, answer: answer({ ...disputed, updatedAtMs: ms(80) }, evidence) },
  arbitrate: { body: {}, answer: answer(arbitrating, evidence) },
  resolve: {
    body: { resolution: 'partial', releaseAmount: '0.90', reason: 'two of three chapters' },
    answer: answer(ended(arbitrating,
      { status: 'released', resolution: 'arbitration_partial: two of three chapters', released: parseAmount('0.90') }, 240), evidence),
  },
};

/** One that is read. */
export const oneExample: Example = { answer: answer(disputed, [objection]) };
/** A list, which leaves the evidence out. */
export const listExample: Example = { answer: { escrows: [showEscrow(disputed)], ...wholePage } };
