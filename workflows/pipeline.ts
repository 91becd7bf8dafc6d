/**
 * A pipeline: for each step its undo is registered, then it is bought and its answer passed on; at the end what was kept is paid, or given
 * back, and what was done is undone in reverse order. The process that accepted it has a head start on the steps, which the activities
 * join or take over; the row in Postgres is the truth about money.
 */
import { CancellationScope, condition, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PipelineActivities } from '../activities/pipeline/activities.ts';
import type { PipelineInput, PipelineResult, StepBought, StepReport } from '../domain/pipeline-messages.ts';
import { patiently, quickly } from './payment.ts';
import { followPipeline, type FollowedPipeline } from './pipeline-follow.ts';
import { titleOf } from './pipeline-story.ts';

const quick = proxyLocalActivities<PipelineActivities>(quickly);
const patient = proxyActivities<PipelineActivities>(patiently);
/** Slow sellers, and steps whose process is gone. */
const slowly = { startToCloseTimeout: '5m', heartbeatTimeout: '15s', retry: { initialInterval: '500ms', maximumInterval: '10s' } } as const;
/** How long the workflow waits for somebody to have a compensation called again that was given up. Later, HTTP starts it anew. */
const WAIT_FOR_PEOPLE = '24h';

export async function pipeline(input: PipelineInput): Promise<PipelineResult> {
  const followed = followPipeline(input, { quick, patient });
  // Nothing stops what has begun in the middle: cancelling the workflow is the wish to stop the pipeline after the step under way.
  return CancellationScope.nonCancellable(async () => {
    const undos: number[] = [];
    if (followed.isBuying()) {
      const delivered = await buyAll(followed, input, undos);
      await (delivered ? followed.settle() : followed.giveBack());
    } else undos.push(...followed.undosIn('pending'), ...followed.undosIn('failed'));
    await undoAll(followed, undos);
    return followed.result();
  });
}

/** Buys the steps in order. True when every one has delivered. @param undos steps whose undo is registered. */
async function buyAll(followed: FollowedPipeline, input: PipelineInput, undos: number[]): Promise<boolean> {
  for (const [index, step] of followed.steps().entries()) {
    if (step.undo !== undefined) undos.push(followed.registersUndo(step));
    if (step.state === 'settled' || step.state === 'delivered') continue;
    if (!(await followed.mayBegin(index))) return false;
    const { outcome } = followed.hasBought(step.step, await buy(step, input));
    if (outcome !== 'delivered') return false;
  }
  return true;
}

/** One step: nearly always quick; a slow one is waited for with a sign of life. */
async function buy(each: StepReport, input: PipelineInput): Promise<StepBought> {
  const [ref, summary] = [{ id: input.id, step: each.step }, titleOf(each, input)];
  const bought = await quick.buyStep.executeWithOptions({ ...quickly, summary }, [ref]).catch((): StepBought => ({ outcome: 'slow' }));
  return bought.outcome === 'slow' ? patient.finishStep.executeWithOptions({ ...slowly, summary }, [ref]) : bought;
}

/**
 * Undoes what was done, the latest step first. One that does not work holds up none of the others: it is tried again beside them, for long.
 * One that was given up is a matter for people.
 */
async function undoAll(followed: FollowedPipeline, registered: readonly number[]): Promise<void> {
  const due = (): number | undefined => followed.undosIn('pending').findLast((step) => registered.includes(step) && !again.has(step));
  const again = new Set<number>();
  for (;;) {
    const step = due();
    if (step !== undefined) {
      if ((await followed.undo(step)) === 'over') continue;
      again.add(step);
      followed.inTheBackground(followed.undoAgain(step).finally(() => again.delete(step)));
    } else if (again.size > 0) await condition(() => due() !== undefined || again.size === 0 || followed.isFaulty());
    else if (followed.undosIn('failed').length === 0) return;
    else {
      await condition(() => due() !== undefined || followed.isCancelled(), WAIT_FOR_PEOPLE);
      if (due() === undefined) return;
    }
    followed.throwFault();
  }
}
