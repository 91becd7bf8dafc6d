/** A gateway call under way, as its driver sees it. */

/** A seller to ask. The price was fixed when the call was accepted. */
export interface Candidate {
  readonly serviceId: string;
  readonly serviceName: string;
  readonly seller: string;
  readonly endpoint: string;
  /** Digits of micros: this is stored as JSON. */
  readonly priceMicros: string;
  readonly idempotent: boolean;
  /** The time that the seller has declared for its work; absent where it has declared none. */
  readonly maxDurationSecs?: number;
}

export interface OpenCall {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly serviceType: string;
  readonly paramsJson: string;
  readonly candidates: readonly Candidate[];
  /** A step of a pipeline whose delivery is given back, unpaid, when the pipeline does not complete. Its sellers have agreed to that. */
  readonly refundable: boolean;
  /** Index of the candidate that is being asked, or was when its driver fell silent. */
  readonly attempt: number;
  /** The former driver fell silent. */
  readonly takenOver: boolean;
  /** It had asked the seller of `attempt`, or was about to; not noted where that seller promises to work only once. */
  readonly asked: boolean;
}

/** How a call ended, for whoever waits in this process. */
export type CallEnd =
  | {
      /** delivered: a refundable step of a pipeline, whose price is kept for now. */
      readonly tag: 'settled' | 'delivered'; readonly callId: string; readonly responseJson: string | null; readonly candidate: Candidate;
      readonly latencyMs: number; readonly retries: number;
      readonly spentMicros: bigint; readonly remainingMicros: bigint; readonly requestCount: number;
    }
  | { readonly tag: 'released'; readonly callId: string; readonly errorCode: string; readonly errorMessage: string }
  /** Another driver has ended it, or will; the row knows. */
  | { readonly tag: 'elsewhere'; readonly callId: string };
