/**
 * The bare SQL rate: the same functions that accept and settle a call, called in batches straight from here, without HTTP and
 * without Temporal. It says what the database alone can do on this machine at this moment, so that the HTTP rate can be compared
 * with something that varies with the machine in the same way.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createTaker, type Taker } from '../activities/payment/take.ts';
import { DEFAULT_ASSET, parseAmount } from '../domain/money.ts';
import { sessionRules, storedTerms } from '../domain/session.ts';
import { createPaymentStore } from '../ledger/payment-store.ts';
import { createMetrics } from '../platform/metrics.ts';
import { round } from './measure.ts';

export interface BareSqlOptions {
  readonly databaseUrl: string;
  readonly seconds: number;
  readonly buyers: readonly string[];
  readonly sellers: readonly string[];
  readonly price: string;
}

export interface BareSqlResult {
  readonly callsPerSecond: number;
  readonly calls: number;
  readonly batch: number;
  readonly connections: number;
}

const BATCH = 128;
const CONNECTIONS = 2;
const BUDGET = '500';
const LEASE_MS = 60_000;

/** Buyers must have money: each opens a session of {@link BUDGET} for the time of the measurement, and gets the rest back. */
export async function measureBareSql(options: BareSqlOptions): Promise<BareSqlResult> {
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: CONNECTIONS });
  const store = createPaymentStore({ pool, metrics: createMetrics({ runtime: false }) });
  const taker = createTaker({ store, onApplied: () => undefined });
  const sessions = options.buyers.map((agent) => ({ id: `gw_${randomBytes(12).toString('hex')}`, agent }));
  try {
    for (const session of sessions) await openSession(taker, session);
    const until = performance.now() + options.seconds * 1000;
    const begun = performance.now();
    const counts = await Promise.all(Array.from({ length: CONNECTIONS }, () => payUntil(pool, options, sessions, until)));
    const seconds = (performance.now() - begun) / 1000;
    const calls = counts.reduce((sum, count) => sum + count, 0);
    return { callsPerSecond: round(calls / seconds, 0), calls, batch: BATCH, connections: CONNECTIONS };
  } finally {
    for (const { id, agent } of sessions) {
      const close = { ...noAttempt, id, step: 'close', actor: { address: agent, as: null }, input: {} };
      await taker.step(sessionRules, close).catch(() => undefined);
    }
    await pool.end();
  }
}

/** As a request would take a step, without a workflow that it could be sent to. */
const noAttempt = { attempt: null, notAfterMs: null, claim: null, messageSent: false } as const;

async function openSession(taker: Taker, { id, agent }: { readonly id: string; readonly agent: string }): Promise<void> {
  const amountMicros = parseAmount(BUDGET);
  const terms = storedTerms({ maxTotalMicros: amountMicros, maxPerRequestMicros: amountMicros, strategy: 'cheapest', allowedTypes: [],
    warnAtPercent: 0, maxRequestsPerMinute: 1_000_000_000, lifeMs: 3_600_000 });
  const opening = { id, buyer: agent, seller: null, arbiter: null, tenantId: null, asset: DEFAULT_ASSET, amountMicros, terms, lookup: null,
    workflowId: `bench-${id}` };
  const taken = await taker.open(sessionRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
  if (taken.kind === 'refused') throw new Error(`The bench could not open a session of ${agent}: ${taken.refusal.message}`);
}

async function payUntil(pool: pg.Pool, options: BareSqlOptions, sessions: readonly { id: string; agent: string }[],
    until: number): Promise<number> {
  const client = await pool.connect();
  let paid = 0;
  try {
    while (performance.now() < until) paid += await payBatch(client, options, sessions);
    return paid;
  } finally {
    client.release();
  }
}

async function payBatch(client: pg.PoolClient, options: BareSqlOptions,
    sessions: readonly { id: string; agent: string }[]): Promise<number> {
  const calls = Array.from({ length: BATCH }, (_, pos) => aCall(pos, options, sessions));
  const accepted = await client.query<{ pos: number; outcome: string }>({
    name: 'bench_accept', text: 'SELECT pos, outcome FROM gateway_accept($1, $2, $3)', values: [JSON.stringify(calls), 'bench', LEASE_MS],
  });
  const delivered = accepted.rows.filter((row) => row.outcome === 'accepted').map(({ pos }) => ({
    pos, id: calls[pos]?.id, attempt: 0, http_status: 200, response: '{"output":"done"}', latency_ms: 1, log: [],
  }));
  const settled = await client.query<{ outcome: string }>({
    name: 'bench_settle', text: 'SELECT outcome FROM gateway_settle($1, $2)', values: [JSON.stringify(delivered), options.sellers[0]],
  });
  return settled.rows.filter((row) => row.outcome === 'settled').length;
}

function aCall(pos: number, options: BareSqlOptions, sessions: readonly { id: string; agent: string }[]) {
  const session = pick(sessions);
  const seller = pick(options.sellers);
  const price = parseAmount(options.price).toString();
  const offer = { serviceId: 'svc_bench', serviceName: 'Bench', seller, endpoint: 'http://127.0.0.1/',
    priceMicros: price, idempotent: true };
  return {
    pos, id: `call_${randomBytes(12).toString('hex')}`, session_id: session.id, buyer: session.agent, service_type: 'bench',
    params: '{"question":"How much is the fish?","copies":3}',
    candidates: [offer], key: null, hash: null, price, fee_bps: 0, seller, service_id: offer.serviceId,
    service_name: offer.serviceName, workflow_id: null,
  };
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T;
}
