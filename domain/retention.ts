/** What the database keeps for a time and then lets go of. Books (payments, calls, holds, postings) are kept for ever. */
export const retentionKinds =
  ['idempotency_keys', 'answers', 'call_events', 'seller_failures', 'attempt_refusals', 'ownership_challenges'] as const;
/** One of these. */
export type RetentionKind = (typeof retentionKinds)[number];

/**
 * No setting lets idempotency keys go earlier. Two charged calls with one key that lie nearer together than this are an error of the
 * platform; later, the key may rightly be used again.
 */
export const KEYS_KEPT_DAYS_MIN = 1;
