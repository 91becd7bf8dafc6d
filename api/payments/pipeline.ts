/** A pipeline: its own states, and those of each step with the attempts at its sellers and the money that moved. */
import { idPrefixes } from '../../domain/ids.ts';
import { stepName } from '../../domain/pipeline.ts';
import { readPipelineSteps } from '../../ledger/timeline-kept.ts';
import { callEntries, callRefs } from './call.ts';
import { amountIn, keptKind } from './kept.ts';
import { rolesOf } from './kind.ts';
import { fixed, postings } from './timeline.ts';

/** Room for the entries of one step among the keys of all. */
const ENTRIES_OF_A_STEP = 1_000;

/** The step of an event, as people count. */
function stepIn({ stepIndex }: Readonly<Record<string, unknown>>): string {
  return `step ${Number(stepIndex) + 1} (index ${Number(stepIndex)})`;
}

export const pipelineKind = keptKind({
  kind: 'pipeline', prefix: idPrefixes.pipeline, shape: 'pipeline', refs: () => [],
  tell: {
    created: 'The pipeline was accepted, and the price of all its steps reserved in the session.',
    cancelling: 'Somebody asked to stop; the step under way is finished first.',
    undoing: 'The steps that worked are being undone, the last one first.',
    step_undone: (data) => `The compensation of ${stepIn(data)} was called and accepted.`,
    undo_tried: (data) => `The compensation of ${stepIn(data)} was called and ${String(data['error'])}; it is called again.`,
    undo_failed: (data) =>
      `The compensation of ${stepIn(data)} was called for the last time and ${String(data['error'])}; it was given up.`,
    undo_retried: 'Somebody asked to call the compensations again that were given up.',
    completed: (data) => `Every step has delivered; ${amountIn(data, 'paid')} were paid.`,
    failed: (data) => `The pipeline failed; ${amountIn(data, 'paid')} stay paid, the rest is back in the session.`,
    cancelled: (data) => `The pipeline was cancelled; ${amountIn(data, 'paid')} stay paid, the rest is back in the session.`,
  },
  async more(pool, { id, buyer }) {
    const steps = await readPipelineSteps(pool, id);
    const begun = steps.filter(({ state }) => state !== 'planned');
    const entries = begun.flatMap((step) =>
      callEntries(step, { firstId: BigInt(step.stepIndex * ENTRIES_OF_A_STEP), about: `${stepName(step.stepIndex, steps.length)}: `,
      data: { stepIndex: step.stepIndex } }));
    return [fixed(entries), postings(pool, begun.flatMap(callRefs), rolesOf([{ role: 'buyer', address: buyer }]))];
  },
});
