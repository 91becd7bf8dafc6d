/**
 * Attempts that requests of this process wait for. When the activity of an attempt runs in this very process, the request hears of it the
 * moment it is committed, instead of waiting until the answer has travelled through Temporal and back.
 */
import { randomUUID } from 'node:crypto';
import type { AttemptListener } from '../activities/payment/activities.ts';
import type { Found, Taken } from '../activities/payment/take.ts';

/** One attempt somebody waits for. */
export interface ExpectedAttempt {
  readonly attempt: string;
  /** What its activity has done, if that runs in this process. */
  readonly ended: Promise<Taken>;
  /** Has its activity begun in this process? */
  hasBegun(): boolean;
  /** Nobody waits any more. */
  forget(): void;
}

export interface Attempts extends AttemptListener {
  /** A new attempt, waited for from now on. @param seen where the request found the payment. */
  expect(seen?: Found): ExpectedAttempt;
}

export function createAttempts(): Attempts {
  const waiting = new Map<string, { begun: boolean; readonly seen: Found | undefined; resolve: (taken: Taken) => void }>();
  return {
    expect(seen) {
      const attempt = newAttempt();
      const entry = { begun: false, seen, resolve: (_taken: Taken): void => undefined };
      const ended = new Promise<Taken>((resolve) => (entry.resolve = resolve));
      waiting.set(attempt, entry);
      return { attempt, ended, hasBegun: () => entry.begun, forget: () => void waiting.delete(attempt) };
    },
    begun(attempt) {
      const entry = waiting.get(attempt);
      if (entry === undefined) return undefined;
      entry.begun = true;
      return entry.seen;
    },
    ended(attempt, taken) {
      waiting.get(attempt)?.resolve(taken);
    },
  };
}

/** A name for an attempt that nobody else has. */
export function newAttempt(): string {
  return randomUUID();
}
