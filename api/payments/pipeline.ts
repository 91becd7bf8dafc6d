/** A pipeline: its own states, and those of each step with the attempts at its sellers and the money that moved. */
import { idPrefixes } from '../../domain/ids.ts';
import { stepName } from '../../domain/pipeline.ts';
import { readPipelineSteps, readTimelinePipeline } from '../../ledger/timeline-pipeline.ts';
import { callEntries, callRefs } from './call.ts';
import { rolesOf, type Party, type PaymentKind } from './kind.ts';
import { amountIn, events, fixed, postings } from './timeline.ts';

type Data = Readonly<Record<string, unknown>>;

/** Room for the entries of one step among the keys of all. */
const ENTRIES_OF_A_STEP = 1_000;

/** The step of an event, as people count. */
function stepIn({ stepIndex }: Data): string {
  return `step ${Number(stepIndex) + 1} (index ${Number(stepIndex)})`;
}

/** A sentence for each state, by the topic behind the dot. */
const sentences: Readonly<Record<string, string | ((data: Data) => string)>> = {
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
};

function sentenceOf(topic: string, data: Data): string {
  const state = topic.slice(topic.indexOf('.') + 1);
  const sentence = Object.hasOwn(sentences, state) ? sentences[state] : undefined;
  return typeof sentence === 'function' ? sentence(data) : sentence ?? `The pipeline is ${state.replaceAll('_', ' ')}.`;
}

export const pipelineKind: PaymentKind = {
  kind: 'pipeline', prefix: idPrefixes.pipeline,
  async find({ reads }, id) {
    const row = await readTimelinePipeline(reads, id);
    if (row === null) return null;
    const { state, buyer, heldMicros: held, paidMicros: paid, workflowId, createdAt, endedAt } = row;
    // Only the buyer takes part in the whole; a seller takes part in its call.
    const parties: Party[] = [{ role: 'buyer', address: buyer }];
    const steps = await readPipelineSteps(reads, id);
    const begun = steps.filter((step) => step.state !== 'planned');
    const entries = begun.flatMap((step) =>
      callEntries(step, { firstId: BigInt(step.stepIndex * ENTRIES_OF_A_STEP), about: `${stepName(step.stepIndex, steps.length)}: `,
        data: { stepIndex: step.stepIndex } }));
    return {
      id, state, ended: endedAt !== null, amounts: { held, paid }, parties, workflowId, createdAt, endedAt,
      sources: () => [events(reads, id, sentenceOf), fixed(entries), postings(reads, begun.flatMap(callRefs), rolesOf(parties))],
    };
  },
};
