/** The directory that holds the embedded servers' files. Exactly one platform uses it at a time, held by a lock that names its process. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { livingHolder, takeLock } from './lock.ts';

/** Where a running platform's embedded servers are; read by `npm run worker` on the same DATA_DIR. */
export interface Connections {
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly temporalUiUrl?: string;
}

export interface DataDir {
  /** Absolute path. */
  readonly path: string;
  file(name: string): string;
  /** Makes the connections known to other processes of the same user. */
  publish(connections: Connections): Promise<void>;
  /** Gives the directory free for the next start. */
  release(): Promise<void>;
}

const LOCK = 'surety.lock';
const CONNECTIONS = 'connections.json';
const PORTS = 'ports.json';

/**
 * Takes the directory for this process, and makes it when it is missing.
 * @throws when another living process uses it; the sentence names its pid.
 */
export async function openDataDir(dir: string): Promise<DataDir> {
  const root = path.resolve(dir);
  await mkdir(root, { recursive: true });
  // Others may pass through (an unprivileged Postgres has to), but not look around.
  await chmod(root, 0o711).catch(() => undefined);
  const lock = await takeLock(path.join(root, LOCK));
  if ('heldBy' in lock) {
    throw new Error(`DATA_DIR ${root} is in use by process ${lock.heldBy}. Stop that one, or give this one another DATA_DIR and PORT.`);
  }
  await rm(path.join(root, CONNECTIONS), { force: true });
  return {
    path: root,
    file: (name) => path.join(root, name),
    publish: (connections) => writePrivate(path.join(root, CONNECTIONS), JSON.stringify(connections, null, 2)),
    release: async () => {
      await rm(path.join(root, CONNECTIONS), { force: true });
      await lock.release();
    },
  };
}

/** Connections of the platform that runs on this directory now; undefined when none does. */
export async function readConnections(dir: string): Promise<Connections | undefined> {
  if ((await livingHolder(path.resolve(dir, LOCK))) === undefined) return undefined;
  try {
    return JSON.parse(await readFile(path.resolve(dir, CONNECTIONS), 'utf8')) as Connections;
  } catch {
    return undefined;
  }
}

/** Writes a file that only its owner may read, whole or not at all. */
export async function writePrivate(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, file);
}

/** Ports of the last start, so that addresses stay the same where they can. */
export async function readPorts(dir: DataDir): Promise<Record<string, number>> {
  try {
    return JSON.parse(await readFile(dir.file(PORTS), 'utf8')) as Record<string, number>;
  } catch {
    return {};
  }
}

/** Remembers ports for the next start, beside those remembered before. */
export async function rememberPorts(dir: DataDir, ports: Record<string, number>): Promise<void> {
  await writePrivate(dir.file(PORTS), JSON.stringify({ ...(await readPorts(dir)), ...ports }));
}
