/** The embedded Temporal: the CLI's development server with an SQLite file under DATA_DIR and its Web UI. Not for a cluster. */
import { realpathSync } from 'node:fs';
import { startServer, supervise, waitUntilAnswers, type ServerCommand, type ServerHandle } from '../platform/children.ts';
import { readPorts, rememberPorts, type DataDir } from '../platform/data-dir.ts';
import { freePort } from '../platform/ports.ts';
import { endProcesses, pidsRunning } from '../platform/processes.ts';
import { findTemporal, type InstallOptions } from './install.ts';
import { searchAttributeTypeNames, searchAttributeTypes } from '../workflows/contracts/search-attribute-types.ts';

const START_PATIENCE_MS = 60_000;
const STOP_PATIENCE_MS = 10_000;

/** Above anything two cores can do; the defaults are made for a laptop and throttle from 2,400 requests a second on. */
const RPS = 20_000;
const dynamicConfig = {
  'frontend.rps': RPS,
  'frontend.namespaceRPS': RPS,
  'history.rps': RPS,
  'matching.rps': RPS,
  // One partition: with one or few workers, more of them only add hops between a task and its poller.
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
  // Whether an old version of the workers is still needed is known soon, instead of after three minutes and more; one asks by hand.
  'matching.wv.VersionDrainageStatusVisibilityGracePeriod': '"5s"',
  'matching.wv.VersionDrainageStatusRefreshInterval': '"5s"',
};

export interface EmbeddedTemporal {
  /** host:port of the gRPC front end. */
  readonly address: string;
  readonly uiUrl: string;
  pid(): number;
  /** After `patienceMs` by force; its file survives that. */
  stop(patienceMs?: number): Promise<void>;
}

export interface EmbeddedTemporalOptions extends InstallOptions {
  readonly dataDir: DataDir;
  readonly namespace: string;
  /** Called when the server's process runs and does not answer yet. */
  readonly spawned?: () => void;
}

/**
 * Starts the server, after ending one that a killed predecessor left, and keeps it running until `stop`.
 * @throws with the end of its log when it does not start, or with what to install when there is no program.
 */
export async function startEmbeddedTemporal(options: EmbeddedTemporalOptions): Promise<EmbeddedTemporal> {
  const { dataDir, notice, namespace, spawned } = options;
  const program = await findTemporal(options);
  // Paths are compared with command lines, so they are spelt in one way only.
  const file = `${realpathSync(dataDir.path)}/temporal.db`;
  await endLeftovers(file, notice);
  const remembered = await readPorts(dataDir);
  let ports = { temporal: await freePort(remembered.temporal), temporalUi: await freePort(remembered.temporalUi) };
  const launch = async (): Promise<ServerHandle> => {
    const command = serverCommand({ program, file, namespace, ports, logFile: dataDir.file('temporal.log') });
    const server = startServer(command);
    spawned?.();
    // Imported as late as this: the server starts while the SDK is read.
    const { ask } = await import('./connection.ts');
    await waitUntilAnswers(server, command, () => ask({ address: `127.0.0.1:${ports.temporal}`, namespace }), START_PATIENCE_MS);
    return server;
  };
  const first = await launch().catch(async () => {
    // A port may have been taken between choosing and using it.
    await endLeftovers(file, () => undefined);
    ports = { temporal: await freePort(), temporalUi: await freePort() };
    return launch();
  });
  await rememberPorts(dataDir, ports);
  const supervised = supervise(first, async () => {
    await endLeftovers(file, () => undefined);
    return launch();
  }, notice);
  return { address: `127.0.0.1:${ports.temporal}`, uiUrl: `http://127.0.0.1:${ports.temporalUi}`,
    pid: supervised.pid, stop: supervised.stop };
}

function serverCommand({ program, file, namespace, ports, logFile }: {
  program: string; file: string; namespace: string; ports: { temporal: number; temporalUi: number }; logFile: string;
}): ServerCommand {
  const args = [
    'server', 'start-dev', '--ip', '127.0.0.1', '--port', String(ports.temporal), '--ui-port', String(ports.temporalUi),
    '--db-filename', file,
    // A promise to finish a payment must survive power failure like the payment itself.
    '--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=FULL',
    '--log-level', 'warn', '--log-format', 'json',
    ...(namespace === 'default' ? [] : ['--namespace', namespace]),
    ...Object.entries(dynamicConfig).flatMap(([key, value]) => ['--dynamic-config-value', `${key}=${value}`]),
    ...Object.entries(searchAttributeTypes).flatMap(([name, type]) => ['--search-attribute', `${name}=${searchAttributeTypeNames[type]}`]),
  ];
  return { name: 'Temporal', program, args, logFile, stopSignal: 'SIGTERM', forceSignal: 'SIGKILL', stopPatienceMs: STOP_PATIENCE_MS };
}

/** Ends a server of this very file that outlived the platform which started it. */
async function endLeftovers(file: string, notice: (sentence: string) => void): Promise<void> {
  const left = pidsRunning('start-dev', `--db-filename ${file}`);
  if (left.length === 0) return;
  notice('A Temporal server of an earlier start is still running; stopping it.');
  // At once: its file is made for that, and whoever waits for this start has waited since a crash.
  await endProcesses(left, 'SIGKILL', STOP_PATIENCE_MS);
}
