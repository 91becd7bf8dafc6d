import { setTimeout as sleep } from 'node:timers/promises';
import { SuretyError } from '../../domain/errors.ts';
import type { Lifecycle } from '../deps.ts';

/** Seconds after which a client may find another process listening. */
const RETRY_AFTER_SECS = 5;
const POLL_MS = 20;

/** Counts requests in and out, so that stopping can wait for those under way. */
export interface DrainGate extends Lifecycle {
  /** Counts a request in. @throws SuretyError `draining` once the process is stopping. Every `enter` needs its `leave`. */
  enter(): void;
  leave(): void;
  /**
   * Refuses new requests from now on and waits for those under way, at most `deadlineMs`.
   * @returns how many were still under way at the end.
   */
  drain(deadlineMs: number): Promise<number>;
}

/** A gate that is open until `drain`. */
export function createDrainGate(): DrainGate {
  let draining = false;
  let count = 0;
  return {
    isDraining: () => draining,
    inFlight: () => count,
    enter() {
      if (draining) throw new SuretyError('draining', 'This server is stopping.', { retryAfterSecs: RETRY_AFTER_SECS });
      count += 1;
    },
    leave() {
      count -= 1;
    },
    async drain(deadlineMs) {
      draining = true;
      const until = Date.now() + deadlineMs;
      while (count > 0 && Date.now() < until) await sleep(POLL_MS);
      return count;
    },
  };
}
