/** The parts that this process depends on, as /health and /health/ready ask them. */
import type pg from 'pg';
import type { Env } from '../platform/env.ts';
import { ask, type WorkerTemporal } from '../temporal/connection.ts';
import { booksProbe } from './books-probe.ts';
import type { HealthProbe } from './deps.ts';

export interface ProbedParts {
  readonly pool: pg.Pool;
  readonly temporal: WorkerTemporal;
  readonly env: Pick<Env, 'AUDIT_EVERY'>;
}

/** @param runtime whose workers serve the task queues of this process. */
export function probes({ pool, temporal, env }: ProbedParts, runtime: { health: HealthProbe['check'] }): HealthProbe[] {
  return [
    { name: 'database', required: true, check: async () => { await pool.query('SELECT 1'); return {}; } },
    // Calls are settled and released without it too, so its absence is no reason to send requests elsewhere.
    { name: 'temporal', required: false, check: async () => { await ask(temporal); return detailOf(temporal); } },
    // A worker that is missing while Temporal answers is this process's own trouble: others do better.
    { name: 'workers', required: true, check: () => runtime.health() },
    booksProbe(pool, env.AUDIT_EVERY),
  ];
}

/** Nothing stops for a search attribute that is missing, so Temporal counts as healthy. */
function detailOf({ searchAttributes }: WorkerTemporal): { detail?: string } {
  const detail = searchAttributes.detail();
  return detail === null ? {} : { detail };
}
