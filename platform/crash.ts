/** A process that kills itself at a named point, for the crash tests. Does nothing unless the environment names the point. */

/** The points of the gateway where a crash is worth trying, in the order a payment passes them. */
export const crashPoints = [
  'call-accepted', 'call-promised', 'before-asking', 'before-forward', 'forwarding', 'seller-answered', 'call-settled', 'before-failover',
  'failed-over', 'before-release', 'call-released',
] as const;
export type CrashPoint = (typeof crashPoints)[number];

/**
 * Those of payments on the engine. opening: the workflow runs and nothing is held yet; committed: a step is in the books and nobody knows;
 * answered: the request knows, Temporal does not; expired: the clock's step is in the books; direct: a step was taken without the workflow.
 */
export const paymentCrashPoints = ['payment-opening', 'payment-committed', 'payment-answered',
  'payment-expired', 'payment-direct'] as const;
export type PaymentCrashPoint = (typeof paymentCrashPoints)[number];

/** That of streams beside those of all payments on the engine. ticked: a tick is counted and nobody knows. */
export const streamCrashPoints = ['stream-ticked'] as const;
export type StreamCrashPoint = (typeof streamCrashPoints)[number];

/** Those of a pipeline, beside the ones that the calls behind its steps pass. scheduled: its workflow will start in a moment. */
export const pipelineCrashPoints = ['pipeline-opened', 'pipeline-scheduled', 'step-started', 'step-ended', 'before-finish',
  'pipeline-finished', 'compensating', 'compensated'] as const;
export type PipelineCrashPoint = (typeof pipelineCrashPoints)[number];

/**
 * Those of a long call. asking: it is written that the seller is asked; answered: the seller has answered and nobody knows; begun: that it
 * works is written; ended: a step has ended the call, and its workflow has not heard.
 */
export const longCallCrashPoints = ['long-asking', 'long-answered', 'long-begun', 'long-ended'] as const;
export type LongCallCrashPoint = (typeof longCallCrashPoints)[number];

type AnyCrashPoint = CrashPoint | PaymentCrashPoint | StreamCrashPoint | PipelineCrashPoint | LongCallCrashPoint;

export interface Crash {
  /** Dies here, if this is the point. */
  at(point: AnyCrashPoint): void;
  /** Dies a moment after this, if this is the point: in the middle of what is awaited next. */
  during(point: AnyCrashPoint): void;
}

/** Long enough for a request to have reached a seller on this machine. */
const MIDDLE_MS = 150;
const never: Crash = { at: () => undefined, during: () => undefined };

/**
 * SIGKILL, so that nothing is flushed, closed or said.
 * @param crashAt the point to die at, from `CRASH_AT`. `payment-opening:SIGUSR2` is passed unharmed until that signal has come: a process
 * that has just begun may be too slow for what the test is about.
 */
export function createCrash(crashAt: string | undefined): Crash {
  if (crashAt === undefined) return never;
  const [point, signal] = crashAt.split(':');
  let armed = signal === undefined;
  if (signal !== undefined) process.once(signal, () => (armed = true));
  const die = (): void => void process.kill(process.pid, 'SIGKILL');
  return {
    at: (reached) => { if (armed && reached === point) die(); },
    during: (reached) => { if (armed && reached === point) setTimeout(die, MIDDLE_MS); },
  };
}
