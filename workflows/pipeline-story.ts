/** What a person sees of a pipeline in Temporal's UI: a line for each step and each thing that happens, and how it ended. */
import type { PipelineInput, PipelineReport, PipelineResult, StepBought, StepReport } from '../domain/pipeline-messages.ts';
import { stepName } from '../domain/pipeline.ts';

/** How the money went, to search by. */
export function outcomeOf({ money, steps }: PipelineReport): 'paid' | 'returned' | 'split' {
  const paid = steps.filter(({ state }) => state === 'settled').length;
  if (money === undefined || paid === 0) return 'returned';
  return paid === steps.length ? 'paid' : 'split';
}

/** `Step 2 of 3 (index 1), summary at 0.05 USDC of In brief (0x…)`. */
export function titleOf({ step, serviceType, price, service, seller }: StepReport, { asset, report }: PipelineInput): string {
  return `${stepName(step, report.steps.length)}, ${serviceType} at ${price} ${asset} of ${service} (${seller})`;
}

/** What is registered before a step is bought. */
export function undoLine({ step, undo }: StepReport): string {
  return `step ${step + 1} · its undo is registered: POST ${undo?.endpoint ?? ''}`;
}

/** What has come of a step. */
export function boughtLine(step: number, { outcome, service, seller, price, paid }: StepBought, { asset }: PipelineInput): string {
  const which = `step ${step + 1}`;
  if (outcome !== 'delivered') return `${which} · ${outcome === 'given_up' ? 'no seller has delivered' : 'was not begun'}`;
  const by = `${service ?? ''} \`${seller ?? ''}\``;
  return `${which} · ${by} has delivered: ${price ?? ''} ${asset} ${paid === true ? 'paid' : 'kept until the pipeline ends'}`;
}

/** What has come of a try to undo a step. */
export function undoneLine({ step, undo }: StepReport): string {
  const tries = `${undo?.attempts ?? 0} ${undo?.attempts === 1 ? 'try' : 'tries'}`;
  return `step ${step + 1} · undo ${undo?.state ?? ''} after ${tries}${undo?.error === undefined ? '' : ` (${undo.error})`}`;
}

/** How the money went, in a line. */
export function moneyLine({ state, money }: PipelineReport, { asset }: PipelineInput): string {
  return `${state} · ${money?.paid ?? ''} ${asset} paid, ${money?.returned ?? ''} ${asset} back in the session's budget`;
}

/** The lines of what had happened before this run began. */
export function linesBefore(input: PipelineInput): string[] {
  return input.report.steps.flatMap(({ step, state, service, seller, price, error }) => {
    switch (state) {
      case 'settled': case 'delivered':
        return [boughtLine(step, { outcome: 'delivered', service, seller, price, paid: state === 'settled' }, input)];
      case 'released': return [`step ${step + 1} · not paid: ${error ?? ''}`];
      case 'accepted': case 'planned': return [];
    }
  });
}

/** Lines for the "current details" of a run: what it is about, where it stands, and what has happened, the latest last. */
export function detailsOf({ buyer, amount, asset }: PipelineInput, { state, reason }: PipelineReport, lines: readonly string[]): string {
  const now = `State: **${state}**${reason === undefined ? '' : `: ${reason}`}`;
  return [`**${amount} ${asset}** of \`${buyer}\``, '', now, '', ...lines.map((line) => `- ${line}`)].join('\n');
}

/** How a pipeline ended. */
export function resultOf({ id, version, state, steps, money, failedStep, reason }: PipelineReport): PipelineResult {
  return {
    id, version, state, ...(failedStep === undefined ? {} : { failedStep }), ...(reason === undefined ? {} : { reason }),
    paid: steps.filter((step) => step.state === 'settled')
      .map(({ step, service, seller: to, price: amount }) => ({ step, service, to, amount })),
    returned: money?.returned ?? '0.000000',
    undone: steps.flatMap(({ step, undo }) => {
      if (undo === undefined) return [];
      const { state: undoState, attempts, error } = undo;
      return [{ step, state: undoState, attempts, ...(error === undefined ? {} : { error }) }];
    }),
  };
}
