/** A long-running program: parts are started in order and stopped in reverse, whether it ends by a signal or by an error. */
import { forceServers } from './children.ts';

/** npm passes on a Ctrl-C that the terminal has sent us already; a second signal this soon is the same key stroke. */
const SAME_KEYSTROKE_MS = 700;

export interface Service {
  /** Aborted once the program is asked to stop, so that a slow start gives up. */
  readonly signal: AbortSignal;
  /** Registers how to stop a part that has been started. The last registered is stopped first. */
  onStop(stop: () => Promise<void> | void): void;
  /** Prints for the person at the terminal. */
  say(sentence: string): void;
}

/**
 * Runs until SIGINT, SIGTERM or SIGHUP, then stops all parts and exits with 0. A second signal ends everything at once. When
 * `start` fails, its message is printed without a stack trace, what had been started is stopped, and the exit code is 1.
 */
export async function runService(say: (sentence: string) => void, start: (service: Service) => Promise<void>): Promise<void> {
  const stops: (() => Promise<void> | void)[] = [];
  const asked = new AbortController();
  const stopAll = async (): Promise<void> => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
      try {
        await stop();
      } catch (error) {
        say(`While stopping: ${(error as Error).message}`);
      }
    }
  };
  const signalled = new Promise<void>((resolve) => {
    listenForSignals(() => {
      asked.abort();
      resolve();
    }, say);
  });
  try {
    await start({ signal: asked.signal, onStop: (stop) => { stops.push(stop); }, say });
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
