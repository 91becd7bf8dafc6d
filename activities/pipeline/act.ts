/** What people do with a pipeline: decided by its rules on the row as it is, written only while that still holds. */
import { SuretyError } from '../../domain/errors.ts';
import { refusalOf, type PipelineAction } from '../../domain/pipeline-rules.ts';
import type { Refusal } from '../../domain/payment.ts';
import type { PipelineRow, StepRow } from './rows.ts';
import type { PipelineStore } from './store.ts';

/** The pipeline as it is now, and why nothing was done to it if so. */
export interface Acted {
  readonly row: PipelineRow;
  readonly steps: readonly StepRow[];
  readonly refusal: Refusal | null;
}

const TRIES = 5;

/**
 * Takes an action in the name of `by`; null: of the platform.
 * @throws SuretyError not_found; busy; unavailable, and then nothing was written as far as anybody knows.
 */
export async function act(store: PipelineStore, id: string, action: PipelineAction, by: string | null): Promise<Acted> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const [row, steps] = [await store.row(id), await store.steps(id)];
    const failedUndos = steps.filter((step) => step.undo_state === 'failed').length;
    const refusal = refusalOf({ ...row, failedUndos }, action, by);
    if (refusal !== null) return { row, steps, refusal };
    const moved = await store.act(id, action, by ?? 'platform');
    if (moved !== null) return { row: moved, steps: await store.steps(id), refusal: null };
    // It has moved on since it was read.
  }
  throw new SuretyError('busy', 'The pipeline changes too quickly for this at the moment; nothing was changed.');
}
