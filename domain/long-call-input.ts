/** What a step of a long call brings with it, read the same way from a request and from a message. */
import { SuretyError } from './errors.ts';
import { NOTE_MAX, type LongCallInput, type LongCallStep } from './long-call.ts';

const wrong = (field: string, message: string): SuretyError =>
  new SuretyError('validation_error', `${field}: ${message}`, { details: [{ field, message }] });

/** @throws SuretyError validation_error. */
export function readLongCallInput(step: LongCallStep, sent: unknown): LongCallInput {
  const fields = (typeof sent === 'object' && sent !== null ? sent : {}) as Readonly<Record<string, unknown>>;
  switch (step) {
    case 'complete': {
      const { result } = fields;
      if (result === undefined || result === null) return { step, resultJson: null };
      if (typeof result !== 'object' || Array.isArray(result)) throw wrong('result', 'must be a JSON object');
      return { step, resultJson: JSON.stringify(result) };
    }
    case 'fail': return { step, reason: textIn(fields, 'reason') ?? 'no reason was given' };
    case 'progress': {
      const { percent = null } = fields;
      if (percent !== null && !(typeof percent === 'number' && Number.isInteger(percent) && percent >= 0 && percent <= 100)) {
        throw wrong('percent', 'must be a whole number from 0 to 100');
      }
      return { step, percent, note: textIn(fields, 'note') };
    }
    case 'cancel': return { step };
  }
}

/** A short text, without what no text column can hold. */
function textIn(fields: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = fields[name];
  if (value === undefined || value === null || value === '') return null;
  if (typeof value !== 'string' || value.length > NOTE_MAX || value.includes('\u0000')) {
    throw wrong(name, `must be a text of at most ${NOTE_MAX} characters`);
  }
  return value;
}
