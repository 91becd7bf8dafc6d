/** Where the time of a start goes, from the moment the process began. */
export interface Stopwatch {
  /** Takes the time of a part. Parts that run side by side may add up to more than the whole. */
  timed<Result>(part: string, work: Promise<Result>): Promise<Result>;
  /** Such as `3.1 s: programs 0.9, servers 1.0, database 0.1`. */
  sentence(): string;
}

/** Call it once everything is imported: what has passed by then is the first part. */
export function createStopwatch(firstPart: string): Stopwatch {
  const parts = [`${firstPart} ${seconds(performance.now())}`];
  return {
    async timed(part, work) {
      const begun = performance.now();
      const result = await work;
      parts.push(`${part} ${seconds(performance.now() - begun)}`);
      return result;
    },
    sentence: () => `${seconds(performance.now())} s: ${parts.join(', ')}`,
  };
}

function seconds(ms: number): string {
  return String(Math.round(ms / 100) / 10);
}
