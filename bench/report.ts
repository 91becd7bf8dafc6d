/** What a benchmark says at its end: a table for people, JSON for comparisons. */
import { cpus, totalmem } from 'node:os';
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { table } from '../demo/table.ts';
import type { BareSqlResult } from './bare-sql.ts';
import type { LevelResult } from './level.ts';
import { round } from './measure.ts';

export interface CaseReport {
  readonly case: string;
  readonly summary: string;
  /** What is counted, such as calls or ticks. */
  readonly unit: string;
  readonly when: string;
  readonly commit: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGb: number;
    readonly system: string; readonly node: string };
  readonly population: { readonly buyers: number; readonly sellers: number };
  readonly bareSql: BareSqlResult;
  /** Median of one small write made to last on the disk of the run: what each commit that nobody shares waits for. */
  readonly flushMs: number;
  /** Load average of the last minute before the run began: above a few tenths, somebody else was at work and the figures are too low. */
  readonly loadBefore: number;
  /** One for each number of clients; `ratioToBareSql` is its rate divided by the bare SQL rate of the same run. */
  readonly levels: readonly (LevelResult & { readonly ratioToBareSql: number })[];
  /** Every level paid for everything, and the platform's own audit of the books agrees. */
  readonly booksRight: boolean;
}

export function createReport(
  options: Pick<CaseReport, 'case' | 'summary' | 'unit' | 'population' | 'bareSql' | 'flushMs'
    | 'loadBefore'> & { readonly levels: readonly LevelResult[]; readonly auditOk: boolean },
): CaseReport {
  const { levels, auditOk, ...rest } = options;
  return {
    ...rest, when: new Date().toISOString(), commit: commit(),
    machine: { cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, memoryGb: round(totalmem() / 2 ** 30, 1),
      system: `${process.platform} ${process.arch}`, node: process.version },
    levels: levels.map((level) => ({ ...level, ratioToBareSql: ratio(level.callsPerSecond, options.bareSql.callsPerSecond) })),
    booksRight: auditOk && levels.every(({ books }) => books.unpaid === 0 && books.stuck === 0 && books.balancesAgree),
  };
}

/** Load average above which the figures say more about others than about the platform. */
const BUSY = 0.7;

/** Lines for the terminal. */
export function reportLines(report: CaseReport): string[] {
  const { machine, unit } = report;
  const right = 'right' as const;
  const columns = ['clients', `${unit}/s`, 'p50 ms', 'p95 ms', 'p99 ms', 'added p50', 'API ms', 'Postgres ms', 'Temporal ms', 'RSS MB',
    'of bare SQL', 'unpaid', 'refused', 'broken'];
  const rows = report.levels.map((level) => [
    level.clients, level.callsPerSecond, level.p50Ms, level.p95Ms, level.p99Ms, level.addedMsP50 ?? '–', level.cpuMsPerCall.api,
    level.cpuMsPerCall.postgres, level.cpuMsPerCall.temporal,
    level.apiRssMb, level.ratioToBareSql, level.books.unpaid, level.books.refused, level.books.broken,
  ].map(String));
  const complaints = report.levels.flatMap(({ clients, books }) => [
    ...(books.unpaid > 0
      ? [`${clients} clients: ${books.unpaid} ${unit} were delivered or answered as paid, and the seller's balance did not rise.`] : []),
    ...(books.stuck > 0 ? [`${clients} clients: ${books.stuck} calls are still neither settled nor released.`] : []),
    ...(books.balancesAgree ? [] : [`${clients} clients: the sellers' balances do not agree with the postings.`]),
    ...(books.lastError === null ? [] : [`${clients} clients: last refusal or break: ${books.lastError}`]),
  ]);
  const paths = report.levels.flatMap(({ clients, seconds, stepsMsP50, paths: { workflow, direct, started, unstarted } }) =>
    (workflow + direct === 0 ? [] : [
    `${clients} clients: ${Object.entries(stepsMsP50).map(([step, ms]) => `${step} p50 ${ms} ms`).join(', ')}; steps by their workflow `
      + `${workflow}, direct ${direct}`
      + ` (${round((100 * workflow) / (workflow + direct), 2)} % by workflow); lives with a workflow ${started}, without ${unstarted}, `
      + `in ${seconds} s and the warm-up.`,
  ]));
  return [
    `${report.case}: ${report.summary}`,
    `${report.population.buyers} buyers, ${report.population.sellers} sellers; ${machine.cpu}, ${machine.cores} cores for everything, `
      + `${machine.memoryGb} GB, Node ${machine.node}`,
    `Bare SQL, the same functions in batches of ${report.bareSql.batch}: ${report.bareSql.callsPerSecond} calls/s. A flush to disk: `
      + `${report.flushMs} ms`,
    ...(report.loadBefore > BUSY ? [`The machine was busy before the run began (load ${report.loadBefore}), so these figures are too low.`]
      : []),
    '', ...table(columns.map((title) => ({ title, align: right })), rows), '', ...paths,
    `API, Postgres and Temporal ms: processor time for each of the paid ${unit}. p50 to p99: one turn of a client. added: a turn less `
      + `the time of its sellers.`, ...complaints,
    report.booksRight ? 'The books are right: everything that counts raised its seller\'s balance.' : 'THE BOOKS ARE NOT RIGHT.',
  ];
}

/** Writes JSON to a file, making its folder. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

function ratio(rate: number, base: number): number {
  return base === 0 ? 0 : round(rate / base, 3);
}

/** The commit that was measured, with a plus when files were changed since; empty outside a repository. */
function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+');
  } catch {
    return '';
  }
}
