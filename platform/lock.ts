/** A lock between processes that survives `kill -9`: a file that names its holder. When the holder is gone, the next one takes it over. */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { startMark } from './processes.ts';

interface LockText {
  readonly pid: number;
  readonly started: string;
}

export type Lock = { readonly release: () => Promise<void> } | { readonly heldBy: number };

/**
 * Tries once to take the lock.
 * @returns a way to release it, or the pid of the living process that holds it.
 */
export async function takeLock(file: string): Promise<Lock> {
  const mine: LockText = { pid: process.pid, started: startMark(process.pid) ?? '' };
  for (;;) {
    if (await createLock(file, mine)) {
      return {
        release: async () => {
          if ((await readLock(file))?.pid === process.pid) await rm(file, { force: true });
        },
      };
    }
    const heldBy = await livingHolder(file);
    if (heldBy !== undefined) return { heldBy };
    await putStaleAside(file);
  }
}

/** Pid of the process that holds the lock now; undefined when it is free or its holder is gone. */
export async function livingHolder(file: string): Promise<number | undefined> {
  const holder = await readLock(file);
  return holder !== undefined && isHeld(holder) ? holder.pid : undefined;
}

/** Made whole under another name and then linked, so that nobody ever reads half a lock. False when a lock exists. */
async function createLock(lockFile: string, mine: LockText): Promise<boolean> {
  const temporary = `${lockFile}.${randomBytes(4).toString('hex')}`;
  const handle = await open(temporary, 'wx', 0o600);
  await handle.writeFile(JSON.stringify(mine));
  await handle.close();
  try {
    await link(temporary, lockFile);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  // Another process that took over the same stale lock may just have moved ours aside by mistake; it puts it back at once.
  await sleep(50);
  return (await readLock(lockFile))?.pid === mine.pid;
}

/**
 * Moves a stale lock out of the way. Two processes may both find it stale; the slower one then moves the quicker one's fresh lock,
 * notices that it belongs to a living process, and puts it back.
 */
async function putStaleAside(lockFile: string): Promise<void> {
  const aside = `${lockFile}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(lockFile, aside);
  } catch {
    return;
  }
  const moved = await readLock(aside);
  if (moved !== undefined && isHeld(moved)) await link(aside, lockFile).catch(() => undefined);
  await rm(aside, { force: true });
}

async function readLock(file: string): Promise<LockText | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as LockText;
  } catch {
    return undefined;
  }
}

function isHeld(lock: LockText): boolean {
  return startMark(lock.pid) === lock.started && lock.started !== '';
}
