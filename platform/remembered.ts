/**
 * Asks once for all who ask within so many milliseconds. A failure is not kept: the next one who asks asks again.
 */
export function remembered<T>(ask: () => Promise<T>, ms: number): () => Promise<T> {
  let last: { readonly at: number; readonly result: Promise<T> } | null = null;
  return () => {
    const now = performance.now();
    if (last !== null && now - last.at < ms) return last.result;
    const mine = { at: now, result: ask() };
    last = mine;
    mine.result.catch(() => {
      if (last === mine) last = null;
    });
    return mine.result;
  };
}
