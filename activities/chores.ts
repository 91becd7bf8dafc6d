/** What the workflows of the platform's own chores may have done. Each is claimed in Postgres, so that twice at once is once. */
import type { AuditReport, RetentionReport } from '../domain/chores.ts';

export interface ChoreActivities {
  /** Removes what was kept long enough, of every kind, until nothing is left that is due. */
  removeOldRows(): Promise<RetentionReport>;
  /** Proves the books and puts the result on record. */
  auditBooks(): Promise<AuditReport>;
}

/** How a round is watched: it ends between two statements when it is to stop, and says after each that it lives. */
export interface Round {
  readonly signal: AbortSignal;
  readonly onProgress: () => void;
}

export interface ChoreActivityDeps {
  readonly retention: (round: Round) => Promise<RetentionReport>;
  readonly audit: (round: Round) => Promise<AuditReport>;
  /** That of the activity that runs now, and that of the process. */
  readonly signal: () => AbortSignal;
  readonly heartbeat: () => void;
}

export function createChoreActivities({ retention, audit, signal, heartbeat }: ChoreActivityDeps): ChoreActivities {
  const round = (): Round => ({ signal: signal(), onProgress: heartbeat });
  return { removeOldRows: () => retention(round()), auditBooks: () => audit(round()) };
}
