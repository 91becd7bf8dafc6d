/**
 * Proof that the books are right: rules that are kept by shape of payment in `audit/`, each a query for the rows that break it; no rows,
 * no finding. Run by tests, by the crash campaign, by the admin's reconcile routes and by a job (`audit/job.ts`).
 */
import type pg from 'pg';
import { booksRules } from './audit/books.ts';
import { gatewayRules } from './audit/gateway.ts';
import { linkRules } from './audit/links.ts';
import { multistepRules } from './audit/multistep.ts';
import { paymentRules } from './audit/payment.ts';
import { pipelineRules } from './audit/pipeline.ts';
import type { Figure, Rule, RuleSet } from './audit/rule.ts';
import { inSnapshot, type Pace } from './audit/snapshot.ts';
import { streamRules } from './audit/stream.ts';

export interface Finding {
  /** Number of the invariant, such as `I2`. */
  readonly invariant: string;
  /** What is wrong and, as examples, which rows. */
  readonly detail: string;
  readonly count: number;
  /** The figure of the admin's report that it counts for, where there is one. */
  readonly counts?: Figure;
}

export interface Audit {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

export interface AuditOptions extends Pace {
  /** Also that nothing is open longer than this which waits for nobody (I12); a whole number of milliseconds. */
  readonly overdueMs?: number;
}

/** What waits for nobody must have ended so long after its time (I12), wherever the platform runs as it should. */
export const OVERDUE_MS = 60_000;

const shapes: readonly RuleSet[] = [gatewayRules, pipelineRules, paymentRules, multistepRules, streamRules];
const allRules: readonly RuleSet[] = [booksRules, linkRules(shapes), ...shapes];

/** Checks every invariant in one snapshot, slice by slice. Errors: those of the database, and the reason of a signal. */
export function auditBooks(pool: pg.Pool, options: AuditOptions = {}): Promise<Audit> {
  return auditBy(allRules, pool, options);
}

/** Checks accounts, holds and postings among themselves only, and not what they are for. */
export function auditLedger(pool: pg.Pool): Promise<Audit> {
  return auditBy([booksRules], pool, {});
}

function auditBy(sets: readonly RuleSet[], pool: pg.Pool, { overdueMs, ...pace }: AuditOptions): Promise<Audit> {
  return inSnapshot(pool, pace, async ({ addUp, check }) => {
    await addUp(sets.flatMap(({ sums = [] }) => sums));
    const rules = [...sets.flatMap((set) => set.rules), ...(overdueMs === undefined ? [] : overdueRules(sets, overdueMs))];
    const findings = [...(await check(rules))].map(([{ invariant, sentence, counts }, { count, examples }]) => ({
      invariant, count, detail: `Not true that ${sentence}: ${examples.join('; ')}`, ...(counts === undefined ? {} : { counts }),
    }));
    return { ok: findings.length === 0, findings };
  });
}

/** More than this many overdue rows are not counted. */
const OVERDUE_MAX = 20_000;

/** One rule for each figure that they count for, and one for the rest. */
function overdueRules(sets: readonly RuleSet[], overdueMs: number): Rule[] {
  const before = `clock_timestamp() - ${Math.trunc(overdueMs)} * interval '1 millisecond'`;
  const all = sets.flatMap(({ overdue }) => overdue);
  return [...new Set(all.map(({ counts }) => counts))].map((counts) => {
    const late = all.filter((one) => one.counts === counts).map(({ sql }) => sql(before)).join('\nUNION ALL ');
    return { invariant: 'I12', sentence: 'nothing stays open that waits for nobody', over: null,
      ...(counts === undefined ? {} : { counts }),
      sql: () => `SELECT row FROM (${late}) late LIMIT ${OVERDUE_MAX}` };
  });
}
