/** The world a benchmark runs in: embedded servers, the platform as a real child process, sellers and their customers. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Child } from '../demo/processes.ts';
import type { Wire } from '../demo/wire.ts';
import type { ProcessRoots } from './measure.ts';

/** An agent of the benchmark, with the key it asks with. */
export interface BenchAgent {
  readonly address: string;
  readonly apiKey: string;
}

export interface World {
  readonly wire: Wire;
  readonly host: string;
  readonly port: number;
  readonly adminSecret: string;
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly api: Child;
  readonly sellerProcess: Child;
  readonly load: Child;
  readonly roots: ProcessRoots;
  readonly buyers: readonly BenchAgent[];
  readonly sellers: readonly BenchAgent[];
}

/** An address nobody holds the key of: benchmark agents register without proof (DEMO_MODE). */
export function randomAddress(): string {
  return `0x${randomBytes(20).toString('hex')}`;
}
