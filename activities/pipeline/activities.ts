/** What the workflow of a pipeline may have done. One effect each, idempotent by pipeline and step. */
import { SuretyError } from '../../domain/errors.ts';
import type { Crash } from '../../platform/crash.ts';
import type { PipelineRunner } from './run.ts';
import { viewOf, type PipelineRow, type PipelineView } from './rows.ts';
import type { StepEnd } from './step.ts';
import type { PipelineStore } from './store.ts';
import { undoStep, type UndoDeps } from './undo.ts';

/** slow: its seller is still at work. */
export type StepReport = StepEnd['tag'] | 'slow';

interface StepRef { readonly id: string; readonly step: number }

export interface PipelineActivities {
  /** Sees a step to its end, or says after a moment that it is slow; it then goes on without being waited for. */
  buyStep(ref: StepRef): Promise<StepReport>;
  /** Stays with a slow step until it has ended. */
  finishStep(ref: StepRef): Promise<StepReport>;
  /** Pays or gives back what was kept. Answers which steps are to be undone, the latest first. */
  settlePipeline(input: { readonly id: string }): Promise<{ readonly view: PipelineView; readonly undo: readonly number[] }>;
  /** Calls the compensation of a step and notes the outcome. Fails while it is worth another try. */
  compensateStep(ref: StepRef): Promise<PipelineView>;
  /**
   * Stops the pipeline after the step under way. `by`: the buyer's address; without it, the platform. Refusals: unauthorized,
   * invalid_state.
   */
  cancelPipeline(input: { readonly id: string; readonly by?: string | undefined }): Promise<PipelineView>;
}

export interface PipelineActivityDeps extends UndoDeps {
  readonly runner: PipelineRunner;
  readonly store: PipelineStore;
  readonly crash: Crash;
  /** Says that a long activity is alive. */
  readonly heartbeat: (details: unknown) => void;
  /** Rejects when the activity was cancelled. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly onMoved: (row: PipelineRow) => void;
}

/** How long a step may take before the workflow waits for it in another way. Until then it hears of no signal, so not long. */
const QUICK_MS = 1_000;
const HEARTBEAT_MS = 1_000;

export function createPipelineActivities(deps: PipelineActivityDeps): PipelineActivities {
  const { runner, store, heartbeat, sleep } = deps;
  return {
    async buyStep({ id, step }) {
      const late = new Promise<'slow'>((resolve) => setTimeout(resolve, QUICK_MS, 'slow').unref());
      return Promise.race([runner.step(id, step).then(({ tag }) => tag), late]);
    },

    async finishStep({ id, step }) {
      const end = runner.step(id, step).then(({ tag }) => tag);
      for (;;) {
        heartbeat({ step });
        const report = await Promise.race([end, sleep(HEARTBEAT_MS).then(() => null)]);
        if (report !== null) return report;
      }
    },

    async settlePipeline({ id }) {
      const row = await runner.finish(id);
      if (row.state === 'running' || row.state === 'cancelling') throw new SuretyError('unavailable',
        'A step of the pipeline is still under way.');
      if (row.state !== 'undoing') return { view: viewOf(row), undo: [] };
      const steps = await store.steps(id);
      return { view: viewOf(row), undo: steps.filter((step) => step.undo_state === 'pending').map((step) => step.step_index).reverse() };
    },

    compensateStep: async ({ id, step }) => viewOf(await undoStep(deps, id, step)),

    async cancelPipeline({ id, by }) {
      const row = await store.cancel(id, by ?? null);
      deps.onMoved(row);
      return viewOf(row);
    },
  };
}
