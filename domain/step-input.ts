/** Reading of what was sent with a step. Messages to a workflow are not checked by a schema before: anything at all may be in them. */
import { SuretyError } from './errors.ts';

/** What Postgres has no text for: NUL, and halves of characters. */
// eslint-disable-next-line no-control-regex -- the character is the point
const UNSTORABLE = /\u0000|\p{Surrogate}/u;

/** The fields of an input; none where it is no object. */
export function fieldsOf(raw: unknown): Readonly<Record<string, unknown>> {
  return (typeof raw === 'object' && raw !== null ? raw : {}) as Record<string, unknown>;
}

/** A field that must be text of 1 to `max` characters. @throws SuretyError validation_error. */
export function textOf(fields: Readonly<Record<string, unknown>>, field: string, max: number): string {
  const value = fields[field];
  if (typeof value !== 'string' || value.trim() === '' || value.length > max || UNSTORABLE.test(value))
    throw wrongField(field, `must be text of 1 to ${max} characters`);
  return value.trim();
}

/** The error for a field that is not as it must be. */
export function wrongField(field: string, message: string): SuretyError {
  return new SuretyError('validation_error', `${field}: ${message}`, { details: [{ field, message }] });
}
