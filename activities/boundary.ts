/** Where our errors become Temporal's. The body of an activity knows nothing of Temporal. */
import { ApplicationFailure } from '@temporalio/common';
import { SuretyError } from '../domain/errors.ts';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any function may be an activity; its own types stay
type Activities = Record<string, (...args: any[]) => Promise<unknown>>;

/** Wraps activities so that a SuretyError reaches the workflow as a failure with the code as type; only retryable codes are tried again. */
export function withTemporalErrors<T extends Activities>(activities: T): T {
  const wrapped = Object.entries(activities).map(([name, activity]) => [name, async (...args: unknown[]) => {
    try {
      return await activity(...args);
    } catch (error) {
      if (!(error instanceof SuretyError)) throw error;
      const { retryAfterSecs } = error.extras;
      throw ApplicationFailure.create({
        message: error.message, type: error.code, nonRetryable: !error.retryable,
        // Who knows when the next try is worth it says so; otherwise the policy of the activity decides.
        ...(retryAfterSecs === undefined ? {} : { nextRetryDelay: Math.ceil(retryAfterSecs * 1_000) }),
      });
    }
  }]);
  return Object.fromEntries(wrapped) as T;
}
