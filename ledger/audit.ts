/**
 * Proof that the books are right: one SQL query for each invariant, kept by shape of payment in `audit/`. Each returns the rows
 * that break it; no rows, no finding. Run by tests, by the crash campaign, by GET /v1/admin/reconcile and by a job.
 */
import type pg from 'pg';
import { booksRules } from './audit/books.ts';
import { paymentRules } from './audit/payment.ts';
import { gatewayRules } from './audit/gateway.ts';
import { multistepRules } from './audit/multistep.ts';
import { pipelineRules } from './audit/pipeline.ts';
import type { Rule, RuleSet } from './audit/rule.ts';
import { streamRules } from './audit/stream.ts';

export interface Finding {
  /** Number of the invariant, such as `I2`. */
  readonly invariant: string;
  /** What is wrong and, as examples, which rows. */
  readonly detail: string;
  readonly count: number;
}

export interface Audit {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

const ruleSets: readonly RuleSet[] = [booksRules, gatewayRules, pipelineRules, paymentRules, multistepRules, streamRules];

const EXAMPLES = 5;

/**
 * Checks every invariant in one snapshot, so that payments under way cannot look like errors.
 * @param overdueMs when given, also that nothing is open longer than this which does not wait for a person (I12).
 */
export async function auditBooks(pool: pg.Pool, { overdueMs }: { readonly overdueMs?: number } = {}): Promise<Audit> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query('SET LOCAL statement_timeout = 0');
    const findings: Finding[] = [];
    const rules = ruleSets.flatMap((set) => set.rules);
    for (const rule of overdueMs === undefined ? rules : [...rules, overdueRule(overdueMs)]) {
      const { rows } = await client.query<{ count: string; examples: string[] | null }>(
        `SELECT count(*) AS count, (array_agg(row ORDER BY row))[1:${EXAMPLES}] AS examples FROM (${rule.sql}) fault`,
      );
      const count = Number(rows[0]?.count ?? 0);
      if (count > 0) findings.push({ invariant: rule.invariant, count,
        detail: `Not true that ${rule.sentence}: ${(rows[0]?.examples ?? []).join('; ')}` });
    }
    await client.query('COMMIT');
    return { ok: findings.length === 0, findings };
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

/** @param overdueMs a whole number; it becomes part of the query. */
function overdueRule(overdueMs: number): Rule {
  const before = `clock_timestamp() - ${Math.trunc(overdueMs)} * interval '1 millisecond'`;
  return {
    invariant: 'I12', sentence: 'nothing stays open that waits for nobody',
    sql: ruleSets.flatMap(({ overdue }) => (overdue === null ? [] : [overdue(before)])).join('\nUNION ALL '),
  };
}
