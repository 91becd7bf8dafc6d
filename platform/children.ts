/**
 * Servers that we start beside us: Postgres and Temporal. Each runs in a session of its own, so that Ctrl-C in the terminal reaches only us
 * and they stop last.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcesses } from './processes.ts';

/** A log that has grown beyond this is put aside at the next start; one older log is kept. */
const LOG_BYTES_MAX = 20_000_000;
const RESTART_WAIT_MS_MAX = 10_000;

export interface ServerCommand {
  /** For messages: `Postgres`, `Temporal`. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** File that receives what the server prints. A pipe would block or kill it once we are gone. */
  readonly logFile: string;
  /** Without it the server inherits our environment. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly stopSignal: NodeJS.Signals;
  /** Ends the server with all its children at once. What was written stays; the next start recovers. */
  readonly forceSignal: NodeJS.Signals;
  /** How long a polite stop may take before it is forced. */
  readonly stopPatienceMs: number;
}

export interface ServerHandle {
  readonly pid: number;
  /** Resolves when the process has ended, with a sentence that says how. */
  readonly ended: Promise<string>;
  /** @param patienceMs where it is shorter than that of the command. */
  stop(patienceMs?: number): Promise<void>;
}

/** Servers of this process that have not ended. */
const running = new Map<number, ServerCommand>();

/** Ends every server at once, for the second Ctrl-C. */
export function forceServers(): void {
  for (const [pid, command] of running) signal(pid, command.forceSignal);
  running.clear();
}

// Whatever makes this process exit, an error included, its servers are signalled to stop; they need no help with that.
process.on('exit', () => {
  for (const [pid, command] of running) signal(pid, command.stopSignal);
});

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

/** Starts a server without waiting until it answers. */
export function startServer(command: ServerCommand): ServerHandle {
  putLogAside(command.logFile);
  const output = openSync(command.logFile, 'a', 0o600);
  let child: ChildProcess;
  // What the server writes holds payments, so its files are for its own user only. The mask is put back before anything else runs.
  const mask = process.umask(0o077);
  try {
    child = spawn(command.program, command.args, {
      detached: true, stdio: ['ignore', output, output], env: command.env, cwd: command.cwd, uid: command.uid, gid: command.gid,
    });
  } finally {
    process.umask(mask);
    closeSync(output);
  }
  const pid = child.pid ?? -1;
  if (pid > 0) running.set(pid, command);
  child.once('exit', () => running.delete(pid));
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`${command.name} could not be started: ${error.message}`));
    child.once('exit', (code, signal) =>
      resolve(`${command.name} ended (${signal ?? `code ${code}`}); its last words are in ${command.logFile}`));
  });
  return {
    pid,
    ended,
    stop: async (patienceMs = command.stopPatienceMs) => {
      if (pid > 0 && child.exitCode === null && child.signalCode === null) await endProcesses([pid], command.stopSignal,
        Math.min(patienceMs, command.stopPatienceMs));
    },
  };
}

/**
 * Waits until `answers` succeeds.
 * @throws when the server ends first or the time is up, with the end of its log.
 */
export async function waitUntilAnswers(server: ServerHandle, command: ServerCommand, answers: () => Promise<void>,
    patienceMs: number): Promise<void> {
  let endedHow: string | undefined;
  void server.ended.then((how) => { endedHow = how; });
  const until = Date.now() + patienceMs;
  for (;;) {
    if (endedHow !== undefined) throw new Error(`${endedHow}\n${lastLines(command.logFile)}`);
    try {
      return await answers();
    } catch (error) {
      if (Date.now() >= until) {
        const why = `${(error as Error).message}\n${lastLines(command.logFile)}`;
        throw new Error(`${command.name} does not answer after ${patienceMs / 1_000} s: ${why}`, { cause: error });
      }
    }
    await sleep(50);
  }
}

/** Keeps a server alive: when it ends and nobody asked for that, it is started again, after a wait that grows with each failure. */
export interface Supervised {
  readonly pid: () => number;
  /** @param patienceMs where it is shorter than that of the command. */
  stop(patienceMs?: number): Promise<void>;
}

/**
 * @param start starts the server anew and resolves when it answers.
 * @param notice gets a sentence when the server has ended unasked and when it is back.
 */
export function supervise(first: ServerHandle, start: () => Promise<ServerHandle>, notice: (sentence: string) => void): Supervised {
  let current = first;
  let stopping = false;
  const watch = async (): Promise<void> => {
    while (!stopping) {
      const how = await current.ended;
      if (stopping) return;
      notice(`${how}. Starting it again.`);
      for (let waitMs = 250; !stopping; waitMs = Math.min(waitMs * 2, RESTART_WAIT_MS_MAX)) {
        try {
          current = await start();
          if (stopping) await current.stop();
          else notice('It answers again.');
          break;
        } catch (error) {
          notice((error as Error).message);
          await sleep(waitMs);
        }
      }
    }
  };
  const watching = watch();
  return {
    pid: () => current.pid,
    stop: async (patienceMs) => {
      stopping = true;
      await current.stop(patienceMs);
      await watching;
    },
  };
}

/** The last lines of a log, for an error message; empty when there is none. */
function lastLines(file: string, count = 15): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '';
  }
}

function putLogAside(file: string): void {
  try {
    if (statSync(file).size > LOG_BYTES_MAX) renameSync(file, `${file}.1`);
  } catch {
    // There is no log yet.
  }
}
