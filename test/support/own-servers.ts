/**
 * A platform process on a Postgres and a Temporal of its own, for tests that kill or freeze those; the servers of the suite belong to
 * everybody.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { startStack } from '../../temporal/stack.ts';
import { nodesOn, type PlatformNode } from './nodes.ts';
import { eventually } from './platform-suite.ts';
import { scratchDataDir } from './programs.ts';

export interface OwnServers {
  readonly pool: pg.Pool;
  readonly node: PlatformNode;
  /** One more process on the same servers. */
  startNode(): Promise<PlatformNode>;
  readonly temporalAddress: string;
  /** SIGKILL; it is started again by itself. After an earlier kill it may not have been yet, which is waited for. */
  killPostgres(): Promise<void>;
  /** The same; without its files it remembers nothing when it is back. */
  killTemporal(options: { readonly andForget: boolean }): Promise<void>;
  /** Lets Temporal stand still, which is worse than its absence: connections stay open and nothing answers. */
  freezeTemporal(): void;
  thawTemporal(): void;
  close(): Promise<void>;
}

/** @param settings of the platform process. */
export async function startOwnServers(settings: Readonly<Record<string, string>>): Promise<OwnServers> {
  const scratch = scratchDataDir();
  const env = { DATA_DIR: scratch.dir, TEMPORAL_NAMESPACE: 'default', TEMPORAL_CLI: process.env['TEMPORAL_CLI'],
    CACHE_DIR: process.env['CACHE_DIR'] };
  const stack = await startStack({ env, notice: () => undefined });
  const pool = new pg.Pool({ connectionString: stack.databaseUrl, max: 4 });
  // Its connections are killed with the server.
  pool.on('error', () => undefined);
  const nodes = nodesOn({ databaseUrl: stack.databaseUrl, temporalAddress: stack.temporalAddress, namespace: 'default' }, pool, settings);
  const toServer = (index: 0 | 1, signal: NodeJS.Signals): void => {
    const pid = stack.pids()[index];
    if (pid === undefined) throw new Error('The server is not running.');
    process.kill(pid, signal);
  };
  const kill = (index: 0 | 1): Promise<void> => eventually(async () => toServer(index, 'SIGKILL'), { withinMs: 20_000 });
  const close = async (): Promise<void> => {
    await nodes.close();
    await pool.end();
    await stack.stop();
    scratch.remove();
  };
  try {
    return {
      pool, close, node: await nodes.start(), startNode: () => nodes.start(), temporalAddress: stack.temporalAddress,
      killPostgres: () => kill(0),
      async killTemporal({ andForget }) {
        await kill(1);
        if (andForget) for (const ending of ['', '-wal', '-shm']) rmSync(path.join(scratch.dir, `temporal.db${ending}`), { force: true });
      },
      freezeTemporal: () => toServer(1, 'SIGSTOP'),
      thawTemporal: () => toServer(1, 'SIGCONT'),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
