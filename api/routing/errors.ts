/** Turns whatever went wrong into the one error body of the platform. Clients never see a stack, a query or an HTML page. */
import { z } from 'zod';
import { connectionLoss, ranOutOfTime } from '../../platform/connection-loss.ts';
import { outOfTime } from '../../ledger/sql-errors.ts';
import { errorBody, isErrorCode, SuretyError, type ErrorCode, type FieldError } from '../../domain/errors.ts';
import { DEFAULT_ASSET } from '../../domain/money.ts';

/** At most this many refused fields are named; a hostile body could otherwise make the answer larger than the question. */
const DETAILS_MAX = 20;

/**
 * What the client gets for any thrown value.
 * @param money true when the request may have moved money before the failure; the answer then does not claim `no_change`.
 */
export function toSuretyError(error: unknown, money: boolean): SuretyError {
  if (error instanceof SuretyError) return error;
  if (error instanceof z.ZodError) return validationError(error, '');
  const funds = money ? { fundsStatus: 'held_pending' as const, recovery: unknownOutcome } : {};
  if (ranOutOfTime(error)) return outOfTime(error, funds);
  if (connectionLoss(error) !== null) {
    return new SuretyError('unavailable', 'The platform cannot reach its database at the moment.',
      { ...funds, retryAfterSecs: 1, cause: error });
  }
  return new SuretyError('internal_error', 'Something went wrong on our side. The request id names this case in our log.',
    { ...funds, cause: error });
}

const unknownOutcome =
  'Send the request again with the same Idempotency-Key: it is answered with what really happened and nothing is paid twice.';

/**
 * The refusal of a request that does not fit its schema. When every refused field has one reason that has a code of its own, such
 * as `invalid_amount`, that code is used; otherwise `validation_error`.
 * @param where prefix of the field names: empty for the body, `query.` or `path.` elsewhere.
 */
export function validationError(error: z.ZodError, where: string): SuretyError {
  const issues = error.issues.flatMap(flatten);
  const details: FieldError[] = issues.slice(0, DETAILS_MAX).map((issue) => ({ field: fieldName(issue, where), message: issue.message }));
  const codes = new Set(issues.map(codeOf));
  const [only] = codes;
  const code: ErrorCode = codes.size === 1 && only !== undefined ? only : 'validation_error';
  const first = details[0];
  const message = first === undefined ? 'The request does not fit its schema.' : `${first.field}: ${first.message}`;
  return new SuretyError(code, message, { details });
}

/** One issue for each unknown field, so that each is named. */
function flatten(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'unrecognized_keys') return [issue];
  return issue.keys.map((key) => ({ ...issue, path: [...issue.path, key], message: 'is not a field of this request' }));
}

function fieldName(issue: z.core.$ZodIssue, where: string): string {
  const path = issue.path.map((part) => String(part).slice(0, 100)).join('.');
  return where + (path === '' ? 'body' : path);
}

function codeOf(issue: z.core.$ZodIssue): ErrorCode {
  const code: unknown = issue.code === 'custom' ? issue.params?.['code'] : undefined;
  return typeof code === 'string' && isErrorCode(code) ? code : 'validation_error';
}

/** The body as clients read it: the common one, and what single codes promise beside it (contract alancoin-payments 6.2). */
export function wireBody(error: SuretyError): Record<string, unknown> {
  const body = errorBody(error);
  // Clients of the first system read "agent" in a 404 as "unknown agent", whatever the code says.
  if (error.code === 'no_service' && /agent/i.test(error.message)) body['message'] = 'No active service matches this request.';
  if (error.status === 402) {
    body['price'] ??= null;
    body['currency'] ??= DEFAULT_ASSET;
  }
  if (error.extras.retryAfterSecs !== undefined) body['retry_after'] ??= error.extras.retryAfterSecs;
  return body;
}
