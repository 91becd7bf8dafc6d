/**
 * How long a process is away: one is killed with -9 and started again, over and over, beside another one that serves paid calls on the same
 * Postgres, Temporal and processors.
 */
import { readConnections } from '../platform/data-dir.ts';
import { startCommand } from '../demo/house.ts';
import { startChild, type Child } from '../demo/processes.ts';
import { buildWorld, DATA_DIR } from './build-world.ts';
import { gatewayCase } from './cases/gateway.ts';
import { runLevel } from './level.ts';
import { latencyFigures, round } from './measure.ts';

export interface RestartOptions {
  /** Of the process beside; 0 for none. */
  readonly clients: number;
  /** For so long it is killed again and again. */
  readonly seconds: number;
  readonly notice: (sentence: string) => void;
  readonly signal?: AbortSignal;
}

/** What is printed and written. Times from the kill to `Surety is ready`, in seconds. */
export interface RestartReport {
  readonly case: 'restart';
  readonly when: string;
  readonly clients: number;
  readonly restarts: number;
  readonly readyP50: number;
  readonly readyMax: number;
  readonly callsPerSecond: number;
  readonly booksRight: boolean;
}

/** @throws when a start fails; everything that was started is stopped. */
export async function measureRestarts({ clients, seconds, notice, signal }: RestartOptions): Promise<RestartReport> {
  const { world, close } = await buildWorld({ benchCase: gatewayCase, notice, signal });
  const others: Child[] = [];
  try {
    const setup = await gatewayCase.prepare(world);
    const start = await startsBeside(signal);
    // Compiles, where that was not done before.
    others.push(await start());
    const level = clients === 0 ? null : runLevel(world, gatewayCase, setup, { clients, seconds, warmUpSeconds: 2 });
    const readySecs: number[] = [];
    for (const until = Date.now() + seconds * 1_000; Date.now() < until && signal?.aborted !== true;) {
      const killedAt = performance.now();
      await others.at(-1)?.kill();
      others.push(await start());
      readySecs.push((performance.now() - killedAt) / 1_000);
      notice(`Ready ${round(readySecs.at(-1) ?? 0, 1)} s after the kill; its own words: ${others.at(-1)?.readyMatch[1]}`);
    }
    const served = await level;
    const { p50Ms: readyP50, maxMs: readyMax } = latencyFigures(readySecs);
    return {
      case: 'restart', when: new Date().toISOString(), clients, restarts: readySecs.length, readyP50, readyMax,
      callsPerSecond: round(served?.callsPerSecond ?? 0, 0), booksRight: served === null || served.books.unpaid === 0,
    };
  } finally {
    await Promise.all(others.map((child) => child.stop()));
    await close();
  }
}

/** One more platform on the same servers, with its own port, started as `npm start` does. */
async function startsBeside(signal: AbortSignal | undefined): Promise<() => Promise<Child>> {
  const { flags, script, args, environment } = startCommand();
  const connections = await readConnections(DATA_DIR);
  if (connections === undefined) throw new Error(`There are no servers in ${DATA_DIR}.`);
  const env = {
    ...environment, PORT: '0', DATA_DIR, DATABASE_URL: connections.databaseUrl, TEMPORAL_ADDRESS: connections.temporalAddress,
    LOG_LEVEL: 'warn', DEMO_MODE: 'true', ALLOW_LOCAL_ENDPOINTS: 'true',
  };
  return () => startChild({ name: 'The process beside', script, args, nodeArgs: flags, env, logFile: `${DATA_DIR}/beside.log`,
    ready: /Ready after (.+)\.\nSurety is ready/, signal });
}

/** Lines for a person. */
export function restartLines({ clients, restarts, readyP50, readyMax, callsPerSecond }: RestartReport): string[] {
  const beside = clients === 0 ? 'an idle process' : `${callsPerSecond} paid calls/s`;
  return [`Killed and started again ${restarts} times beside ${beside}. Ready ${round(readyP50, 1)} s after the kill in the median, `
    + `${round(readyMax, 1)} s at most.`];
}
