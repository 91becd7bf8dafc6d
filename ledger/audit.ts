/**
 * Proof that the books are right: one SQL query for each invariant of architecture §8 that applies so far. Each returns the rows
 * that break it; no rows, no finding. Run by tests, by the crash campaign, by GET /v1/admin/reconcile and by a job.
 */
import type pg from 'pg';

export interface Finding {
  /** Number of the invariant, such as `I2`. */
  readonly invariant: string;
  /** What is wrong and, as examples, which rows. */
  readonly detail: string;
  readonly count: number;
}

export interface Audit {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

interface Rule {
  readonly invariant: string;
  readonly sentence: string;
  /** Selects one text column, `row`, that names each row at fault. */
  readonly sql: string;
}

const rules: readonly Rule[] = [
  {
    invariant: 'I1', sentence: 'everything owned equals what came in less what went out',
    sql: `SELECT a.asset || ': owned ' || a.owned || ', came in less went out ' || coalesce(p.net, 0) AS row
            FROM (SELECT asset, sum(available + pending + escrowed) + (SELECT coalesce(sum(amount), 0) FROM unfolded_fee) AS owned FROM account GROUP BY asset) a
            LEFT JOIN (SELECT asset, sum(CASE WHEN debit_account IS NULL THEN amount WHEN credit_account IS NULL THEN -amount ELSE 0 END) AS net FROM posting GROUP BY asset) p USING (asset)
           WHERE a.owned <> coalesce(p.net, 0)`,
  },
  {
    invariant: 'I2', sentence: 'each account equals its postings',
    sql: `SELECT a.owner || ' ' || a.asset || ': row ' || concat_ws('/', a.available, a.pending, a.escrowed) || ', postings ' || concat_ws('/', coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.escrowed, 0)) AS row
            FROM account a
            LEFT JOIN (SELECT account, sum(amount) FILTER (WHERE bucket = 'available') AS available, sum(amount) FILTER (WHERE bucket = 'pending') AS pending,
                              sum(amount) FILTER (WHERE bucket = 'escrowed') AS escrowed
                         FROM (SELECT credit_account AS account, credit_bucket AS bucket, amount FROM posting WHERE credit_account IS NOT NULL
                               UNION ALL SELECT debit_account, debit_bucket, -amount FROM posting WHERE debit_account IS NOT NULL
                               UNION ALL SELECT account_id, 'available', -amount FROM unfolded_fee) side GROUP BY account) p ON p.account = a.id
           WHERE (a.available, a.pending, a.escrowed) IS DISTINCT FROM (coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.escrowed, 0))`,
  },
  {
    invariant: 'I2', sentence: 'what an account has is what it took in less what it gave out',
    sql: `SELECT owner AS row FROM account WHERE available + pending + escrowed <> total_in - total_out + credit_used`,
  },
  {
    invariant: 'I3', sentence: 'nothing is negative',
    sql: `SELECT owner AS row FROM account WHERE least(available, pending, escrowed) < 0`,
  },
  {
    invariant: 'I4', sentence: 'a settled call has one capture, any other call has none',
    sql: `SELECT c.id || ' is ' || c.state AS row FROM gateway_call c LEFT JOIN posting p ON p.ref = c.id AND p.kind = 'capture' WHERE (c.state = 'settled') <> (p.id IS NOT NULL)`,
  },
  {
    invariant: 'I5', sentence: 'capture and fee of a call add up to its price and reach its seller',
    sql: `SELECT c.id AS row FROM gateway_call c JOIN posting p ON p.ref = c.id AND p.kind = 'capture' JOIN account a ON a.id = p.credit_account
            LEFT JOIN posting f ON f.ref = c.id AND f.kind = 'fee'
           WHERE c.state = 'settled' AND (p.amount + coalesce(f.amount, 0) <> c.price OR coalesce(f.amount, 0) <> c.fee OR a.owner <> c.seller)`,
  },
  {
    invariant: 'I6', sentence: 'pending and escrowed money equals what is left of the holds',
    sql: `SELECT a.owner AS row FROM account a
            LEFT JOIN (SELECT account_id, sum(amount - captured - released) FILTER (WHERE bucket = 'pending') AS pending,
                              sum(amount - captured - released) FILTER (WHERE bucket = 'escrowed') AS escrowed FROM hold GROUP BY account_id) h ON h.account_id = a.id
           WHERE a.pending <> coalesce(h.pending, 0) OR a.escrowed <> coalesce(h.escrowed, 0)`,
  },
  {
    invariant: 'I6', sentence: 'a hold of a gateway session keeps exactly what its session may still spend or has promised',
    sql: `SELECT h.id AS row FROM hold h JOIN gateway_session s ON s.id = h.id
           WHERE h.captured <> s.spent OR h.amount - h.captured - h.released <> CASE WHEN s.status = 'active' THEN s.max_total - s.spent ELSE s.reserved END`,
  },
  {
    invariant: 'I7', sentence: 'a call is settled only with a recorded 2xx answer',
    sql: `SELECT id AS row FROM gateway_call WHERE state = 'settled' AND (http_status IS NULL OR http_status NOT BETWEEN 200 AND 299)`,
  },
  {
    invariant: 'I8', sentence: 'no two calls that were charged or are open share an idempotency key',
    sql: `SELECT buyer || ' ' || idempotency_key AS row FROM gateway_call WHERE idempotency_key IS NOT NULL AND state IN ('accepted', 'settled') GROUP BY buyer, idempotency_key HAVING count(*) > 1`,
  },
  {
    invariant: 'I9', sentence: 'a session has spent and promised what its calls say, within its budget',
    sql: `SELECT s.id AS row FROM gateway_session s
            LEFT JOIN (SELECT session_id, sum(price) AS spent, sum(reserved) FILTER (WHERE state = 'accepted') AS reserved, count(*) FILTER (WHERE state = 'settled') AS settled
                         FROM gateway_call GROUP BY session_id) c ON c.session_id = s.id
           WHERE s.spent <> coalesce(c.spent, 0) OR s.reserved <> coalesce(c.reserved, 0) OR s.request_count <> coalesce(c.settled, 0) OR s.spent + s.reserved > s.max_total`,
  },
  {
    invariant: 'I13', sentence: 'each change of state has one event',
    sql: `SELECT x.ref || ' ' || x.topic || ': ' || count(o.id) AS row
            FROM (SELECT id AS ref, 'call.' || state AS topic FROM gateway_call WHERE state IN ('settled', 'released')
                  UNION ALL SELECT ref, 'deposit.credited' FROM posting WHERE kind = 'deposit') x
            LEFT JOIN outbox o ON o.ref = x.ref AND o.topic = x.topic GROUP BY x.ref, x.topic HAVING count(o.id) <> 1`,
  },
];

const EXAMPLES = 5;

/**
 * Checks every invariant in one snapshot, so that payments under way cannot look like errors.
 * @param overdueMs when given, also that nothing is open longer than this which does not wait for a person (I12).
 */
export async function auditBooks(pool: pg.Pool, { overdueMs }: { readonly overdueMs?: number } = {}): Promise<Audit> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query('SET LOCAL statement_timeout = 0');
    const findings: Finding[] = [];
    for (const rule of overdueMs === undefined ? rules : [...rules, overdueRule(overdueMs)]) {
      const { rows } = await client.query<{ count: string; examples: string[] | null }>(
        `SELECT count(*) AS count, (array_agg(row ORDER BY row))[1:${EXAMPLES}] AS examples FROM (${rule.sql}) fault`,
      );
      const count = Number(rows[0]?.count ?? 0);
      if (count > 0) findings.push({ invariant: rule.invariant, count, detail: `Not true that ${rule.sentence}: ${(rows[0]?.examples ?? []).join('; ')}` });
    }
    await client.query('COMMIT');
    return { ok: findings.length === 0, findings };
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

/** @param overdueMs a whole number; it becomes part of the query. */
function overdueRule(overdueMs: number): Rule {
  const before = `clock_timestamp() - ${Math.trunc(overdueMs)} * interval '1 millisecond'`;
  return {
    invariant: 'I12', sentence: 'nothing stays open that waits for nobody',
    sql: `SELECT id AS row FROM gateway_call WHERE state = 'accepted' AND accepted_at < ${before}
          UNION ALL SELECT id FROM gateway_session WHERE status = 'active' AND expires_at < ${before}`,
  };
}
