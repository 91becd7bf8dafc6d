import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';

export interface GatewaySessionInput {
  readonly sessionId: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Close at once: the workflow was lost and comes back only to end the session. */
  readonly closeNow?: boolean;
}

export type SessionEnding = 'closed' | 'expired';

export interface GatewaySessionView {
  readonly sessionId: string;
  readonly state: 'active' | 'closing' | SessionEnding;
}

/** Ends the session and answers when the money that nobody needs is back with the buyer. */
export const closeUpdate = defineUpdate<GatewaySessionView>('surety-close');
/** The same, for those who drive the workflow from Temporal's UI or CLI. */
export const closeSignal = defineSignal('surety-close');
export const sessionViewQuery = defineQuery<GatewaySessionView>('surety-view');
