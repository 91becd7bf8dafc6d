/** A multistep escrow: its plan, each step that was paid, and what went back. */
import { idPrefixes } from '../../domain/ids.ts';
import { amountIn, keptKind } from './kept.ts';

export const multistepKind = keptKind({
  kind: 'multistep_escrow', prefix: idPrefixes.multistepEscrow, shape: 'multistep',
  refs: ({ id, parts }) => [id, ...Array.from({ length: parts }, (_, step) => `${id}:step:${step}`)],
  tell: {
    created: (data) => `The buyer put ${amountIn(data, 'amount')} into an escrow of ${String(data['steps'])} steps.`,
    step_confirmed: (data) => `The buyer confirmed step ${String(data['stepIndex'])}; its seller gets ${amountIn(data, 'amount')}.`,
    completed: 'Every step is paid.',
    aborted: (data) => `It ended (${String(data['resolution'])}) before every step was confirmed: `
      + `${amountIn(data, 'refunded')} back to the buyer.`,
  },
});
