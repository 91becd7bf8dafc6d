/** One plan in the docs, as each step leaves it. */
import { parseAmount, ZERO } from '../../../domain/money.ts';
import type { MultistepEscrow } from '../../../domain/multistep.ts';
import { showMultistep } from '../multistep.ts';
import { at, buyer, digits, otherSeller, seller, wholePage } from './cast.ts';

const plan = [{ sellerAddr: seller, amount: '0.40' }, { sellerAddr: otherSeller, amount: '0.60' },
  { sellerAddr: seller, amount: '0.50' }] as const;
const DAY_MINUTES = 1_440;

const open: MultistepEscrow = {
  id: `mse_${digits}`, buyer, tenantId: null, totalMicros: parseAmount('1.50'), spentMicros: ZERO, refundedMicros: ZERO, confirmedSteps: 0,
  steps: plan.map(({ sellerAddr, amount }) => ({ seller: sellerAddr, amountMicros: parseAmount(amount), confirmedAt: null })),
  status: 'open', resolution: null, deadline: at(DAY_MINUTES),
  version: 1, workflowId: `multistep-escrow-mse_${digits}`, createdAt: at(0), updatedAt: at(0), endedAt: null,
};
const begun: MultistepEscrow = {
  ...open, spentMicros: parseAmount('0.40'), confirmedSteps: 1,
  steps: open.steps.map((step, index) => (index === 0 ? { ...step, confirmedAt: at(30) } : step)), version: 2, updatedAt: at(30),
};
const aborted: MultistepEscrow = { ...begun, refundedMicros: parseAmount('1.10'), status: 'aborted', resolution: 'buyer_refund', version: 3,
  updatedAt: at(45), endedAt: at(45) };

const answer = (escrow: MultistepEscrow): object => ({ escrow: showMultistep(escrow) });

export const createExample = { body: { totalAmount: '1.50', totalSteps: plan.length, plannedSteps: plan, expiresIn: '24h' },
  answer: answer(open) };
export const confirmExample = { body: { stepIndex: 0, ...plan[0] }, answer: answer(begun) };
export const refundExample = { answer: answer(aborted) };
export const oneExample = { answer: answer(begun) };
export const listExample = { answer: { escrows: [showMultistep(begun)], ...wholePage } };
