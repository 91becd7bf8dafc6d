/** What the promise is about. */
export interface GatewayCallsInput {
  /** Accepted calls, 1 to 256; each belongs to exactly one such workflow. */
  readonly callIds: readonly string[];
}

/** How it went, for the people who look at Temporal. */
export interface GatewayCallsResult {
  /** Calls that needed more than the first moment. */
  readonly slow: number;
}
