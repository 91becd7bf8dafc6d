/**
 * A pipeline: its steps are bought in order; then what was kept is paid, or given back and undone. The row in Postgres is the truth,
 * and the process that accepted the pipeline has a head start, so nearly always this finds each step just ended.
 */
import { CancellationScope, isCancellation, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { PipelineActivities, StepReport } from '../activities/pipeline/activities.ts';
import type { PaymentView } from './contracts/kept-payment.ts';
import { cancelStep, type PipelineInput } from './contracts/pipeline.ts';
import { keepPayment } from './keep.ts';

// Local: they join what goes on in this process, or are one quick statement. Tried until they work, because money waits for them.
const { buyStep, settlePipeline } =
  proxyLocalActivities<PipelineActivities>({ startToCloseTimeout: '8s', retry: { initialInterval: '200ms', maximumInterval: '30s' } });
const { cancelPipeline } = proxyLocalActivities<PipelineActivities>({ startToCloseTimeout: '5s', retry: { maximumAttempts: 5 } });
// Slow sellers, and steps whose process is gone.
const { finishStep } =
  proxyActivities<PipelineActivities>({ startToCloseTimeout: '5m', heartbeatTimeout: '15s',
  retry: { initialInterval: '500ms', maximumInterval: '10s' } });
// It counts its own tries in the row, and succeeds when it has noted the last of them.
const { compensateStep } =
  proxyActivities<PipelineActivities>({ startToCloseTimeout: '30s', retry: { initialInterval: '500ms', maximumInterval: '10s' } });

export async function pipeline(input: PipelineInput): Promise<PaymentView> {
  const { id, view, steps } = input;
  const payment = keepPayment(view, input);
  payment.takes(cancelStep, (wish) => cancelPipeline({ id, by: wish?.by }));
  // A quick pipeline is over before its workflow begins: nothing is left to promise.
  if (view.ended) return view;

  let step = 0;
  try {
    while (step < steps && (await buy(id, step)) === 'delivered') step += 1;
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // Cancelled in Temporal: as if the platform had said so. The step under way is still waited for.
    await CancellationScope.nonCancellable(() => stopAt(step));
  }
  // From here on nothing stops it: money comes to rest, and what was done is undone.
  await CancellationScope.nonCancellable(async () => {
    await settleAndUndo();
    await payment.answered();
  });
  return payment.view();

  async function stopAt(last: number): Promise<void> {
    // Refused when it was cancelled or has ended already, which is as good.
    await cancelPipeline({ id }).then(payment.learn, () => undefined);
    if (last < steps) await buy(id, last);
  }

  async function settleAndUndo(): Promise<void> {
    const settled = await settlePipeline({ id });
    payment.learn(settled.view);
    for (const undone of settled.undo) payment.learn(await compensateStep({ id, step: undone }));
  }
}

/** One step: nearly always quick; a slow one is waited for with a sign of life. */
async function buy(id: string, step: number): Promise<StepReport> {
  const report = await buyStep({ id, step });
  return report === 'slow' ? finishStep({ id, step }) : report;
}
