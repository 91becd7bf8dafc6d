/** How the answer of one step of a pipeline reaches the next: `$prev` in its parameters (contract alancoin-payments 5.4). */

/** Params with everything filled in, as JSON text; or why that cannot be done. */
export type Filled = { readonly ok: true; readonly json: string } | { readonly ok: false; readonly reason: string };

/** A seller takes at most as much as it may answer. */
export const FILLED_CHARS_MAX = 5 * 1024 * 1024;
/** Far above what a request may nest; an answer may nest deeper, and is then handed on only as a whole. */
const DEPTH_MAX = 200;

const tooLarge = 'With the previous answer filled in, the parameters are larger than 5 MiB.';
const tooDeep = 'With the previous answer filled in, the parameters are nested too deeply.';

/**
 * Replaces each text value that is exactly `$prev` by the previous response object, and `$prev.a.b` by the value at that path: text
 * stays text, every other value becomes its JSON text. Where the path leads nowhere the text stays as it was written.
 * @param paramsJson JSON object text. @param previousJson JSON text of the previous response; null when there is none, or it was empty.
 */
export function fillPrevious(paramsJson: string, previousJson: string | null): Filled {
  // Nearly all params of single steps; and nothing to fill in is nothing to go wrong.
  if (previousJson === null || !paramsJson.includes('$prev')) return { ok: true, json: paramsJson };
  const previous: unknown = JSON.parse(previousJson);
  let spent = paramsJson.length;
  /** A few bytes of `$prev` may stand for megabytes, many times over: counted before they are made. */
  const affordable = (chars: number): boolean => (spent += chars) <= FILLED_CHARS_MAX;
  let fault: string | null = null;

  const fill = (value: unknown, depth: number): unknown => {
    if (fault !== null) return null;
    if (depth > DEPTH_MAX) {
      fault = tooDeep;
      return null;
    }
    if (typeof value === 'string') return fillText(value);
    if (Array.isArray(value)) return value.map((item) => fill(item, depth + 1));
    if (typeof value !== 'object' || value === null) return value;
    // `fromEntries` makes fields of its own, so a field called `__proto__` is a field like any other.
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, fill(inner, depth + 1)]));
  };

  const fillText = (text: string): unknown => {
    if (text === '$prev') {
      if (!affordable(previousJson.length)) fault = tooLarge;
      return previous;
    }
    const found = text.startsWith('$prev.') ? valueAt(previous, text.slice('$prev.'.length)) : undefined;
    if (found === undefined) return text;
    const filled = typeof found === 'string' ? found : JSON.stringify(found);
    if (!affordable(filled.length)) fault = tooLarge;
    return filled;
  };

  try {
    const filled = fill(JSON.parse(paramsJson), 0);
    if (fault !== null) return { ok: false, reason: fault };
    const json = JSON.stringify(filled);
    return json.length > FILLED_CHARS_MAX ? { ok: false, reason: tooLarge } : { ok: true, json };
  } catch (error) {
    // An answer of a hundred thousand brackets is more than a stack can hold.
    if (error instanceof RangeError) return { ok: false, reason: tooDeep };
    throw error;
  }
}

/** The value at a path of own fields and list positions; undefined where it leads nowhere. */
function valueAt(root: unknown, path: string): unknown {
  let value = root;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (Array.isArray(value) ? !/^\d{1,9}$/.test(name) : !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
