/** What the HTTP edge is given by whoever builds the process: `api/main.ts`, or a test. */
import type { JsonWebKey } from 'node:crypto';
import type { PayloadCodec } from '@temporalio/common';
import type pg from 'pg';
import type { GatewayPort } from '../domain/gateway.ts';
import type { LongCallPort } from '../domain/long-call.ts';
import type { PipelinePort } from '../domain/pipeline.ts';
import type { TickPort } from '../domain/tick.ts';
import type { Payments } from '../payments/payments.ts';
import type { CardSecrets } from '../platform/card-secrets.ts';
import type { Env } from '../platform/env.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Db } from '../prisma/client.ts';
import type { Agents } from '../registry/agents.ts';
import type { Catalogue } from '../registry/catalogue.ts';
import type { ApiKeys } from '../registry/keys.ts';
import type { Ownership } from '../registry/ownership.ts';
import type { Services } from '../registry/services.ts';

/** One part the platform depends on, asked by `/health/ready`. */
export interface HealthProbe {
  readonly name: string;
  /**
   * Resolves when the part answers; `detail` is shown, and `healthy: false` says that it does not work all the same. Rejects, or takes
   * longer than 2 s, when it does not.
   */
  readonly check: () => Promise<{ readonly detail?: string; readonly healthy?: boolean }>;
  /** Without it no request can be served: `/health/ready` is then 503. */
  readonly required: boolean;
}

export interface ApiDeps {
  readonly env: Env;
  readonly log: Logger;
  /** Through which money moves; only for what must not wait for a reader. */
  readonly pool: pg.Pool;
  /** For reads; a statement in it ends after POSTGRES_READ_TIMEOUT. */
  readonly reads: pg.Pool;
  /** For reads of rows, over `reads`. */
  readonly prisma: Db;
  readonly keys: ApiKeys;
  readonly agents: Agents;
  readonly services: Services;
  readonly ownership: Ownership;
  readonly catalogue: Catalogue;
  readonly gateway: GatewayPort;
  readonly payments: Payments;
  readonly cards: CardSecrets;
  readonly ticks: TickPort;
  readonly pipelines: PipelinePort;
  readonly longCalls: LongCallPort;
  /** Encrypts what Temporal keeps; null where no keys are set. */
  readonly codec: PayloadCodec | null;
  readonly metrics: Metrics;
  readonly probes: readonly HealthProbe[];
  /** Public keys with which sellers check that a request comes from this platform, newest first. */
  readonly sellerKeys: readonly JsonWebKey[];
  readonly startedAt: Date;
  readonly version: string;
  readonly links: {
    /** Base address of this API as people reach it, without a slash at the end. */
    readonly api: string;
    readonly temporalUi: string | null;
  };
}

/** Stopping: the edge refuses new work while what is under way ends. */
export interface Lifecycle {
  isDraining(): boolean;
  /** Requests whose handlers have not ended, health and metrics left out. */
  inFlight(): number;
}

/** What a file of `api/routes` receives. */
export type RouteDeps = ApiDeps & { readonly lifecycle: Lifecycle };
