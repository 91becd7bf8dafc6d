/** What an audit is made of: rules over tables that are read slice by slice, and sums that are added up on the way. */

/** A table as an audit reads it: in the order of a unique key, so many rows at a time. */
export interface Table {
  readonly key: readonly string[];
  /** Below every key. */
  readonly start: readonly string[];
  /** Of one slice: fewer where a rule reads many rows of other tables for each. */
  readonly rows: number;
}

/** With four times as many, statements over a million postings took up to 1.7 s on two cores that were busy with other work. */
const ROWS = 5_000;
const [byNumber, byText] = [{ key: ['id'], start: ['0'], rows: ROWS }, { key: ['id'], start: [''], rows: ROWS }];
/** Rows that have parts: a hundred steps of a plan, ten of a pipeline, events of an escrow. */
const [withSteps, withFewParts] = [{ ...byText, rows: ROWS / 50 }, { ...byText, rows: ROWS / 5 }];

export const tables = {
  account: byNumber, posting: byNumber, outbox: byNumber, hold: byText, unfolded_fee: { ...byText, key: ['ref'] },
  meter: byText, gateway_call: byText, pipeline: withFewParts, payment: withSteps,
  payment_part: { key: ['payment_id', 'part_index'], start: ['', '-1'], rows: ROWS },
  stream_tick: { key: ['stream_id', 'seq'], start: ['', '0'], rows: ROWS },
  // Of the audit itself; see `Sums`.
  audit_asset: { ...byText, key: ['of'] },
} as const satisfies Record<string, Table>;
export type TableName = keyof typeof tables;

/** The condition that a row of the table, under this alias, is in the slice. */
export type Within = (alias: string) => string;

/** Figures of the report that clients of the first system read. */
export type Figure = 'ledgerMismatches' | 'stuckEscrows' | 'staleStreams' | 'orphanedHolds';

/** One invariant as a query that selects what breaks it. */
export interface Rule {
  /** Number of the invariant in docs/architecture.md, such as `I2`. */
  readonly invariant: string;
  /** The truth, as it continues "Not true that …". */
  readonly sentence: string;
  /** The table whose slices it is asked of; null: asked once, and the query bounds itself. */
  readonly over: TableName | null;
  /** Selects one text column, `row`, that names each row at fault. Other tables are found by an index, row by row. */
  readonly sql: (within: Within) => string;
  readonly counts?: Figure;
}

/**
 * Numbers that no slice has as a whole, added up slice by slice before the rules are asked: a table of this name, for the time of the
 * audit, with a row for each `of`.
 */
export interface Sums {
  readonly name: `audit_${string}`;
  readonly of: 'text' | 'bigint';
  readonly columns: readonly string[];
  /** Each selects `of` and the columns, in that order, once for each `of`; what several sources say is added up. */
  readonly from: readonly { readonly over: TableName; readonly sql: (within: Within) => string }[];
}

/** The rules of one shape of payment. */
export interface RuleSet {
  readonly sums?: readonly Sums[];
  readonly rules: readonly Rule[];
  /** What should have ended by itself before the given SQL moment and waits for nobody (I12). None where everything waits for a person. */
  readonly overdue: readonly { readonly counts?: Figure; readonly sql: (before: string) => string }[];
  /** The condition that a posting of a hold, under this alias, is explained by a row of this shape. */
  readonly explains?: (posting: string) => string;
  /** The condition that a hold, under this alias, belongs to a row of this shape, and to an open one as long as it is open itself. */
  readonly keeps?: (hold: string) => string;
}
