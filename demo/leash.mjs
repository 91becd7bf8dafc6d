/**
 * Preloaded into the processes the demo and the benchmark start (`node --import ./demo/leash.mjs`): when the parent dies without
 * a word, even by kill -9, the child stops too instead of staying behind. Plain JavaScript, because worker threads preload it as
 * well, and they do without tsx.
 */
import process from 'node:process';
import { clearInterval, setInterval, setTimeout } from 'node:timers';
import { isMainThread } from 'node:worker_threads';

const parent = process.ppid;
const LOOK_EVERY_MS = 1_000;
/** What a drain may take before the child is no longer asked politely. */
const DRAIN_MS = 10_000;

function watchParent() {
  const timer = setInterval(() => {
    // An orphan is adopted by another process, so its parent's id changes.
    if (process.ppid === parent) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), DRAIN_MS).unref();
  }, LOOK_EVERY_MS);
  timer.unref();
}

if (isMainThread) watchParent();
