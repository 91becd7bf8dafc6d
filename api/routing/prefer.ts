/** What a request would like, but does not demand: the header `Prefer` (RFC 7240). */
import type { IncomingMessage } from 'node:http';

/** The value of a preference, empty where it has none; null when it is not among them. The first of several counts. */
export function prefers(req: IncomingMessage, name: string): string | null {
  const header = req.headers['prefer'];
  if (header === undefined) return null;
  for (const one of String(header).split(',')) {
    const [preference = ''] = one.split(';');
    const [key = '', value = ''] = preference.split('=').map((part) => part.trim());
    if (key.toLowerCase() === name) return value.replace(/^"(.*)"$/, '$1');
  }
  return null;
}

/** How long to wait, of `Prefer: wait=N`, in milliseconds; 0 without it. @param msMax more is not waited. */
export function waitMs(req: IncomingMessage, msMax: number): number {
  const wanted = prefers(req, 'wait') ?? '';
  return /^[0-9]{1,6}$/.test(wanted) ? Math.min(Number(wanted) * 1_000, msMax) : 0;
}
