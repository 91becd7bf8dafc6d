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
      throw ApplicationFailure.create({ message: error.message, type: error.code, nonRetryable: !error.retryable });
    }
  }]);
  return Object.fromEntries(wrapped) as T;
}
