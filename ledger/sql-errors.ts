/**
 * From SQL to the client with the same code: the money functions raise SQLSTATE `SURTY` with a code of domain/errors.ts as
 * message; here it becomes a SuretyError with a sentence. A lost connection becomes `unavailable`, and says whether the money may
 * have moved all the same.
 */
import { isErrorCode, SuretyError, type ErrorCode, type ErrorExtras } from '../domain/errors.ts';
import { connectionLoss, isStatementTrouble, ranOutOfTime } from '../platform/connection-loss.ts';

/** What the SQL functions refuse, in a sentence for the caller. Codes that are missing here get the general sentence. */
const sentences: Partial<Record<ErrorCode, string>> = {
  insufficient_balance: 'There is not enough available money for this.',
  duplicate_deposit: 'A deposit with this transaction hash was credited before.',
  entry_not_found: 'There is no ledger entry with this id.',
  already_reversed: 'This entry was reversed before.',
  fee_not_covered: 'The platform has spent the fee of this payment and cannot give it back; nothing was reversed.',
  not_reversible: 'An entry of this kind cannot be reversed.',
  range_too_large: 'There are too many movements both before that moment and since then to add them up at once; nothing was changed.',
  idempotency_mismatch: 'This Idempotency-Key was used before with a different request.',
  idempotency_in_progress: 'The first request with this Idempotency-Key is still under way.',
  not_found: 'There is no such payment.',
  session_closed: 'The session is closed.',
  session_expired: 'The session has expired.',
  budget_exceeded: 'The budget of the session does not allow this.',
  invalid_state: 'The payment is not in a state that allows this.',
};

/** A statement that ran into its time limit, of a read or of anything else: the database gave it up, and it has changed nothing. */
export function outOfTime(cause: unknown, extras: ErrorExtras = {}): SuretyError {
  return new SuretyError('unavailable', 'The database took too long over this, and gave it up.',
    { recovery: 'Ask again in a moment, or for less at once, such as a smaller `limit`.', ...extras, retryAfterSecs: 1, cause });
}

interface DatabaseFault { code?: unknown; message: string; detail?: unknown; constraint?: unknown }

const UNIQUE_VIOLATION = '23505';

/** The SuretyError for an error that `pg` threw, or the error itself when it is neither a refusal nor a lost connection. */
export function translateSqlError(error: unknown): unknown {
  if (error instanceof SuretyError || !(error instanceof Error)) return error;
  const { code, message, detail, constraint } = error as DatabaseFault;
  if (code === 'SURTY' && isErrorCode(message)) {
    const said = typeof detail === 'string' && detail !== '' ? detail : undefined;
    return new SuretyError(message, said ?? sentences[message] ?? 'The ledger refused this.', { cause: error });
  }
  if (code === UNIQUE_VIOLATION && constraint === 'payment_by_lookup') {
    return new SuretyError('invalid_state', 'Another payment was given the same secret before; nothing was held. Ask again, for a new one.',
      { cause: error });
  }
  if (ranOutOfTime(error)) return outOfTime(error);
  if (isStatementTrouble(error)) {
    return new SuretyError('unavailable', 'Something else was in the way of this for too long; nothing was changed.', { cause: error });
  }
  const loss = connectionLoss(error);
  if (loss === 'not_done') return new SuretyError('unavailable', 'The database does not answer at the moment; nothing was changed.',
    { cause: error });
  if (loss === 'unknown') {
    return new SuretyError('unavailable', 'The connection to the database ended before its answer came; look before you ask again.', {
      cause: error,
      // Neither "no change" nor "held" would be true: the commit may or may not have happened.
      body: { funds_status: 'unknown' },
    });
  }
  return error;
}

/**
 * Is this failure of a group of statements perhaps that of one item, so that the others should be tried without it? Everything but an
 * absent database: who is refused, or waits for a lock in vain, must not take two hundred others with him.
 */
export function isItemError(error: unknown): boolean {
  return !(error instanceof SuretyError && error.code === 'unavailable') || isStatementTrouble(error.extras.cause);
}

/**
 * Runs what is more than one statement and translates what it throws.
 * @throws SuretyError with the code that SQL raised, `unavailable` when the database cannot be reached; anything else as it was.
 */
export async function withSqlErrors<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw translateSqlError(error);
  }
}
