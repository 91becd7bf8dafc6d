import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { SearchableInput } from './search-attributes.ts';

/** What a session's workflow is started with; nothing of it changes. */
export interface GatewaySessionInput extends SearchableInput {
  readonly sessionId: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Close at once: the workflow was lost and comes back only to end the session. */
  readonly closeNow?: boolean;
}

/** By whom it ended: somebody, or the clock. */
export type SessionEnding = 'closed' | 'expired';

/** What the update and the query answer. */
export interface GatewaySessionView {
  readonly sessionId: string;
  readonly state: 'active' | 'closing' | SessionEnding;
}

/** Ends the session and answers when the money that nobody needs is back with the buyer. */
export const closeUpdate = defineUpdate<GatewaySessionView>('surety-close');
/** The same, for those who drive the workflow from Temporal's UI or CLI. */
export const closeSignal = defineSignal('surety-close');
/** Where the session stands, for screens; the row in Postgres says more. */
export const sessionViewQuery = defineQuery<GatewaySessionView>('surety-view');
