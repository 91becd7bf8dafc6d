/**
 * Where the `temporal` program for the embedded server comes from. In order: TEMPORAL_CLI, PATH, our cache, the SDK's own download,
 * a build with Go. The last two happen once on a machine.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { takeLock } from '../platform/lock.ts';

/** Later releases of this module carry `replace` lines, which `go install` refuses. Server 1.29.1, Web UI included. */
const GO_MODULE = 'github.com/temporalio/cli/cmd/temporal@v1.5.1';
const CACHE_FOLDER = 'temporal-1.5.1';
const PROGRESS_EVERY_MS = 10_000;
/** Without a growing file for this long, the network is taken to say no. */
const DOWNLOAD_SILENCE_MS = 8_000;

export interface InstallOptions {
  /** TEMPORAL_CLI: path of the program, if the user has named one. */
  readonly cli?: string;
  /** Directory that keeps what is fetched or built; `~/.cache/surety` when undefined. */
  readonly cacheDir?: string;
  /** Gets sentences on what is going on whenever it takes longer than a moment. */
  readonly notice: (sentence: string) => void;
  /** Gives up a download or a build that is under way. */
  readonly signal?: AbortSignal;
}

/**
 * Path of a `temporal` program that runs on this machine; it is fetched or built when there is none yet.
 * @throws with a sentence that says what to install.
 */
export async function findTemporal(options: InstallOptions): Promise<string> {
  if (options.cli !== undefined) {
    if (await runs(options.cli)) return options.cli;
    throw new Error(`TEMPORAL_CLI is ${options.cli}, but that program does not run.`);
  }
  if (await runs('temporal')) return 'temporal';
  const folder = path.join(options.cacheDir ?? defaultCacheDir(), CACHE_FOLDER);
  const program = path.join(folder, 'temporal');
  if (await runs(program)) return program;
  await mkdir(folder, { recursive: true });
  const release = await waitForLock(path.join(folder, 'install.lock'), options);
  try {
    if (await runs(program)) return program; // Another start installed it while we waited.
    await install(folder, program, options);
    return program;
  } finally {
    await release();
  }
}

/** Where programs and compiled workflows are kept between starts, for all copies of Surety of this user. */
export function defaultCacheDir(): string {
  return path.join(homedir(), '.cache', 'surety');
}

async function install(folder: string, program: string, { notice, signal }: InstallOptions): Promise<void> {
  const scratch = path.join(folder, `making-${process.pid}`);
  // What a killed installation left is of no use.
  for (const name of await readdir(folder)) if (name.startsWith('making-')) await rm(path.join(folder, name),
    { recursive: true, force: true });
  await mkdir(scratch);
  try {
    notice('The Temporal server is not on this machine yet; trying to download it.');
    const found = (await download(scratch, signal)) ?? (await build(scratch, notice, signal));
    signal?.throwIfAborted();
    if (found === undefined) {
      throw new Error(
        'The embedded Temporal server cannot be had: the download is not reachable and Go is not installed (or its build failed). '
        + 'Install the Temporal '
        + 'CLI and put `temporal` on PATH, or name it in TEMPORAL_CLI, or install Go 1.24 or later, or set TEMPORAL_ADDRESS '
        + 'to a Temporal server of your own.',
      );
    }
    await chmod(found, 0o755);
    if (!(await runs(found))) throw new Error(
      `The Temporal program in ${found} does not run on this machine. Set TEMPORAL_CLI or TEMPORAL_ADDRESS.`);
    await rename(found, program);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Run in a process of its own, because the SDK offers no way to stop a download that hangs. */
const downloadScript = `
import { TestWorkflowEnvironment } from '@temporalio/testing';
const server = { executable: { type: 'cached-download', downloadDir: process.argv[1] } };
const environment = await TestWorkflowEnvironment.createLocal({ server });
await environment.teardown();
`;

/** The SDK's own download. Undefined when the network says no, or says nothing. */
async function download(scratch: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', downloadScript, scratch],
    { stdio: 'ignore', cwd: fileURLToPath(new URL('..', import.meta.url)) });
  let ended = false;
  child.once('exit', () => { ended = true; });
  child.once('error', () => { ended = true; });
  let size = 0;
  for (let silentSince = Date.now(); !ended && signal?.aborted !== true && Date.now() - silentSince < DOWNLOAD_SILENCE_MS;) {
    await sleep(100);
    const now = await sizeOf(scratch);
    if (now !== size) silentSince = Date.now();
    size = now;
  }
  if (!ended) child.kill('SIGKILL');
  const name = (await readdir(scratch)).find((file) => file.startsWith('temporal'));
  const found = name === undefined ? undefined : path.join(scratch, name);
  return found !== undefined && (await runs(found)) ? found : undefined;
}

/** Builds the program with Go. Undefined when Go is missing or the build fails; then its words have been passed on. */
async function build(scratch: string, notice: (sentence: string) => void, signal: AbortSignal | undefined): Promise<string | undefined> {
  if (signal?.aborted === true || spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) return undefined;
  notice(`The download is not reachable. Building the Temporal server with Go instead; this takes some minutes, and only this first time.`);
  const began = Date.now();
  const child = spawn('env', [`GOBIN=${scratch}`, 'go', 'install', GO_MODULE],
    { stdio: ['ignore', 'ignore', 'pipe'], cwd: scratch, signal, killSignal: 'SIGINT' });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => { words = (words + chunk.toString()).slice(-4_000); });
  const progress = setInterval(() => notice(`Building the Temporal server: ${Math.round((Date.now() - began) / 1_000)} s so far.`),
    PROGRESS_EVERY_MS);
  const code = await new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
    child.once('error', () => resolve(null));
  });
  clearInterval(progress);
  signal?.throwIfAborted();
  if (code === 0) {
    notice(`The Temporal server is built (${Math.round((Date.now() - began) / 1_000)} s).`);
    return path.join(scratch, 'temporal');
  }
  notice(`Go could not build the Temporal server:\n${words}`);
  return undefined;
}

async function waitForLock(file: string, { notice, signal }: InstallOptions): Promise<() => Promise<void>> {
  let announced = false;
  for (;;) {
    const lock = await takeLock(file);
    if ('release' in lock) return lock.release;
    if (!announced) notice(`Process ${lock.heldBy} is installing the Temporal server; waiting for it.`);
    announced = true;
    await sleep(500, undefined, { signal });
  }
}

/** Asked beside other work: the program is large, and reading it takes a while. */
async function runs(program: string): Promise<boolean> {
  const child = spawn(program, ['--version'], { stdio: 'ignore', timeout: 20_000 });
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code === 0));
    child.once('error', () => resolve(false));
  });
}

async function sizeOf(folder: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(folder)) total += (await stat(path.join(folder, name)).catch(() => ({ size: 0 }))).size;
  return total;
}
