/** Writes answers. Headers go out in one call as a flat list, the quickest way Node has. */
import type { ServerResponse } from 'node:http';
import type { SuretyError } from '../../domain/errors.ts';
import { wireBody } from './errors.ts';
import type { FlatHeaders } from '../middleware/security-headers.ts';
import type { Answer } from './route.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

export interface Responder {
  answer(res: ServerResponse, requestId: string, answer: Answer, cacheControl: string): void;
  error(res: ServerResponse, requestId: string, error: SuretyError): void;
}

/** @param common headers of every answer. */
export function createResponder(common: FlatHeaders): Responder {
  return {
    answer(res, requestId, { status = 200, body, contentType, headers: own }, cacheControl) {
      const headers = ['X-Request-ID', requestId, 'Cache-Control', status < 300 ? cacheControl : 'no-store', ...common];
      const text = body === undefined ? undefined : contentType !== undefined && typeof body === 'string' ? body : JSON.stringify(body);
      if (text !== undefined) headers.push('Content-Type', contentType ?? JSON_TYPE);
      write(res, status, own === undefined ? headers : replaced(headers, own), text);
    },

    error(res, requestId, error) {
      const headers = ['X-Request-ID', requestId, 'Cache-Control', 'no-store', 'Content-Type', JSON_TYPE, ...common];
      const body = wireBody(error);
      if (error.extras.retryAfterSecs !== undefined) headers.push('Retry-After', String(Math.ceil(error.extras.retryAfterSecs)));
      if (error.extras.replayed === true) headers.push('Idempotent-Replayed', 'true');
      if (error.status === 401) headers.push('WWW-Authenticate', 'Bearer');
      if (Array.isArray(body['allow'])) headers.push('Allow', body['allow'].join(', '));
      write(res, error.status, headers, JSON.stringify(body));
    },
  };
}

function write(res: ServerResponse, status: number, headers: string[], text: string | undefined): void {
  // The timeout answered before, or the client has left.
  if (res.headersSent || res.destroyed) return;
  if (text === undefined) {
    res.writeHead(status, headers).end();
    return;
  }
  headers.push('Content-Length', String(Buffer.byteLength(text)));
  res.writeHead(status, headers).end(text);
}

/** Headers of the answer's own, such as a page's content policy, take the place of common ones with the same name. */
function replaced(flat: readonly string[], own: Readonly<Record<string, string>>): string[] {
  const names = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  const kept: string[] = [];
  for (let at = 0; at < flat.length; at += 2) {
    const name = flat[at] ?? '';
    if (!names.has(name.toLowerCase())) kept.push(name, flat[at + 1] ?? '');
  }
  for (const [name, value] of Object.entries(own)) kept.push(name, value);
  return kept;
}
