/**
 * What the operating system knows about processes. A pid alone proves nothing, because pids are used again; a pid together with
 * the moment its process started names one process for good.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const onLinux = process.platform === 'linux';

/** Whether a process with this pid exists and is more than a zombie. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  // A zombie still answers signals; nobody needs to wait for it.
  return !onLinux || statFields(pid)?.[0] !== 'Z';
}

/** When the process started, in a form that only serves to be compared; undefined when it is gone. */
export function startMark(pid: number): string | undefined {
  if (!isAlive(pid)) return undefined;
  if (onLinux) {
    const ticks = statFields(pid)?.[19];
    return ticks === undefined ? undefined : `${bootId()}:${ticks}`;
  }
  return ps(pid, 'lstart=');
}

/** The command line of a process, arguments separated by spaces; empty when it is gone or not ours to see. */
export function commandLine(pid: number): string {
  if (!onLinux) return ps(pid, 'command=') ?? '';
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** Processes whose working directory is `dir`. Only Linux shows them; elsewhere the list is empty. */
export function pidsWorkingIn(dir: string): number[] {
  if (!onLinux) return [];
  return allPids().filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === dir;
    } catch {
      return false;
    }
  });
}

/** Processes of which every one of `parts` occurs in the command line. Only Linux shows them; elsewhere the list is empty. */
export function pidsRunning(...parts: readonly string[]): number[] {
  if (!onLinux) return [];
  return allPids().filter((pid) => {
    const line = commandLine(pid);
    return pid !== process.pid && parts.every((part) => line.includes(part));
  });
}

/**
 * Asks processes to end, waits, and ends those that are left by force.
 * @returns once none of them exists.
 */
export async function endProcesses(pids: readonly number[], signal: NodeJS.Signals, patienceMs: number): Promise<void> {
  signalAll(pids, signal);
  if (await allGone(pids, patienceMs)) return;
  signalAll(pids, 'SIGKILL');
  await allGone(pids, 5_000);
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended by itself in the meantime.
    }
  }
}

async function allGone(pids: readonly number[], patienceMs: number): Promise<boolean> {
  const until = Date.now() + patienceMs;
  while (pids.some(isAlive)) {
    if (Date.now() >= until) return false;
    await sleep(20);
  }
  return true;
}

function allPids(): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Fields of /proc/<pid>/stat after the name, which may itself hold spaces and brackets. The first is the state, the 20th the start. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

function ps(pid: number, column: string): string | undefined {
  const result = spawnSync('ps', ['-o', column, '-p', String(pid)], { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : undefined;
}
