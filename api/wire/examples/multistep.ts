/** One plan in the docs, as each step leaves it. */
import { micros, parseAmount, ZERO } from '../../../domain/money.ts';
import { multistepBounds, type MultistepPayment } from '../../../domain/multistep.ts';
import { showMultistep } from '../multistep.ts';
import { at, buyer, digits, otherSeller, seller, wholePage } from './cast.ts';

const plan = [
  { sellerAddr: seller, amount: '0.40' }, { sellerAddr: otherSeller, amount: '0.60' }, { sellerAddr: seller, amount: '0.50' },
] as const;
const ms = (minutes: number): number => at(minutes).getTime();
const expiresInMs = multistepBounds.expiresInMsDefault;
const amountMicros = parseAmount('1.50');
const firstMicros = parseAmount(plan[0].amount);

const open: MultistepPayment = {
  id: `mse_${digits}`, kind: 'multistep', state: 'open', version: 1, deadlineMs: ms(0) + expiresInMs, buyer, seller: null, arbiter: null,
  tenantId: null, asset: 'USDC', heldMicros: amountMicros, paidMicros: ZERO, returnedMicros: ZERO, resolution: null,
  terms: { expiresInMs }, details: { expiresAtMs: ms(0) + expiresInMs }, meter: null,
  parts: plan.map(({ sellerAddr: payee, amount }, index) => ({ index, payee, amountMicros: parseAmount(amount), paidAtMs: null })),
  workflowId: `multistep-escrow-mse_${digits}`, workflowStarted: true, createdAtMs: ms(0), updatedAtMs: ms(0), endedAtMs: null,
};
const begun: MultistepPayment = {
  ...open, version: 2, paidMicros: firstMicros, updatedAtMs: ms(30),
  parts: open.parts.map((part) => (part.index === 0 ? { ...part, paidAtMs: ms(30) } : part)),
};
const aborted: MultistepPayment = {
  ...begun, version: 3, state: 'aborted', resolution: 'buyer_refund', deadlineMs: null, updatedAtMs: ms(45), endedAtMs: ms(45),
  returnedMicros: micros(amountMicros - firstMicros),
};

const answer = (escrow: MultistepPayment): object => ({ escrow: showMultistep(escrow) });

export const createExample = {
  body: { totalAmount: '1.50', totalSteps: plan.length, plannedSteps: plan, expiresIn: '24h' }, answer: answer(open),
};
export const confirmExample = { body: { stepIndex: 0, ...plan[0] }, answer: answer(begun) };
export const refundExample = { answer: answer(aborted) };
export const oneExample = { answer: answer(begun) };
export const listExample = { answer: { escrows: [showMultistep(begun)], ...wholePage } };
