/** What the outside may say to the workflow of a long call, and what it may ask. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { LongCallStep } from '../../domain/long-call.ts';
import type { LongCallView } from '../../domain/long-call-messages.ts';

/**
 * A step as an update that answers with the call, and as the signal of the same name: `surety-complete` with `{result}`, `surety-fail` with
 * `{reason}`, `surety-progress` with `{percent, note}`, `surety-cancel`. `by`: the address of whoever acts, which is then checked; an
 * operator leaves it out and acts for the party.
 */
export function longCallMessages(step: LongCallStep) {
  return { update: defineUpdate<LongCallView, [sent: unknown]>(`surety-${step}`), signal: defineSignal<[sent: unknown]>(`surety-${step}`) };
}

/** Where the call stands, and why the latest signal was refused, since a signal cannot answer. */
export const longCallViewQuery = defineQuery<LongCallView & { readonly lastRefusal: string | null }>('surety-view');
