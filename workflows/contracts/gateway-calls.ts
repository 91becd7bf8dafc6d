import type { CallLine } from '../../domain/gateway-messages.ts';
import type { SearchableInput } from './search-attributes.ts';

/** What the promise is about. */
export interface GatewayCallsInput extends SearchableInput {
  /** Accepted calls, 1 to 256; each belongs to exactly one such workflow. */
  readonly callIds: readonly string[];
  /** Task queue of the very process that has accepted them and drives them. */
  readonly driverQueue: string;
}

/** How it went. */
export interface GatewayCallsResult {
  /** In the order in which they ended. */
  readonly calls: readonly CallLine[];
  /** Calls that needed more than the first moment. */
  readonly slow: number;
}
