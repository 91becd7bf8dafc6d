/**
 * Everything the demo and the benchmark run on: embedded Postgres and Temporal, the platform as a child process that can be
 * killed, and sellers as another. Whatever was started is stopped by `close`, in whatever state the house is.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { forceServers } from '../platform/children.ts';
import { openDataDir, type DataDir } from '../platform/data-dir.ts';
import { readEnv } from '../platform/env.ts';
import { freePort } from '../platform/ports.ts';
import { endProcesses, pidsRunning } from '../platform/processes.ts';
import { startStack, type Stack } from '../temporal/stack.ts';
import { cleanEnv, startChild, type Child, type ChildOptions } from './processes.ts';

export interface HouseOptions {
  /** Where the embedded servers keep their files. What an earlier run left there is removed; a directory in use is not touched. */
  readonly dataDir: string;
  /** Wanted port of the API; another is taken when somebody listens there. */
  readonly port: number;
  /** Settings of the platform beyond those every house has. */
  readonly settings?: Readonly<Record<string, string>>;
  /** For node itself, beside the flags of `npm start`. */
  readonly nodeArgs?: readonly string[];
  readonly notice: (sentence: string) => void;
  /** Gives up a start that takes minutes, such as building Temporal for the first time. */
  readonly signal?: AbortSignal;
}

export interface House {
  readonly adminSecret: string;
  readonly databaseUrl: string;
  readonly temporalUiUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  /** Of the API. */
  readonly url: string;
  /** Of the sellers; known once they have been started. */
  sellersUrl: string;
  readonly postgresPid: number;
  readonly temporalPid: number;
  /** Of everything that was started so far. */
  pids(): number[];
  /** A file in the data directory. */
  file(name: string): string;
  /** As a person would type it from here. */
  shortPath(file: string): string;
  workflowUrl(workflowId: string): string;
  /** Starts the platform (API and worker in one process), also again after it was killed. */
  startNode(): Promise<Child>;
  /** The platform's process of the moment. */
  node(): Child;
  /** Starts another script that belongs to the house. */
  startHelper(options: Omit<ChildOptions, 'logFile'>): Promise<Child>;
  /** Stops everything; a second call waits for the first. */
  close(): Promise<void>;
  /** Ends everything at once, without waiting; for the moment before this process exits. */
  force(): void;
}

const HOST = '127.0.0.1';
const NAMESPACE = 'default';
const DIRECTORIES_MAX = 9;

/** Starts the embedded servers in an empty directory; the platform itself is started by `startNode`. */
export async function openHouse(options: HouseOptions): Promise<House> {
  const directory = await emptyDirectory(options.dataDir);
  const stackEnv = readEnv({ ...cleanEnv(), DATA_DIR: directory, TEMPORAL_NAMESPACE: NAMESPACE });
  const stack = await startStack({ env: stackEnv, notice: options.notice, signal: options.signal });
  return createHouse(options, directory, stack, await freePort(options.port));
}

/** What `npm start` gives to node, so that what is shown and measured here is what people run. */
export function startCommand(): {
  readonly flags: readonly string[]; readonly script: string; readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
} {
  const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { scripts: { start: string } };
  const words = scripts.start.split(' ');
  const before = words.slice(0, words.indexOf('node')).filter((word) => word.includes('='))
    .map((word) => word.split('=') as [string, string]);
  const [script = '', ...args] = words.slice(words.indexOf('node') + 1).filter((word) => !word.startsWith('--'));
  return { flags: words.filter((word) => word.startsWith('--')), script, args, environment: Object.fromEntries(before) };
}

function createHouse(options: HouseOptions, directory: string, stack: Stack, port: number): House {
  const adminSecret = randomBytes(18).toString('hex');
  const children: Child[] = [];
  const closed = new AbortController();
  let nodes = 0;
  let node: Child | undefined;
  let closing: Promise<void> | undefined;
  const file = (name: string) => join(directory, name);
  const [postgresPid = 0, temporalPid = 0] = stack.pids();
  const { flags, script, args, environment } = startCommand();
  const env = {
    ...environment, PORT: String(port), HOST, DATA_DIR: directory, DATABASE_URL: stack.databaseUrl, TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_NAMESPACE: NAMESPACE,
    ...(stack.temporalUiUrl === undefined ? {} : { TEMPORAL_UI_URL: stack.temporalUiUrl }),
    ADMIN_SECRET: adminSecret, DEMO_MODE: 'true', ALLOW_LOCAL_ENDPOINTS: 'true', RATE_LIMIT_RPM: '100000000',
    RATE_LIMIT_BURST: '1000000', LOG_LEVEL: 'info',
    ...options.settings,
  };

  async function start(child: ChildOptions): Promise<Child> {
    const started = await startChild({ ...child, signal: closed.signal });
    children.push(started);
    return started;
  }

  async function closeAll(): Promise<void> {
    closed.abort();
    await Promise.all(children.map((child) => child.stop()));
    await stack.stop();
  }

  return {
    adminSecret, databaseUrl: stack.databaseUrl, temporalUiUrl: stack.temporalUiUrl, host: HOST, port, url: `http://${HOST}:${port}`,
    sellersUrl: '', postgresPid, temporalPid, file,
    pids: () => [...stack.pids(), ...children.map((child) => child.pid)],
    shortPath: (path) => relative(process.cwd(), path),
    workflowUrl: (id) => `${stack.temporalUiUrl ?? ''}/namespaces/${NAMESPACE}/workflows/${encodeURIComponent(id)}`,
    async startNode() {
      nodes += 1;
      node = await start({ name: `Surety process ${nodes}`, script, args, nodeArgs: [...flags, ...(options.nodeArgs ?? [])], env,
        logFile: file(`surety-${nodes}.log`), ready: /Surety is ready/ });
      return node;
    },
    node() {
      if (node === undefined) throw new Error('The platform has not been started.');
      return node;
    },
    startHelper: (child) => start({ ...child, logFile: file(`${child.script.replace(/\W+/g, '-')}.log`) }),
    close: () => (closing ??= closeAll()),
    force() {
      for (const child of children) child.process.kill('SIGKILL');
      forceServers();
    },
  };
}

/** The wanted directory without anything of earlier runs in it; when somebody uses it, the next of that name. */
async function emptyDirectory(wanted: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const directory = resolve(number === 1 ? wanted : `${wanted}-${number}`);
    if (!existsSync(directory)) return directory;
    try {
      await empty(await openDataDir(directory));
      return directory;
    } catch (error) {
      if (number === DIRECTORIES_MAX) throw error;
    }
  }
}

/** Servers that a killed run left behind still write here; they are ended first. */
async function empty(dataDir: DataDir): Promise<void> {
  const left = [...pidsRunning('postgres', `-D ${dataDir.path}/`), ...pidsRunning('temporal', `${dataDir.path}/temporal.db`)];
  await endProcesses(left, 'SIGKILL', 5_000);
  await dataDir.release();
  for (const name of readdirSync(dataDir.path)) rmSync(join(dataDir.path, name), { recursive: true, force: true });
}
