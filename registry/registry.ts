/** Who exists: agents, what they sell, and the keys they use. Built once a process. */
import type pg from 'pg';
import type { Logger } from '../platform/log.ts';
import type { Db } from '../prisma/client.ts';
import { createAgents, type Agents } from './agents.ts';
import { createCatalogue, type Catalogue } from './catalogue.ts';
import { createRegistryChanges, type RegistryChanges } from './changes.ts';
import { createApiKeys, type ApiKeys } from './keys.ts';
import { createOwnership, type Ownership } from './ownership.ts';
import { createServices, type Services } from './services.ts';

export interface Registry {
  readonly keys: ApiKeys;
  readonly catalogue: Catalogue;
  readonly agents: Agents;
  readonly services: Services;
  readonly ownership: Ownership;
  readonly changes: RegistryChanges;
  /** Listens for changes and loads the catalogue. Rejects when the database does not answer. */
  start(): Promise<void>;
  /** Writes what waits and ends timers and the listening connection. */
  stop(): Promise<void>;
}

export interface RegistryDeps {
  readonly db: Db;
  /** For lists and for looking up. */
  readonly reads: Db;
  readonly pool: pg.Pool;
  /** Leads to Postgres itself, not to a transaction pooler: one connection listens for changes. */
  readonly databaseUrl: string;
  readonly log: Logger;
  /** Refuses addresses that Surety must not call, with `invalid_endpoint`. */
  readonly checkEndpoint: (url: string) => Promise<unknown>;
  /** Let fresh addresses register without a proof of control. */
  readonly demoMode: boolean;
  /** Owner of the fee account, lower case. */
  readonly platformAddress: string;
}

/** Creates the registry; nothing runs until `start`. */
export function createRegistry({ db, reads, pool, databaseUrl, log, checkEndpoint, demoMode, platformAddress }: RegistryDeps): Registry {
  const changes = createRegistryChanges({ databaseUrl, log });
  const catalogue = createCatalogue({ pool, changes, log });
  const keys = createApiKeys({ db, reads, pool, changes, log });
  const ownership = createOwnership({ db });
  const agents = createAgents({ db, reads, ownership, catalogue, changes, demoMode, platformAddress });
  const services = createServices({ db, catalogue, checkEndpoint, log });
  return {
    keys, catalogue, agents, services, ownership, changes,
    async start() {
      await changes.start();
      await catalogue.start();
    },
    async stop() {
      await catalogue.stop();
      await keys.stop();
      await changes.stop();
    },
  };
}
