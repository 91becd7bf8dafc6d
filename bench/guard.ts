/**
 * A short guard against regressions, for every run of the tests: three seconds of load. The rate is compared with the bare SQL
 * rate of the same run, because a slow or busy machine slows both; and nothing may be left unpaid.
 */
import type { BenchCase } from './case.ts';
import { gatewayCase } from './cases/gateway.ts';
import type { CaseReport } from './report.ts';
import { runCase } from './run-case.ts';

/**
 * The HTTP rate must be at least this part of the bare SQL rate. A quiet machine shows two to three times as much; below the floor
 * something has become twice as expensive.
 */
export const RATIO_FLOOR = 0.04;

const guardCase: BenchCase = { ...gatewayCase, population: { buyers: 40, sellers: 40 } };

export interface Verdict {
  readonly passed: boolean;
  /** A sentence for each thing that is wrong. */
  readonly complaints: readonly string[];
}

/** Runs the guard's load: 32 clients for three seconds. */
export function runGuard(notice: (sentence: string) => void): Promise<CaseReport> {
  return runCase(guardCase, { clients: [32], seconds: 3, warmUpSeconds: 2, bareSqlSeconds: 2, notice });
}

/** Judges a report. */
export function judge(report: Pick<CaseReport, 'levels' | 'booksRight'>): Verdict {
  const complaints: string[] = [];
  if (report.levels.length === 0) complaints.push('Nothing was measured.');
  for (const { clients, ratioToBareSql, books } of report.levels) {
    if (books.unpaid > 0) complaints.push(`${books.unpaid} calls were delivered without the seller being paid.`);
    if (books.broken + books.refused > 0) complaints.push(
      `${books.broken} calls broke and ${books.refused} were refused; the last: ${books.lastError ?? ''}`);
    if (ratioToBareSql < RATIO_FLOOR) complaints.push(
      `${clients} clients reach ${ratioToBareSql} of the bare SQL rate; at least ${RATIO_FLOOR} is expected.`);
  }
  if (!report.booksRight) complaints.push('The books are not right.');
  return { passed: complaints.length === 0, complaints };
}
