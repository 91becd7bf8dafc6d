/** One invariant as a query that selects what breaks it. */
export interface Rule {
  /** Number of the invariant in docs/architecture.md, such as `I2`. */
  readonly invariant: string;
  /** The truth, as it continues "Not true that …". */
  readonly sentence: string;
  /** Selects one text column, `row`, that names each row at fault. */
  readonly sql: string;
}

/** The rules of one shape of payment. */
export interface RuleSet {
  readonly rules: readonly Rule[];
  /**
   * Selects, as one text column `row`, what should have ended by itself before the given SQL moment and waits for nobody (I12).
   * Null where everything waits for a person.
   */
  readonly overdue: ((before: string) => string) | null;
}
