/** What the outside may say to the workflow of a pipeline, and what it may ask. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { PipelineReport } from '../../domain/pipeline-messages.ts';
import type { PipelineAction } from '../../domain/pipeline-rules.ts';

/** Who acts: the buyer's address, which is then checked; the platform when left out, or when there is no input at all. */
export interface ActInput {
  readonly by?: string;
}

/** An action as an update that answers with the pipeline, and as the signal of the same name: `surety-cancel`, `surety-retry-undo`. */
export function actionMessages(action: PipelineAction) {
  return {
    update: defineUpdate<PipelineReport, [ActInput | undefined]>(`surety-${action}`),
    signal: defineSignal<[ActInput | undefined]>(`surety-${action}`),
  };
}

/** Where the pipeline stands, and why the latest signal was refused, since a signal cannot answer. */
export const pipelineViewQuery = defineQuery<PipelineReport & { readonly lastRefusal: string | null }>('surety-view');
