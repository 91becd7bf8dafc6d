/** Runs one case from beginning to end: world, bare SQL rate, every level, audit of the books. */
import { loadavg } from 'node:os';
import pg from 'pg';
import { measureBareSql } from './bare-sql.ts';
import { buildWorld, DATA_DIR } from './build-world.ts';
import type { BenchCase } from './case.ts';
import { measureFlushMs } from './flush.ts';
import { round } from './measure.ts';
import { runLevel, type LevelResult } from './level.ts';
import { createReport, type CaseReport } from './report.ts';
import type { World } from './world.ts';

const QUIET_MS_MAX = 90_000;

export interface RunOptions {
  readonly clients: readonly number[];
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Directory for a processor profile of the platform process. */
  readonly profileDir?: string;
  readonly bareSqlSeconds: number;
  readonly notice: (sentence: string) => void;
  /** Ends the run at once; everything that was started is stopped. */
  readonly signal?: AbortSignal;
}

export async function runCase(benchCase: BenchCase, options: RunOptions): Promise<CaseReport> {
  const loadBefore = round(loadavg()[0] ?? 0, 2);
  const { world, close } = await buildWorld({ benchCase, notice: options.notice, signal: options.signal, profileDir: options.profileDir });
  try {
    return await Promise.race([measure(world, benchCase, { ...options, loadBefore }), stopped(options.signal)]);
  } finally {
    await close();
  }
}

async function measure(world: World, benchCase: BenchCase,
    { clients: levelsOfClients, seconds, warmUpSeconds, bareSqlSeconds, notice,
    loadBefore }: RunOptions & { readonly loadBefore: number }): Promise<CaseReport> {
  const flushMs = measureFlushMs(DATA_DIR);
  notice(`Bare SQL for ${bareSqlSeconds} s …`);
  const addresses = (agents: World['buyers']) => agents.map((agent) => agent.address);
  const bareSql = await measureBareSql({
    databaseUrl: world.databaseUrl, seconds: bareSqlSeconds, buyers: addresses(world.buyers),
    sellers: addresses(world.sellers), price: benchCase.price,
  });
  const levels: LevelResult[] = [];
  let setup = await benchCase.prepare(world);
  await untilQuiet(world.databaseUrl, notice);
  for (const clients of levelsOfClients) {
    notice(`${clients} ${clients === 1 ? 'client' : 'clients'}: ${warmUpSeconds} s warm-up, ${seconds} s measured …`);
    if (levels.length > 0 && benchCase.finish !== undefined) setup = await benchCase.prepare(world);
    levels.push(await runLevel(world, benchCase, setup, { clients, seconds, warmUpSeconds }));
  }
  return createReport({ case: benchCase.name, summary: benchCase.summary, unit: benchCase.unit, population: benchCase.population, bareSql,
    flushMs, loadBefore, levels, auditOk: await auditSaysRight(world, notice) });
}

/** What was opened for the world has its workflows, so that their starts are not measured. */
async function untilQuiet(databaseUrl: string, notice: (sentence: string) => void): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    for (const giveUpAtMs = Date.now() + QUIET_MS_MAX; Date.now() < giveUpAtMs;) {
      const { rows } = await client.query('SELECT 1 FROM workflow_notice LIMIT 1');
      if (rows.length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    notice('Workflows of what was opened for this run are still being started.');
  } finally {
    await client.end();
  }
}

/** Rejects when the run is to end early; otherwise it never settles. */
function stopped(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(signal?.reason as Error);
    if (signal?.aborted === true) end();
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** The platform's own audit: every invariant holds, and no account differs from its postings. */
async function auditSaysRight({ wire, adminSecret }: World, notice: (sentence: string) => void): Promise<boolean> {
  const audit = await wire.must('GET', '/v1/admin/reconcile?discrepancies=true', { adminSecret });
  const right = audit.ok === true && audit.count === 0;
  if (!right) notice(`The audit found: ${JSON.stringify(audit).slice(0, 2_000)}`);
  return right;
}
