/** Starting and ending the processes of the demo and the benchmark, so that none is left behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { envSchema } from '../platform/env.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const leash = fileURLToPath(new URL('./leash.mjs', import.meta.url));
const STOP_GRACE_MS = 20_000;
const START_MAX_MS = 60_000;

export interface ChildOptions {
  /** Name in messages, such as "Surety node 1". */
  readonly name: string;
  /** Script, relative to the repository. */
  readonly script: string;
  readonly args?: readonly string[];
  /** For node itself, before the script. */
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** File that receives what the child prints. */
  readonly logFile: string;
  /** The child is ready when it prints this on standard output; the match is handed back. */
  readonly ready: RegExp;
  /** Open a message channel to the child. */
  readonly channel?: boolean;
  /** Ends a child that is not ready yet; a ready one is ended by its handle. */
  readonly signal?: AbortSignal;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  /** What `ready` matched. */
  readonly readyMatch: RegExpMatchArray;
  readonly process: ChildProcess;
  readonly running: boolean;
  /** SIGKILL, at once; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM and time to drain; SIGKILL after that. */
  stop(): Promise<void>;
}

/**
 * Starts a script of this repository, under tsx where it is TypeScript, and waits until it is ready. It gets its own process group, so that
 * Ctrl-C reaches only the parent, which then stops everything in the right order.
 * @throws Error with the child's last lines when it ends or stays silent instead.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  mkdirSync(dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, 'a');
  const child = spawn(process.execPath,
      [...(options.nodeArgs ?? []), ...(options.script.endsWith('.ts') ? ['--import', 'tsx'] : []), '--import', leash, options.script,
        ...(options.args ?? [])], {
    cwd: root, detached: true, env: { ...cleanEnv(), ...options.env },
    stdio: options.channel === true ? ['ignore', 'pipe', log, 'ipc'] : ['ignore', 'pipe', log],
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const abort = () => child.kill('SIGKILL');
  options.signal?.addEventListener('abort', abort);
  if (options.signal?.aborted === true) abort();
  // 'close' and not 'exit': by then everything the child printed has been read.
  child.once('close', () => closeSync(log));
  try {
    const readyMatch = await firstMatch(child, options, log);
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      if (!isRunning(child)) return;
      child.kill(signal);
      const hard = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      await gone;
      clearTimeout(hard);
    };
    return {
      name: options.name, pid: child.pid ?? 0, process: child, readyMatch,
      get running() { return isRunning(child); },
      kill: () => end('SIGKILL'),
      stop: () => end('SIGTERM'),
    };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Resolves with the match of `ready`; everything printed also goes to the log file. */
function firstMatch(child: ChildProcess, options: ChildOptions, log: number): Promise<RegExpMatchArray> {
  return new Promise((resolve, reject) => {
    let printed = '';
    const fail = (what: string) => reject(new Error(`${options.name} ${what}.\n${tail(options.logFile)}`));
    const timer = setTimeout(() => fail(`was not ready after ${START_MAX_MS / 1000} s`), START_MAX_MS);
    child.once('error', (error) => fail(`could not be started: ${error.message}`));
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      fail(`ended with ${signal ?? `code ${code}`} before it was ready`);
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      writeSync(log, text);
      if (printed.length > 64_000) return;
      printed += text;
      const match = options.ready.exec(printed);
      if (match === null) return;
      printed = 'x'.repeat(64_001);
      clearTimeout(timer);
      resolve(match);
    });
  });
}

/**
 * The user's environment with Surety's own settings emptied: neither a DATABASE_URL of the shell nor one of a `.env` file, which
 * fills in only what is not set, may reach a demo. Where to find Temporal stays.
 */
export function cleanEnv(): Record<string, string> {
  const kept = new Set(['TEMPORAL_CLI', 'CACHE_DIR']);
  const ours = Object.keys(envSchema.shape).filter((name) => !kept.has(name));
  const users = Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return { ...Object.fromEntries(users), ...Object.fromEntries(ours.map((name) => [name, ''])) };
}

/** Last lines of a log file, indented, for an error message. */
export function tail(file: string, lines = 12): string {
  try {
    const text = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines);
    return `Last lines of ${relative(root, file)}:\n${text.map((line) => `  ${line}`).join('\n')}`;
  } catch {
    return '';
  }
}
