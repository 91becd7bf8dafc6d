/**
 * Keeps `agent_stats` up to date from the books: a payment counts when its money moved, a failure when a seller was asked and did not
 * deliver. Works through the agents that changed, longest waiting first, and stops when its time is up, so that on a busy platform
 * scores come a little later instead of payments.
 */
import type pg from 'pg';
import { DEFAULT_ASSET } from '../domain/money.ts';
import { reputationOf, reputationWindow } from '../domain/reputation.ts';
import type { Logger } from '../platform/log.ts';

export interface ReputationJob {
  start(): void;
  /** Ends the timer and waits for a pass under way. */
  stop(): Promise<void>;
  /** One pass now. @returns how many agents were scored; 0 as well when another process is at it. */
  runOnce(): Promise<number>;
}

const everyMs = 30_000;
/** Database time of one pass: about one part in a hundred of the time between passes. */
const budgetMsDefault = 400;
const batchSize = 25;
const candidatesMax = 1_000;
const failuresMax = 10_000;
/** Any number, as long as every process uses the same: one scores, the others skip. */
const JOB_LOCK = 7_239_402;

// Only what a seller did counts against it. Not its 4xx answers: a buyer who sends nonsense to all sellers would ruin them. Not the
// attempts our own circuit breaker skipped, and not those of a call that was given up because a process of ours died.
const sellersFault = `(e ->> 'outcome'
         IN ('timeout', 'connect_error', 'refused_address', 'reset', 'too_large', 'redirect', 'bad_encoding', 'gave_up')
       OR e ->> 'outcome' = 'error_answer' AND ((e ->> 'httpStatus')::integer >= 500 OR (e ->> 'httpStatus')::integer IN (408, 429)))`;
const noteFailuresSql = `
WITH c AS (SELECT id, buyer, attempts, finished_at FROM gateway_call
            WHERE (state = 'released' OR attempt > 0) AND finished_at > $1 ORDER BY finished_at LIMIT $2),
noted AS (
  INSERT INTO seller_failure (call_id, seller, buyer, failed_at)
  SELECT c.id, x.seller, c.buyer, c.finished_at FROM c CROSS JOIN LATERAL (
    SELECT DISTINCT e ->> 'seller' AS seller FROM jsonb_array_elements(c.attempts) e
     WHERE e ->> 'seller' IS NOT NULL AND ${sellersFault}) x
  ON CONFLICT DO NOTHING)
SELECT count(*)::integer AS read, max(finished_at) AS last FROM c`;

// Volumes of different assets cannot be added up: a score is made of payments in the default one.
// The minute of slack is for transactions that began before the last pass and were committed after it.
const changedSql = `
SELECT g.address, least(g.created_at, s.first_active_at) AS first_seen, coalesce(s.counted_to, 0) AS counted_to, a.id AS account_id
  FROM agent g LEFT JOIN agent_stats s ON s.address = g.address LEFT JOIN account a ON a.owner = g.address AND a.asset = '${DEFAULT_ASSET}'
  LEFT JOIN (SELECT seller, max(failed_at) AS failed_at FROM seller_failure
              WHERE failed_at > now() - interval '1 day' GROUP BY seller) f ON f.seller = g.address
 WHERE s.updated_at IS NULL AND a.id IS NOT NULL
    OR a.updated_at > s.updated_at - interval '1 minute'
    OR s.updated_at < now() - interval '1 day'
    OR f.failed_at > coalesce(s.updated_at, '-infinity') - interval '1 minute'
 ORDER BY s.updated_at NULLS FIRST LIMIT $1`;

const totalsSql = `
SELECT u.address, t.sold_count, t.sold_micros, t.bought_count, t.bought_micros, t.counted_to, t.first_at, t.last_at
  FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u(address, account_id, counted_to) CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE sold) AS sold_count, coalesce(sum(amount) FILTER (WHERE sold), 0)::bigint AS sold_micros,
           count(*) FILTER (WHERE NOT sold) AS bought_count, coalesce(sum(amount) FILTER (WHERE NOT sold), 0)::bigint AS bought_micros,
           coalesce(max(id), u.counted_to) AS counted_to, min(created_at) AS first_at, max(created_at) AS last_at
      FROM (SELECT id, amount, created_at, true AS sold FROM posting
             WHERE credit_account = u.account_id AND id > u.counted_to AND kind = 'capture'
            UNION ALL
            SELECT id, amount, created_at, false FROM posting
             WHERE debit_account = u.account_id AND id > u.counted_to AND kind = 'capture') p) t`;

const recentSql = `
SELECT u.address, w.successful, w.failed, w.volume, w.peers, w.last_at,
       (SELECT count(*) FROM seller_failure f WHERE f.seller = u.address)
       + coalesce((SELECT failures FROM seller_failure_past p WHERE p.seller = u.address), 0) AS failed_total
  FROM unnest($1::text[], $2::bigint[]) AS u(address, account_id) CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE ok)::integer AS successful, count(*) FILTER (WHERE NOT ok)::integer AS failed,
           coalesce(sum(amount) FILTER (WHERE ok), 0)::bigint AS volume, count(DISTINCT peer)::integer AS peers, max(at) AS last_at
      FROM (SELECT peer, ok, amount, at, row_number() OVER (PARTITION BY peer ORDER BY at DESC) AS nth
              FROM (SELECT peer, ok, amount, at FROM (
                (SELECT p.debit_account::text AS peer, true AS ok, p.amount, p.created_at AS at FROM posting p
                  WHERE p.credit_account = u.account_id AND p.kind = 'capture'
                    AND NOT EXISTS (SELECT 1 FROM posting r WHERE r.reverses = p.id) ORDER BY p.id DESC LIMIT $3)
                UNION ALL
                (SELECT p.credit_account::text, true, p.amount, p.created_at FROM posting p
                  WHERE p.debit_account = u.account_id AND p.kind = 'capture'
                    AND NOT EXISTS (SELECT 1 FROM posting r WHERE r.reverses = p.id) ORDER BY p.id DESC LIMIT $3)
                UNION ALL
                (SELECT coalesce((SELECT b.id::text FROM account b WHERE b.owner = f.buyer AND b.asset = '${DEFAULT_ASSET}'), f.buyer),
                        false, 0, f.failed_at FROM seller_failure f
                  WHERE f.seller = u.address ORDER BY f.failed_at DESC LIMIT $3)) e ORDER BY at DESC LIMIT $3) latest) counted
     WHERE nth <= $4) w`;

const writeSql = `
INSERT INTO agent_stats AS s (address, score, tier, settled_count, volume_micros, bought_count, spent_micros, failed_count,
                              counterparty_count, counted_to,
                              recent_successful, recent_failed, recent_volume_micros, first_active_at, last_active_at, updated_at)
SELECT x.address, x.score, x.tier, x.sold_count, x.sold_micros, x.bought_count, x.bought_micros, x.failed_total, x.peers, x.counted_to,
       x.successful, x.failed, x.volume, x.first_at, x.last_at, $2
  FROM json_to_recordset($1) AS x(address text, score float8, tier text, sold_count bigint, sold_micros bigint, bought_count bigint,
       bought_micros bigint, failed_total bigint, peers integer, counted_to bigint, successful integer, failed integer, volume bigint,
       first_at timestamptz, last_at timestamptz)
ON CONFLICT (address) DO UPDATE SET score = excluded.score, tier = excluded.tier, settled_count = s.settled_count + excluded.settled_count,
       volume_micros = s.volume_micros + excluded.volume_micros, bought_count = s.bought_count + excluded.bought_count,
       spent_micros = s.spent_micros + excluded.spent_micros, failed_count = excluded.failed_count,
       counterparty_count = excluded.counterparty_count, counted_to = excluded.counted_to,
       recent_successful = excluded.recent_successful, recent_failed = excluded.recent_failed,
       recent_volume_micros = excluded.recent_volume_micros, first_active_at = coalesce(s.first_active_at, excluded.first_active_at),
       last_active_at = greatest(s.last_active_at, excluded.last_active_at), updated_at = excluded.updated_at`;

interface ChangedRow { address: string; first_seen: Date; counted_to: string; account_id: string | null }
interface TotalsRow { address: string; sold_count: string; sold_micros: string; bought_count: string; bought_micros: string;
  counted_to: string; first_at: Date | null; last_at: Date | null }
interface RecentRow { address: string; successful: number; failed: number; volume: string; peers: number;
  last_at: Date | null; failed_total: string }

async function scoreBatch(client: pg.PoolClient, batch: readonly ChangedRow[], now: Date): Promise<object[]> {
  const addresses = batch.map((row) => row.address);
  const accounts = batch.map((row) => row.account_id);
  const totals = await client.query<TotalsRow>(totalsSql, [addresses, accounts, batch.map((row) => row.counted_to)]);
  const recent = await client.query<RecentRow>(recentSql,
    [addresses, accounts, reputationWindow.eventsMax, reputationWindow.perCounterpartyMax]);
  const recentOf = new Map(recent.rows.map((row) => [row.address, row]));
  const firstSeenOf = new Map(batch.map((row) => [row.address, row.first_seen]));
  return totals.rows.flatMap((total) => {
    const latest = recentOf.get(total.address);
    if (latest === undefined) return [];
    const { score, tier } = reputationOf({
      volumeMicros: BigInt(latest.volume), successful: latest.successful, failed: latest.failed, counterparties: latest.peers,
      firstSeenAt: firstSeenOf.get(total.address) ?? null,
    }, now);
    return [{ ...total, ...latest, score, tier }];
  });
}

/** Writes down the failures since `readTo`. @returns where the next pass begins: a minute back, for commits that came late. */
async function noteFailures(client: pg.PoolClient, readTo: Date | null): Promise<Date> {
  let since = readTo;
  if (since === null) {
    // Not what was removed because it was too old: it would be counted a second time.
    const { rows } = await client.query<{ at: Date }>(`
      SELECT greatest(max(failed_at) - interval '1 minute',
               (SELECT removed_before FROM retention_mark WHERE kind = 'seller_failures'), 'epoch') AS at FROM seller_failure`);
    since = rows[0]?.at ?? new Date(0);
  }
  const { rows } = await client.query<{ read: number; last: Date | null }>(noteFailuresSql, [since, failuresMax]);
  const { read = 0, last = null } = rows[0] ?? {};
  if (last === null) return since;
  // While there is a backlog, going back would read the same rows for ever.
  return read === failuresMax ? last : new Date(Math.max(since.getTime(), last.getTime() - 60_000));
}

/** Scores until everybody is done or the time is up, and writes all at once: one write is one notification to the catalogues. */
async function scoreChanged(client: pg.PoolClient, budgetMs: number): Promise<number> {
  // The moment before reading: what changes from here on is looked at again next time.
  const { rows: [clock] } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const now = clock?.now ?? new Date();
  const startedAt = performance.now();
  const { rows: changed } = await client.query<ChangedRow>(changedSql, [candidatesMax]);
  const scored: object[] = [];
  for (let from = 0; from < changed.length && performance.now() - startedAt < budgetMs; from += batchSize) {
    scored.push(...(await scoreBatch(client, changed.slice(from, from + batchSize), now)));
  }
  if (scored.length > 0) await client.query(writeSql, [JSON.stringify(scored), now]);
  return scored.length;
}

/** Creates the job. Several processes may run it; an advisory lock lets one work at a time. */
export function createReputationJob({ pool, log, budgetMs = budgetMsDefault }: { pool: pg.Pool; log: Logger;
    budgetMs?: number }): ReputationJob {
  let timer: NodeJS.Timeout | null = null;
  let underWay: Promise<number> | null = null;
  let failuresReadTo: Date | null = null;

  async function work(client: pg.PoolClient): Promise<number> {
    const { rows } = await client.query<{ mine: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS mine', [JOB_LOCK]);
    if (rows[0]?.mine !== true) return 0;
    failuresReadTo = await noteFailures(client, failuresReadTo);
    return scoreChanged(client, budgetMs);
  }

  async function pass(): Promise<number> {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const count = await work(client);
      await client.query('COMMIT');
      client.release();
      return count;
    } catch (error) {
      // A broken transaction ends with its connection; what it read of the failures was not kept, so it is read again.
      failuresReadTo = null;
      client.release(true);
      throw error;
    }
  }

  const runOnce = (): Promise<number> => {
    underWay ??= pass().finally(() => void (underWay = null));
    return underWay;
  };
  return {
    runOnce,
    start() {
      timer = setInterval(() => {
        runOnce().catch((error: unknown) => log.warn({ err: error }, 'Reputation was not updated; the next pass tries again.'));
      }, everyMs);
      timer.unref();
    },
    async stop() {
      if (timer !== null) clearInterval(timer);
      await underWay?.catch(() => undefined);
    },
  };
}
