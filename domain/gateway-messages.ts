/** What the workflow of accepted calls and its activities say to one another. */

/** One call, for the people who look at Temporal. */
export interface CallLine {
  readonly id: string;
  /** Who was asked last. */
  readonly seller: string;
  /** What that seller asks for, in units of the asset. */
  readonly price: string;
  /** kept: delivered as a step of a pipeline that decides about the money at its end. */
  readonly outcome: 'paid' | 'returned' | 'kept';
  /** Requests to sellers. */
  readonly attempts: number;
  /** From its acceptance to its end. */
  readonly ms: number;
}

/** Some calls: those that have come to an end, and the ids of the others. */
export interface CallsProgress {
  readonly ended: readonly CallLine[];
  readonly open: readonly string[];
}
