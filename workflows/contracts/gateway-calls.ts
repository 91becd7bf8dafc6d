export interface GatewayCallsInput {
  /** Accepted calls, 1 to 256; each belongs to exactly one such workflow. */
  readonly callIds: readonly string[];
}

export interface GatewayCallsResult {
  /** Calls that needed more than the first moment. */
  readonly slow: number;
}
