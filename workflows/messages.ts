/** How every run takes messages: refusals, and an end that leaves no answer behind. */
import { allHandlersFinished, ApplicationFailure, condition, log, sleep } from '@temporalio/workflow';
import type { Refusal } from '../domain/payment.ts';

/** Any timer ends the workflow task; it need not be a long one. */
const NEXT_TASK_MS = 1;

/** @param version up to which the workflow knows the payment. */
export function failure({ code, message }: Refusal, version?: number): ApplicationFailure {
  return ApplicationFailure.create({ message, type: code, nonRetryable: true, details: version === undefined ? [] : [version] });
}

/** The sentence of the innermost cause: the outer ones only say that an activity failed. */
export function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
}

/** Does what a signal asks for. Nobody waits for the answer: a refusal is kept for whoever looks, and the run goes on. */
export async function quietly(run: { lastRefusal: string | null }, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
    run.lastRefusal = null;
  } catch (error) {
    run.lastRefusal = reasonOf(error);
    log.warn('A signal was refused.', { reason: run.lastRefusal });
  }
}

/**
 * The last thing that a run waits for. Temporal takes no end of a run while a message waits that the run has not seen: it fails the whole
 * task, and whoever waits for an update that was answered in it hears of a failure although it was done. So answers go out in a task
 * before the last.
 * @param run `answerWaits`: an update was answered whose answer may not have gone out yet. The requests of the platform need not set it
 * where they hear of their step from its activity, or ask the row.
 */
export async function allAnswered(run: { answerWaits: boolean }): Promise<void> {
  await condition(allHandlersFinished);
  while (run.answerWaits) {
    run.answerWaits = false;
    await sleep(NEXT_TASK_MS);
    await condition(allHandlersFinished);
  }
}
