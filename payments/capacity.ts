/**
 * How much Temporal is asked at once by this process, and whether it is asked at all. Node needs some 20 ms of processor time for a life of
 * three workflow tasks, so more than a few at once only queue; what finds no place is done directly (docs/decisions/workflow-first.md).
 */

export interface CapacityOptions {
  /** Starts, updates and signals under way at once. */
  readonly atOnceMax: number;
  /** After so many time-outs in a row nothing is sent any more but a probe now and then. */
  readonly timeoutsMax: number;
  readonly probeEveryMs: number;
}

export interface Capacity {
  /** Takes a place if there is one; whoever got it gives it back by `release`. */
  take(): boolean;
  release(): void;
  /** Temporal answered, whatever it said. */
  answered(): void;
  /** Temporal did not answer in time. */
  timedOut(): void;
  /** Is nothing sent because it does not answer? */
  isOpen(): boolean;
}

export function createCapacity({ atOnceMax, timeoutsMax, probeEveryMs }: CapacityOptions): Capacity {
  let taken = 0;
  let timeouts = 0;
  let probedAtMs = 0;

  function mayAsk(): boolean {
    if (timeouts < timeoutsMax) return true;
    const nowMs = Date.now();
    if (nowMs - probedAtMs < probeEveryMs) return false;
    probedAtMs = nowMs;
    return true;
  }

  return {
    take() {
      if (taken >= atOnceMax || !mayAsk()) return false;
      taken += 1;
      return true;
    },
    release() {
      taken -= 1;
    },
    answered() {
      timeouts = 0;
    },
    timedOut() {
      timeouts += 1;
      if (timeouts === timeoutsMax) probedAtMs = Date.now();
    },
    isOpen: () => timeouts >= timeoutsMax,
  };
}
