/**
 * Is this process alive, and can it serve? `live` says nothing about the database on purpose: a database that is away for a moment
 * must not make an orchestrator restart every process (contract alancoin-platform 8.1).
 */
import { z } from 'zod';
import { remembered } from '../../platform/remembered.ts';
import type { HealthProbe, RouteDeps } from '../deps.ts';
import { route, type Answer, type Route } from '../routing/route.ts';
import { timeOut } from '../wire/fields.ts';

const CHECK_MS_MAX = 2_000;
/** Several orchestrators and load balancers ask at once; the parts are asked once for all of them. */
const FRESH_MS = 500;

interface Finding {
  readonly name: string;
  readonly healthy: boolean;
  readonly required: boolean;
  readonly detail?: string;
}

const subsystem = z.object({ name: z.string(), healthy: z.boolean(), detail: z.string().optional() });
const checks = z.record(z.string(), z.string()).meta({ examples: [{ database: 'healthy' }] });

/** What a part says of itself beyond that, where it says anything. */
const details = z.record(z.string(), z.string()).optional();

export function healthRoutes({ probes, lifecycle, metrics, version }: RouteDeps): Route[] {
  const examined = remembered(() => Promise.all(probes.map(examine)), FRESH_MS);

  return [
    route({
      method: 'get', path: '/health', access: 'public', tag: 'Health', always: true,
      summary: 'Whether the platform and its parts work; 200 as long as this process serves, with `status: degraded` when a part does not.',
      answer: z.object({ status: z.enum(['healthy', 'degraded']), version: z.string(), checks, details, timestamp: timeOut }),
      async handler() {
        const findings = await examined();
        const status = findings.every((finding) => finding.healthy) ? 'healthy' : 'degraded';
        const body = { status, version, checks: checksOf(findings), ...detailsOf(findings), timestamp: new Date().toISOString() };
        return { status: ok(findings) ? 200 : 503, body };
      },
    }),
    route({
      method: 'get', path: '/health/live', access: 'public', tag: 'Health', always: true,
      summary: 'Whether this process runs. Asks nothing else, so a database failure restarts nobody.',
      answer: z.object({ status: z.literal('alive') }),
      handler: () => ({ body: { status: 'alive' } }),
    }),
    route({
      method: 'get', path: '/health/ready', access: 'public', tag: 'Health', always: true,
      summary: 'Whether requests should be sent to this process; 503 while it starts, stops, or misses a part it cannot do without.',
      answer: z.object({ status: z.enum(['ready', 'degraded', 'draining']), checks, subsystems: z.array(subsystem) }),
      async handler(): Promise<Answer> {
        if (lifecycle.isDraining()) return { status: 503, headers: { 'Retry-After': '5' },
          body: { status: 'draining', checks: {}, subsystems: [] } };
        const findings = await examined();
        const ready = ok(findings);
        const subsystems = findings.map(({ name, healthy, detail }) => ({ name, healthy, ...(detail === undefined ? {} : { detail }) }));
        return { status: ready ? 200 : 503, body: { status: ready ? 'ready' : 'degraded', checks: checksOf(findings), subsystems } };
      },
    }),
    route({
      method: 'get', path: '/metrics', access: 'public', tag: 'Health', always: true,
      summary: 'Figures of this process for Prometheus.',
      handler: remembered(async () => {
        const { contentType, text } = await metrics.render();
        return { body: text, contentType };
      }, FRESH_MS),
    }),
  ];
}

function ok(findings: readonly Finding[]): boolean {
  return findings.every((finding) => finding.healthy || !finding.required);
}

function checksOf(findings: readonly Finding[]): Record<string, string> {
  return Object.fromEntries(findings.map(({ name, healthy }) => [name, healthy ? 'healthy' : 'unhealthy']));
}

function detailsOf(findings: readonly Finding[]): { details?: Record<string, string> } {
  const said = findings.flatMap(({ name, detail }) => (detail === undefined ? [] : [[name, detail] as const]));
  return said.length === 0 ? {} : { details: Object.fromEntries(said) };
}

async function examine({ name, check, required }: HealthProbe): Promise<Finding> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), CHECK_MS_MAX);
  });
  try {
    const { detail, healthy = true } = await Promise.race([check(), late]);
    return { name, required, healthy, ...(detail === undefined ? {} : { detail }) };
  } catch {
    // Why is in the log of whoever uses the part; an error text can hold addresses and user names, and this route is public.
    return { name, required, healthy: false, detail: 'does not answer' };
  } finally {
    clearTimeout(timer);
  }
}
