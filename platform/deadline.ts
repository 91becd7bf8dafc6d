/** One time limit for several things that are done one after the other: each gets what those before it have left. */
export interface Deadline {
  /** Milliseconds left, never negative. */
  leftMs(): number;
}

/** The deadline so many milliseconds from now. */
export function deadlineIn(ms: number): Deadline {
  const until = performance.now() + ms;
  return { leftMs: () => Math.max(0, until - performance.now()) };
}

/** Waits for the work, so long at most. @returns whether it ended in time; rejects as the work does. What is late goes on alone. */
export async function inTime(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => { timer = setTimeout(resolve, ms, false); });
  try {
    return await Promise.race([work.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
