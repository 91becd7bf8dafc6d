/** Lengths of time as people and Go programs write them: `90s`, `5m`, `1h30m`, and `2d` beside them. */

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PART = /([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)/g;
const WHOLE = /^(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h|d)){1,5}$/;

/** Milliseconds of such a text, rounded to whole ones; null when it is not one. */
export function parseDuration(text: string): number | null {
  if (!WHOLE.test(text)) return null;
  const parts = [...text.matchAll(PART)].map(([, number = '', unit = '']) => Number(number) * (UNIT_MS[unit] ?? 0));
  return Math.round(parts.reduce((sum, part) => sum + part, 0));
}

/** The same the other way round, in the largest units that fit: 5400000 → `1h30m`. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const unit of ['h', 'm', 's', 'ms']) {
    const size = UNIT_MS[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}
