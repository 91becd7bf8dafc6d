/**
 * Sees to it that every accepted call belongs to exactly one `gatewayCalls` workflow within some 100 ms, without a workflow for each:
 * a token bucket sets how often one may start, and the calls accepted meanwhile travel together. When it is quiet a call has a
 * workflow of its own at once.
 */
import type { Logger } from '../../platform/log.ts';
import { createTokenBucket } from '../../platform/token-bucket.ts';

export interface PromiseOptions {
  /**
   * Starts the workflow; rejects when Temporal does not answer. `again`: another run for calls that were accepted later than the others;
   * rejects as long as the first one runs.
   */
  readonly start: (workflowId: string, callIds: readonly string[], run: 'first' | 'again') => Promise<void>;
  /** Which of these calls are still under way in this process: only they still need a promise after a failed start. */
  readonly stillOpen: (callIds: readonly string[]) => string[];
  readonly newWorkflowId: () => string;
  readonly log: Logger;
  readonly workflowsPerSec?: number;
  readonly burst?: number;
  readonly callsMax?: number;
}

export interface CallPromises {
  /** A place in the workflow that starts next. `confirm` when the call was accepted, or not: the workflow waits to know. */
  join(callId: string): { readonly workflowId: string; readonly confirm: (accepted: boolean) => void };
  /** Starts what waits and resolves when it has been handed to Temporal, or given up after `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>;
}

interface Batch {
  readonly workflowId: string;
  readonly accepted: string[];
  unconfirmed: number;
  places: number;
  whenConfirmed: (() => void) | null;
  /** On its way: what is confirmed from now on is too late for it. */
  isGone: boolean;
}

/** One call that waits for a lock does not keep the promise of all others waiting. */
const CONFIRM_MS = 250;
const RETRY_MS = 1_000;
const ATTEMPTS_MAX = 30;

export function createCallPromises(options: PromiseOptions): CallPromises {
  const { workflowsPerSec = 10, burst = 8, callsMax = 256 } = options;
  const takeToken = createTokenBucket({ burst, perSec: workflowsPerSec });
  let current: Batch | null = null;
  let timer: NodeJS.Timeout | null = null;
  const starting = new Set<Promise<void>>();

  const send = async (batch: Batch): Promise<void> => {
    if (batch.unconfirmed > 0) {
      await new Promise<void>((resolve) => {
        batch.whenConfirmed = resolve;
        setTimeout(resolve, CONFIRM_MS).unref();
      });
    }
    batch.isGone = true;
    await startFor(options, batch.workflowId, batch.accepted, 'first');
  };

  const track = (work: Promise<void>): void => {
    const sent = work.finally(() => starting.delete(sent));
    starting.add(sent);
  };

  const seal = (): void => {
    const batch = current;
    if (batch === null) return;
    current = null;
    track(send(batch));
  };

  const pump = (): void => {
    timer = null;
    if (current === null) return;
    if (takeToken()) seal();
    else timer = setTimeout(pump, 1_000 / workflowsPerSec / 2);
  };

  return {
    join(callId) {
      current ??= { workflowId: options.newWorkflowId(), accepted: [], unconfirmed: 0, places: 0, whenConfirmed: null, isGone: false };
      const batch = current;
      batch.unconfirmed += 1;
      batch.places += 1;
      if (batch.places >= callsMax) seal();
      else timer ??= setTimeout(pump, 0);
      let waiting = true;
      return {
        workflowId: batch.workflowId,
        confirm(accepted) {
          if (!waiting) return;
          waiting = false;
          if (accepted && batch.isGone) track(startFor(options, batch.workflowId, [callId], 'again'));
          else if (accepted) batch.accepted.push(callId);
          batch.unconfirmed -= 1;
          if (batch.unconfirmed === 0) batch.whenConfirmed?.();
        },
      };
    },
    async flush(timeoutMs) {
      seal();
      await Promise.race([Promise.all(starting), new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    },
  };
}

/** Tries until Temporal has it, for as long as the calls need a promise. */
async function startFor(options: PromiseOptions, workflowId: string, accepted: readonly string[], run: 'first' | 'again'): Promise<void> {
  let callIds = accepted;
  for (let attempt = 1; callIds.length > 0; attempt += 1) {
    try {
      await options.start(workflowId, callIds, run);
      return;
    } catch (error) {
      // The head start goes on without Temporal, and the sweeper stands behind it; only what is still open is tried again.
      callIds = options.stillOpen(callIds);
      if (attempt === 1 && run === 'first') options.log.warn({ err: error, workflowId },
        'A workflow for accepted calls could not be started.');
      if (attempt >= ATTEMPTS_MAX) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
    }
  }
}
