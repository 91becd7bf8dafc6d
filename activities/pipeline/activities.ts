/** What the workflow of a pipeline may have done. One effect each, idempotent by pipeline and step. */
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import type { PipelineReport, PipelineTaken, StepBought, UndoTried } from '../../domain/pipeline-messages.ts';
import type { PipelineAction } from '../../domain/pipeline-rules.ts';
import { act } from './act.ts';
import { reportOf } from './rows.ts';
import type { PipelineRunner } from './run.ts';
import type { StepEnd } from './step.ts';
import type { PipelineStore } from './store.ts';
import { undoStep, type UndoDeps } from './undo.ts';

interface StepRef { readonly id: string; readonly step: number }
interface Wish { readonly id: string; /** The buyer's address; the platform when left out. */ readonly by?: string | undefined }

export interface PipelineActivities {
  /** Sees a step to its end, or says after a moment that it is slow; it then goes on without being waited for. */
  buyStep(ref: StepRef): Promise<StepBought>;
  /** Stays with a slow step until it has ended. */
  finishStep(ref: StepRef): Promise<StepBought>;
  /** Pays what was kept, because every step has delivered. */
  settle(input: { readonly id: string }): Promise<PipelineTaken>;
  /** Gives back what is not paid, because a step failed or somebody stopped the pipeline, and notes which steps are to be undone. */
  giveBack(input: { readonly id: string }): Promise<PipelineTaken>;
  /** Calls the compensation of a step once and notes the outcome. */
  undoStep(ref: StepRef): Promise<UndoTried>;
  /** Calls it again until it works or is given up. Fails, with the pause until the next try, while it is worth another one. */
  undoStepAgain(ref: StepRef): Promise<UndoTried>;
  /** Stops the pipeline after the step under way. Fails while that cannot be written. */
  cancel(wish: Wish): Promise<PipelineTaken>;
  /** Has compensations called again that were given up. */
  retryUndo(wish: Wish): Promise<PipelineTaken>;
  /** Where it stands, for a workflow that something has happened without. */
  read(input: { readonly id: string }): Promise<PipelineTaken>;
}

export interface PipelineActivityDeps extends UndoDeps {
  readonly runner: PipelineRunner;
  readonly store: PipelineStore;
  /** Says that a long activity is alive. */
  readonly heartbeat: (details: unknown) => void;
  /** Rejects when the activity was cancelled. */
  readonly sleep: (ms: number) => Promise<void>;
  /** The pipeline has moved on; the workflow knows it once Temporal has confirmed that. */
  readonly onMoved: (id: string) => void;
}

/** How long a step may take before the workflow waits for it in another way. Until then it hears of no signal, so not long. */
const QUICK_MS = 1_000;
const HEARTBEAT_MS = 1_000;

export function createPipelineActivities(deps: PipelineActivityDeps): PipelineActivities {
  const { runner, store, heartbeat, sleep } = deps;
  const report = async (id: string): Promise<PipelineReport> => reportOf(await store.row(id), await store.steps(id));

  async function ending({ id }: { readonly id: string }): Promise<PipelineTaken> {
    const row = await runner.finish(id);
    if (row.state === 'running' || row.state === 'cancelling') throw new SuretyError('unavailable',
      'A step of the pipeline is still under way.');
    return { report: reportOf(row, await store.steps(id)) };
  }

  async function acting(action: PipelineAction, { id, by }: Wish): Promise<PipelineTaken> {
    const { row, steps, refusal } = await act(store, id, action, by ?? null);
    if (refusal === null) deps.onMoved(row.id);
    return { report: reportOf(row, steps), ...(refusal === null ? {} : { refusal }) };
  }

  return {
    async buyStep({ id, step }) {
      const late = new Promise<StepBought>((resolve) => setTimeout(resolve, QUICK_MS, { outcome: 'slow' }).unref());
      return Promise.race([runner.step(id, step).then(boughtOf), late]);
    },

    async finishStep({ id, step }) {
      const end = runner.step(id, step).then(boughtOf);
      for (;;) {
        heartbeat({ step });
        const bought = await Promise.race([end, sleep(HEARTBEAT_MS).then(() => null)]);
        if (bought !== null) return bought;
      }
    },

    settle: ending,
    giveBack: ending,

    async undoStep({ id, step }) {
      const { tag } = await undoStep(deps, id, step);
      return { outcome: tag, report: await report(id) };
    },

    async undoStepAgain({ id, step }) {
      const tried = await undoStep(deps, id, step);
      if (tried.tag === 'over') return { outcome: 'over', report: await report(id) };
      throw new SuretyError('unavailable', `The compensation of step ${step} ${tried.reason}.`, { retryAfterSecs: tried.waitMs / 1_000 });
    },

    async cancel(wish) {
      // Nothing else is begun in this process while it cannot be written, not even by the head start.
      const letGo = runner.hold(wish.id);
      const taken = await acting('cancel', wish);
      letGo();
      return taken;
    },
    retryUndo: (wish) => acting('retry-undo', wish),
    read: async ({ id }) => ({ report: await report(id) }),
  };
}

function boughtOf(end: StepEnd): StepBought {
  if (end.tag !== 'delivered') return { outcome: end.tag };
  const { service, seller, priceMicros, kept } = end.by;
  return { outcome: 'delivered', service, seller, price: formatMicros(priceMicros), paid: !kept };
}
