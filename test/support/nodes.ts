/** Whole platforms as processes of their own that share a database and a Temporal namespace, for tests that kill and freeze them. */
import { randomBytes } from 'node:crypto';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { createMarket, type Market } from './market.ts';
import { createTestDatabase } from './database.ts';
import { scratchDataDir, startProgram, type Program } from './programs.ts';
import type { TemporalTarget } from '../../temporal/connection.ts';
import { testServers } from './servers.ts';
import type pg from 'pg';

export interface PlatformNode extends Market, WorkerNode {
  readonly url: string;
}

/** A process that only serves task queues. */
export interface WorkerNode extends Pick<Program, 'pid' | 'send' | 'output' | 'ended'> {
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface Nodes {
  readonly pool: pg.Pool;
  readonly servers: NodeServers;
  /** Where their workflows are. */
  readonly temporal: TemporalTarget;
  /** Starts one more process; resolves when it is ready. */
  start(settings?: Readonly<Record<string, string>>): Promise<PlatformNode>;
  /** The same for `npm run worker`. */
  startWorker(settings?: Readonly<Record<string, string>>): Promise<WorkerNode>;
  /** Ends every process and drops what they shared. */
  close(): Promise<void>;
}

/** Where processes find their servers. */
export interface NodeServers {
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly namespace: string;
}

/** Short times, so that a recovery that takes a quarter of a minute in life takes seconds here. */
const quickly = { CALL_LEASE: '1500ms', CALL_OVERDUE: '2s', SELLER_TIMEOUT: '4s', REQUEST_TIMEOUT: '12s', DRAIN_DEADLINE: '1s' };

/** Processes on the suite's servers, with a database and a Temporal namespace that no other test uses. */
export async function createNodes(settings: Readonly<Record<string, string>> = {}): Promise<Nodes> {
  const db = await createTestDatabase();
  const namespace = `crash-${randomBytes(4).toString('hex')}`;
  const { temporalAddress } = testServers();
  await createNamespace(temporalAddress, namespace);
  const nodes = nodesOn({ databaseUrl: db.url, temporalAddress, namespace }, db.pool, settings);
  return {
    ...nodes,
    close: async () => {
      await nodes.close();
      await db.close();
    },
  };
}

/** Processes on servers of the test's own. The caller keeps pool and servers. */
export function nodesOn({ databaseUrl, temporalAddress, namespace }: NodeServers, pool: pg.Pool,
    settings: Readonly<Record<string, string>> = {}): Nodes {
  const scratch = scratchDataDir();
  const programs: Program[] = [];
  const run = (script: string, more: Readonly<Record<string, string>>): Program => {
    const program = startProgram(script, {
      PORT: '0', DATA_DIR: scratch.dir, DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress, TEMPORAL_NAMESPACE: namespace,
      ADMIN_SECRET: 'a-secret-for-tests',
      DEMO_MODE: 'true', ALLOW_LOCAL_ENDPOINTS: 'true', RATE_LIMIT_RPM: '100000000', RATE_LIMIT_BURST: '1000000', LOG_LEVEL: 'warn',
      POSTGRES_MAX_OPEN_CONNS: '10', ...quickly, ...settings, ...more,
    });
    programs.push(program);
    return program;
  };
  return {
    pool, servers: { databaseUrl, temporalAddress, namespace }, temporal: { address: temporalAddress, namespace },
    async start(more = {}) {
      const program = run('api/main.ts', more);
      const [, url = ''] = await program.prints(/Surety is ready {2}API: (\S+)/, 60_000);
      return { ...createMarket({ baseUrl: url, pool }), url, ...handleOf(program) };
    },
    async startWorker(more = {}) {
      const program = run('workers/main.ts', more);
      await program.prints(/Surety worker is ready/, 60_000);
      return handleOf(program);
    },
    async close() {
      for (const program of programs) program.send('SIGKILL');
      await Promise.all(programs.map((program) => program.ended));
      scratch.remove();
    },
  };
}

function handleOf({ pid, send, output, ended }: Program): WorkerNode {
  return {
    pid, send, output, ended,
    kill: async () => {
      send('SIGKILL');
      await ended;
    },
  };
}

/** The answer, or that there was none: the process on the other side is gone. */
export function orGone<T>(reply: Promise<T>): Promise<T | 'gone'> {
  return reply.catch(() => 'gone' as const);
}

/** A namespace that has no search attributes yet. The server takes a moment to know it everywhere. */
export async function createNamespace(address: string, namespace: string): Promise<void> {
  const connection = await Connection.connect({ address });
  try {
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs(86_400_000) });
    for (let tries = 1; ; tries += 1) {
      try {
        await connection.workflowService.countWorkflowExecutions({ namespace });
        return;
      } catch (error) {
        if (tries >= 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  } finally {
    await connection.close();
  }
}
