/** A process that kills itself at a named point, for the crash tests. Does nothing unless the environment names the point. */

/** The points of the gateway where a crash is worth trying, in the order a payment passes them. */
export const crashPoints = [
  'session-held', 'session-started', 'call-accepted', 'call-promised', 'before-forward', 'forwarding', 'seller-answered', 'call-settled',
  'before-failover', 'failed-over', 'before-release', 'call-released', 'close-asked', 'session-closed',
] as const;
export type CrashPoint = (typeof crashPoints)[number];

export interface Crash {
  /** Dies here, if this is the point. */
  at(point: CrashPoint): void;
  /** Dies a moment after this, if this is the point: in the middle of what is awaited next. */
  during(point: CrashPoint): void;
}

/** Long enough for a request to have reached a seller on this machine. */
const MIDDLE_MS = 150;
const never: Crash = { at: () => undefined, during: () => undefined };

/** @param point the point to die at, from `CRASH_AT`. SIGKILL, so that nothing is flushed, closed or said. */
export function createCrash(point: string | undefined): Crash {
  if (point === undefined) return never;
  const die = (): void => void process.kill(process.pid, 'SIGKILL');
  return {
    at: (reached) => { if (reached === point) die(); },
    during: (reached) => { if (reached === point) setTimeout(die, MIDDLE_MS); },
  };
}
