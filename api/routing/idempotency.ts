/**
 * Idempotency keys of money requests other than calls. The edge reads the key and computes what the request asks; the SQL function
 * that moves the money stores both in its own transaction, so a key is never remembered for money that did not move.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { SuretyError } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';

const KEY = /^[\x21-\x7e]{1,200}$/;

/** The `Idempotency-Key` header, or null. @throws SuretyError `validation_error` unless it is 1 to 200 visible ASCII characters. */
export function idempotencyKeyOf(req: IncomingMessage): string | null {
  const key = req.headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key !== 'string' || !KEY.test(key)) {
    const message = 'must be 1 to 200 visible ASCII characters';
    throw new SuretyError('validation_error', `Idempotency-Key: ${message}`, { details: [{ field: 'Idempotency-Key', message }] });
  }
  return key;
}

/** A key with the hash of the request it came with: SHA-256 of method, path and body, whatever the order of the body's fields. */
export function claimOf(key: string | null,
    request: { readonly method: string; readonly path: string; readonly body: unknown }): IdempotencyClaim | null {
  if (key === null) return null;
  const text = `${request.method.toUpperCase()}\n${request.path}\n${canonicalJson(withoutKey(request.body))}`;
  return { key, requestHash: createHash('sha256').update(text).digest('hex') };
}

/** The key itself is not part of what is asked for: it may come in the header first and in the body the second time. */
function withoutKey(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'idempotencyKey'));
}

/** JSON with the fields of every object in one order. The value is parsed JSON of limited depth. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, inner]) => `${JSON.stringify(name)}:${canonicalJson(inner)}`).join(',')}}`;
}
