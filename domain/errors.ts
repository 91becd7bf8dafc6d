/**
 * The closed list of things that can go wrong, by the code a client sees. A code keeps its name from SQL to JSON; the tables
 * below are keyed by the list, so a code without a status or a sentence does not compile.
 */

/** Where the money is after a refusal or failure. `no_change`: nothing moved. */
export type FundsStatus = 'no_change' | 'held_pending' | 'settled_safe' | 'locked_in_escrow' | 'released_to_seller' | 'returned';

interface ErrorRule {
  /** HTTP status the edge answers with. */
  readonly status: number;
  /** What the caller can do next, as a sentence. */
  readonly recovery: string;
  /** May the same step succeed when it is tried again unchanged? The activity boundary asks this. */
  readonly retryable?: boolean;
}

const fixRequest = 'Correct the request and send it again.';
const askKey = 'Send your API key as `Authorization: Bearer sk_…` or `X-API-Key: sk_…`.';
const later = 'Try again shortly; send the same Idempotency-Key so that nothing is paid twice.';

export const errorRules = {
  // 400: the request itself
  invalid_request: { status: 400, recovery: fixRequest },
  validation_error: { status: 400, recovery: 'Correct the fields listed in `details` and send the request again.' },
  validation_failed: { status: 400, recovery: 'Correct the fields listed in `details` and send the request again.' },
  invalid_amount: { status: 400, recovery: 'Send a decimal string such as "1.50": digits, at most six decimal places, more than zero.' },
  unknown_currency: { status: 400, recovery: 'Name a currency that this platform keeps; GET /api lists them.' },
  invalid_address: { status: 400, recovery: 'Send an address of the form 0x followed by 40 hexadecimal digits.' },
  invalid_endpoint: { status: 400, recovery: 'Give a public http or https address that Surety may reach.' },
  invalid_cursor: { status: 400, recovery: 'Use the cursor exactly as the previous page returned it, or leave it out.' },
  missing_agent: { status: 400, recovery: 'Name the agent in `agent`.' },
  invalid_timestamp: { status: 400, recovery: 'Send the time as RFC 3339, for example 2026-01-31T12:00:00Z.' },
  invalid_signature: { status: 400, recovery: 'Sign the exact message with the key of the address (EIP-191 personal_sign).' },
  self_trade: { status: 400, recovery: 'Buyer and seller must be different agents.' },
  cannot_revoke_current: { status: 400, recovery: 'Revoke this key with another key, or use regenerate.' },
  step_out_of_range: { status: 400, recovery: 'Name a step of the plan; steps count from 0.' },
  amount_exceeds_total: { status: 400, recovery: 'The steps must add up to the total.' },
  not_reversible: { status: 400, recovery: 'Only a settled movement between accounts or a deposit can be reversed.' },
  too_many_addresses: { status: 400, recovery: 'Ask for fewer addresses at once.' },
  // 401, 403: who is asking
  unauthorized: { status: 401, recovery: askKey },
  proof_required: { status: 403,
    recovery: 'Ask POST /v1/auth/challenge for a message, sign it with the key of the address, and register with the signature.' },
  forbidden: { status: 403, recovery: 'Use a key of the agent that owns this.' },
  not_party: { status: 403, recovery: 'Only a party of this payment may do that.' },
  policy_denied: { status: 403, recovery: 'Ask the owner of the policy to allow it.' },
  step_mismatch: { status: 403, recovery: 'Name the seller and the amount exactly as planned.' },
  wrong_merchant: { status: 403, recovery: 'Ask the buyer for a card that you may charge; wrong tries block this one.' },
  wrong_card_details: { status: 403, recovery: 'Ask the buyer for cvv and expiry of the card; wrong tries block it.' },
  above_card_limit: { status: 403, recovery: 'Charge less, or ask the buyer for another card; wrong tries block this one.' },
  // 402: not enough money
  insufficient_balance: { status: 402, recovery: 'Add funds, or ask for less.' },
  budget_exceeded: { status: 402, recovery: 'Open a session with a larger budget, or ask for a cheaper service.' },
  hold_exhausted: { status: 402, recovery: 'Top the stream up or close it.' },
  // 404
  not_found: { status: 404, recovery: 'Check the id.' },
  route_not_found: { status: 404, recovery: 'See /docs for the routes.' },
  no_service: { status: 404, recovery: 'Look at GET /v1/services for what is on offer, or raise maxPrice.' },
  no_refundable_service: { status: 404,
    recovery: 'Choose a service that lists `refundable: true` in GET /v1/services, or buy without `refundable` and `allOrNothing`.' },
  key_not_found: { status: 404, recovery: 'List your keys with GET /v1/auth/keys.' },
  entry_not_found: { status: 404, recovery: 'Take the id from the ledger page of the agent.' },
  agent_not_found: { status: 404, recovery: 'Check the address.' },
  // 405, 409, 410, 413, 415, 422, 429
  method_not_allowed: { status: 405, recovery: 'See /docs for the methods of this route.' },
  agent_exists: { status: 409, recovery: 'Use the key you were given at registration, or prove control of the address to get a new one.' },
  duplicate_deposit: { status: 409, recovery: 'This transaction was credited before; nothing is left to do.' },
  fee_not_covered: { status: 409,
    recovery: 'Credit a deposit to the account of the platform in the asset of the fee, then reverse the entry again.' },
  already_reversed: { status: 409, recovery: 'The entry was reversed before; nothing is left to do.' },
  session_closed: { status: 409, recovery: 'Open a new session.' },
  session_expired: { status: 410, recovery: 'Open a new session.' },
  invalid_state: { status: 409, recovery: 'Read the current state and act on that.' },
  evidence_limit: { status: 409, recovery: 'Wait for the ruling; what you submitted stays on record.' },
  pipeline_cancelled: { status: 409, recovery: 'See `partialResult` for what was paid, and start a new pipeline for the rest.' },
  duplicate_step: { status: 409, recovery: 'The step was confirmed before; nothing is left to do.' },
  stream_closed: { status: 409, recovery: 'Open a new stream.' },
  stream_full: { status: 409, recovery: 'Close the stream, which pays its ticks, and open a new one.' },
  already_closed: { status: 409, recovery: 'It was closed before; nothing is left to do.' },
  sequence_mismatch: { status: 409, recovery: 'Continue with the sequence number given in `expectedSeq`.' },
  idempotency_in_progress: { status: 409, recovery: 'The first request with this key is still under way; ask again in a moment.' },
  range_too_large: { status: 422,
    recovery: 'Ask for a moment nearer to now or to the first movement, or add up GET /v1/agents/:address/ledger page by page.' },
  idempotency_mismatch: { status: 422, recovery: 'Use a new Idempotency-Key for a different request.' },
  payload_too_large: { status: 413, recovery: 'Send at most 1 MiB.' },
  unsupported_media_type: { status: 415, recovery: 'Send JSON with Content-Type: application/json.' },
  rate_limit_exceeded: { status: 429, recovery: 'Wait as long as Retry-After says.', retryable: true },
  rate_limited: { status: 429, recovery: 'The session allows fewer requests a minute; wait as long as Retry-After says.', retryable: true },
  // 5xx: us or the seller
  internal_error: { status: 500, recovery: later, retryable: true },
  proxy_failed: { status: 502, recovery: 'Every seller that was tried failed; try again later or choose another service.' },
  execution_unknown: { status: 502,
    recovery: 'The seller may have worked before the interruption; you were not charged. Ask again if you still need the work.' },
  call_overdue: { status: 502,
    recovery: 'The seller did not deliver in the time it has; you were not charged. Ask again, or choose another service.' },
  pipeline_failed: { status: 502, recovery: 'See `partialResult` for what was paid, and run the remaining steps again.' },
  pipeline_pending: { status: 504,
    recovery: 'The pipeline goes on; ask again with the same Idempotency-Key, or read GET /v1/gateway/pipelines/:id.', retryable: true },
  call_pending: { status: 504, recovery: 'The call goes on; ask again with the same Idempotency-Key, or read GET /v1/gateway/calls/:id.',
    retryable: true },
  busy: { status: 503, recovery: later, retryable: true },
  draining: { status: 503, recovery: later, retryable: true },
  unavailable: { status: 503, recovery: later, retryable: true },
  withdrawals_disabled: { status: 503, recovery: 'The money stays available in the account; this platform does not send money out yet.' },
  not_configured: { status: 501, recovery: 'The operator of this platform has not switched this on.' },
} as const satisfies Record<string, ErrorRule>;

/** Every code a client can receive in `error` and `code`. */
export type ErrorCode = keyof typeof errorRules;

/** One field that was refused, for `details` of a validation error. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** What an error may carry beside its sentence; everything here is shown to the client. */
export interface ErrorExtras {
  readonly fundsStatus?: FundsStatus;
  /** Overrides the general advice of the code. */
  readonly recovery?: string;
  readonly details?: readonly FieldError[];
  /** Further top-level keys of the error body, such as `price` or `expectedSeq`. */
  readonly body?: Readonly<Record<string, unknown>>;
  readonly retryAfterSecs?: number;
  /** The answer of an earlier request with the same idempotency key. */
  readonly replayed?: boolean;
  /** For the few routes where clients of the first system expect another status than the code's own. */
  readonly status?: number;
  readonly cause?: unknown;
}

/** The only error class of the product. `message` is a sentence for the client; causes and internals go in `cause`. */
export class SuretyError extends Error {
  readonly code: ErrorCode;
  readonly extras: ErrorExtras;

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = 'SuretyError';
    this.code = code;
    this.extras = extras;
  }

  get status(): number {
    return this.extras.status ?? errorRules[this.code].status;
  }

  get retryable(): boolean {
    return (errorRules[this.code] as ErrorRule).retryable ?? false;
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorRules, text);
}

/** The JSON body of an error, the same at every route. `code` repeats `error` because the Go client reads only `code`. */
export function errorBody(error: SuretyError): Record<string, unknown> {
  const { fundsStatus, recovery, details, body } = error.extras;
  return {
    error: error.code,
    code: error.code,
    message: error.message,
    funds_status: fundsStatus ?? 'no_change',
    recovery: recovery ?? errorRules[error.code].recovery,
    ...(details === undefined ? {} : { details }),
    ...body,
  };
}
