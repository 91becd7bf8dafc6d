/** Real programs of this repository as child processes, for tests about starting, stopping and crashing. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { envSchema } from '../../platform/env.ts';
import { isAlive, pidsRunning } from '../../platform/processes.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Program {
  readonly pid: number;
  /** All it has printed so far, errors included. */
  output(): string;
  /** Waits until it prints this. Rejects when it ends first. */
  prints(pattern: RegExp, withinMs?: number): Promise<RegExpMatchArray>;
  send(signal: NodeJS.Signals): void;
  /** Its exit code, once it has ended; null after a signal. */
  readonly ended: Promise<number | null>;
}

/**
 * Starts a program, those of the product as `npm start` does and others under tsx, with the given settings only: neither the shell's nor
 * those of a developer's `.env`, which loses to variables that are set.
 */
export function startProgram(script: string, settings: Readonly<Record<string, string>>, args: readonly string[] = []): Program {
  const runner = /^(api|workers)\//.test(script) ? ['scripts/run.mjs'] : ['--import', 'tsx'];
  return start([...runner, script, ...args], settings);
}

function start(command: readonly string[], settings: Readonly<Record<string, string>>): Program {
  const unset = Object.fromEntries(Object.keys(envSchema.shape).filter((name) => name !== 'TEMPORAL_CLI' && name !== 'CACHE_DIR')
    .map((name) => [name, '']));
  const child = spawn(process.execPath, command, {
    cwd: root, env: { ...process.env, NODE_OPTIONS: '', ...unset, ...settings }, stdio: ['ignore', 'pipe', 'pipe'], detached: true,
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
  child.stderr.on('data', (chunk: Buffer) => { output += chunk.toString(); });
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  return {
    pid: child.pid ?? -1,
    output: () => output,
    prints: (pattern, withinMs = 30_000) => waitForOutput(child, () => output, pattern, withinMs),
    send: (signal) => { child.kill(signal); },
    ended,
  };
}

function waitForOutput(child: ChildProcess, output: () => string, pattern: RegExp, withinMs: number): Promise<RegExpMatchArray> {
  return new Promise((resolve, reject) => {
    const until = Date.now() + withinMs;
    const look = setInterval(() => {
      const match = pattern.exec(output());
      const over = child.exitCode !== null || child.signalCode !== null;
      if (match === null && !over && Date.now() < until) return;
      clearInterval(look);
      if (match === null) reject(new Error(`It ${over ? 'ended' : 'went on'} without printing ${pattern}:\n${output()}`));
      else resolve(match);
    }, 20);
  });
}

/** A fresh directory for DATA_DIR; `remove` ends whatever still runs in it. */
export function scratchDataDir(): { dir: string; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), 'surety-run-'));
  return {
    dir,
    remove: () => {
      killAll(processesOf(dir));
      rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
}

/** Pids of the servers that work on this data directory (their command line names it). */
export function processesOf(dir: string): number[] {
  return pidsRunning(dir);
}

/** `kill -9` to all of them. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
}
