// `node scripts/cores.mjs`: what a second busy core is worth on this machine. Signs for two seconds in one thread, then in two at
// once, and prints the time of one signature in both cases. Twice the time means that the two cores share one.
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

const MEASURED_MS = 2_000;

/** Microseconds for one Ed25519 signature of 300 bytes. */
function signatureMicros() {
  const { privateKey } = generateKeyPairSync('ed25519');
  const text = Buffer.alloc(300);
  const startedAt = performance.now();
  let count = 0;
  for (; performance.now() - startedAt < MEASURED_MS; count += 50) for (let i = 0; i < 50; i += 1) sign(null, text, privateKey);
  return ((performance.now() - startedAt) * 1_000) / count;
}

async function inThreads(threads) {
  const workers = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url)));
  const times = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
  await Promise.all(workers.map((worker) => worker.terminate()));
  return times.reduce((sum, time) => sum + time, 0) / threads;
}

if (isMainThread) {
  const alone = await inThreads(1);
  const together = await inThreads(2);
  const added = Math.round(((2 * alone) / together - 1) * 100);
  console.log(`One signature: ${alone.toFixed(1)} µs with one busy thread, ${together.toFixed(1)} µs with two: `
    + `the second core adds ${added} %.`);
} else {
  parentPort.postMessage(signatureMicros());
}
