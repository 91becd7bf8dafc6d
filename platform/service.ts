/** A long-running program: parts are started in order and stopped in reverse, whether it ends by a signal or by an error. */
import { forceServers } from './children.ts';
import { deadlineIn, inTime, type Deadline } from './deadline.ts';

/** npm passes on a Ctrl-C that the terminal has sent us already; a second signal this soon is the same key stroke. */
const SAME_KEYSTROKE_MS = 700;
/** Until the program has said otherwise. */
const STOP_MS = 30_000;

export interface Service {
  /** Aborted once the program is asked to stop, so that a slow start gives up. */
  readonly signal: AbortSignal;
  /** Registers how to stop a part that has been started. The last registered is stopped first, and the deadline is that of all of them. */
  onStop(stop: Stop): void;
  /** How long the whole stop may take, all parts together. */
  stopWithin(ms: number): void;
  /** Prints for the person at the terminal. */
  say(sentence: string): void;
}

type Stop = (deadline: Deadline) => Promise<void> | void;

/**
 * Runs until SIGINT, SIGTERM or SIGHUP, then stops all parts, within one time for all of them, and exits with 0. A second signal ends
 * everything at once. When `start` fails, its message is printed without a stack trace, what had been started is stopped, and the exit
 * code is 1.
 */
export async function runService(say: (sentence: string) => void, start: (service: Service) => Promise<void>): Promise<void> {
  const stops: Stop[] = [];
  let stopMs = STOP_MS;
  const asked = new AbortController();
  const stopAll = async (): Promise<void> => {
    const deadline = deadlineIn(stopMs);
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
      try {
        await inTime(Promise.resolve(stop(deadline)), deadline.leftMs());
      } catch (error) {
        say(`While stopping: ${(error as Error).message}`);
      }
    }
    if (deadline.leftMs() === 0) say('Stopping took too long, so what was left was ended. The next start finishes what is open.');
    forceServers();
  };
  const signalled = new Promise<void>((resolve) => {
    listenForSignals(() => {
      asked.abort();
      resolve();
    }, say);
  });
  try {
    await start({
      signal: asked.signal, say, stopWithin: (ms) => { stopMs = ms; },
      onStop: (stop) => { stops.push(stop); },
    });
  } catch (error) {
    await stopAll();
    if (asked.signal.aborted) process.exit(0);
    say((error as Error).message);
    process.exit(1);
  }
  await signalled;
  await stopAll();
  process.exit(0);
}

function listenForSignals(stop: () => void, say: (sentence: string) => void): void {
  let askedAt: number | undefined;
  const onSignal = (): void => {
    if (askedAt === undefined) {
      askedAt = Date.now();
      say('Stopping. Payments under way are finished by the next start; press Ctrl-C again to end at once.');
      stop();
    } else if (Date.now() - askedAt > SAME_KEYSTROKE_MS) {
      forceServers();
      process.exit(130);
    }
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
}
