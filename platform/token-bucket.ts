/** A token bucket: how often something may happen at once, and how often in the long run. */

export interface TokenBucketOptions {
  /** As many at once after a quiet time. */
  readonly burst: number;
  readonly perSec: number;
}

/** Returns a function that takes a token and says whether there was one. */
export function createTokenBucket({ burst, perSec }: TokenBucketOptions): () => boolean {
  let tokens = burst;
  let refilledAtMs = Date.now();
  return () => {
    const nowMs = Date.now();
    tokens = Math.min(burst, tokens + ((nowMs - refilledAtMs) * perSec) / 1_000);
    refilledAtMs = nowMs;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}
