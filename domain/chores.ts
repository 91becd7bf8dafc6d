/** What the platform does for itself, hour by hour, and what each time says of itself. */
import type { RetentionKind } from './retention.ts';

/** Work that is done by a schedule of Temporal. */
export type Chore = 'retention' | 'audit';

/** One round of removing what was kept long enough. */
export interface RetentionReport {
  /** Rows removed, or emptied, of each kind that this round saw to. */
  readonly removed: Partial<Record<RetentionKind, number>>;
  /** Kinds that could not be removed from; the next round tries again. */
  readonly failed: readonly RetentionKind[];
}

/** One audit of the books. */
export interface AuditReport {
  /** False where another process is at it already. */
  readonly done: boolean;
  /** Rows that break an invariant, over all of them. */
  readonly rowsAtFault: number;
  /** The invariants that are broken; the log and `audit_run` have the rows. */
  readonly findings: readonly { readonly invariant: string; readonly count: number }[];
}
