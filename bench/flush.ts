/** How long the disk takes to make a small write last. A paid call waits for two commits, so this bounds what one client can see. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { latencyFigures } from './measure.ts';

const WRITES = 200;
/** A page of Postgres' log. */
const BYTES = 8_192;

/** Median of a write and its flush in this directory, in milliseconds. */
export function measureFlushMs(directory: string): number {
  const file = path.join(directory, 'flush-test');
  const page = Buffer.alloc(BYTES, 1);
  const descriptor = openSync(file, 'w');
  try {
    const tookMs = Array.from({ length: WRITES }, () => {
      const begun = performance.now();
      writeSync(descriptor, page, 0, BYTES, 0);
      fdatasyncSync(descriptor);
      return performance.now() - begun;
    });
    return latencyFigures(tookMs).p50Ms;
  } finally {
    closeSync(descriptor);
    rmSync(file, { force: true });
  }
}
