/** How a run has its activities done: at once and in its own process, or, when the database is away, for as long as it takes. */
import type { ActivityOptions, LocalActivityOptions } from '@temporalio/common';
import { CancellationScope } from '@temporalio/workflow';
import { patiently, quickly } from './payment.ts';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any function may be an activity; its own types are kept
type AnyActivities<Activities> = { readonly [Name in keyof Activities]: (...args: any[]) => Promise<unknown> };
type Performer<Activities extends AnyActivities<Activities>, Options> = {
  readonly [Name in keyof Activities]: {
    executeWithOptions(options: Options, args: Parameters<Activities[Name]>): ReturnType<Activities[Name]>;
  };
};

/** The activities, as local ones and as ordinary ones. */
export interface Performers<Activities extends AnyActivities<Activities>> {
  readonly quick: Performer<Activities, LocalActivityOptions>;
  readonly patient: Performer<Activities, ActivityOptions>;
}

/**
 * Has one done. Handlers run in the scope of the workflow, which may be cancelled by then; that stops nothing here.
 * @param summary what it is for, in Temporal's UI.
 */
export function performed<Activities extends AnyActivities<Activities>, Name extends keyof Activities>(
    { quick, patient }: Performers<Activities>, name: Name, summary: string,
    args: Parameters<Activities[Name]>): Promise<Awaited<ReturnType<Activities[Name]>>> {
  const done: Promise<unknown> = CancellationScope.nonCancellable(() => quick[name].executeWithOptions({ ...quickly, summary }, args)
    .catch(() => patient[name].executeWithOptions({ ...patiently, summary }, args)));
  return done as Promise<Awaited<ReturnType<Activities[Name]>>>;
}
