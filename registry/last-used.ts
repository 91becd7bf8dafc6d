/** Remembers when keys were used and writes it now and then: a write for each request would cost more than the request. */
import type pg from 'pg';
import type { Logger } from '../platform/log.ts';

export interface LastUsedWriter {
  /** The key was used now. Costs a map entry. */
  note(keyId: string): void;
  /** Writes what is waiting and ends the timer. */
  stop(): Promise<void>;
}

/** Every key is written at most once in this time. */
const writeEveryMs = 30_000;
const batchMax = 5_000;

// SKIP LOCKED in id order: two processes that note the same keys never wait for each other, and nothing is lost but seconds.
const writeSql = `
UPDATE api_key k SET last_used_at = greatest(k.last_used_at, x.used_at)
  FROM (SELECT a.id, u.used_at FROM api_key a JOIN unnest($1::text[], $2::timestamptz[]) AS u(id, used_at) ON u.id = a.id
         ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED) x
 WHERE k.id = x.id`;

/** Creates the writer with its timer; the timer does not keep the process alive. */
export function createLastUsedWriter({ pool, log }: { pool: pg.Pool; log: Logger }): LastUsedWriter {
  let waiting = new Map<string, Date>();

  async function flush(): Promise<void> {
    if (waiting.size === 0) return;
    const batch = [...waiting];
    waiting = new Map();
    for (let from = 0; from < batch.length; from += batchMax) {
      const part = batch.slice(from, from + batchMax);
      await pool.query(writeSql, [part.map(([id]) => id), part.map(([, at]) => at)]);
    }
  }
  // The time of last use is a courtesy: when it cannot be written, the next use writes it.
  const flushQuietly = (): Promise<void> =>
    flush().catch((error: unknown) => log.debug({ err: error }, 'The last use of keys was not written.'));
  const timer = setInterval(() => void flushQuietly(), writeEveryMs);
  timer.unref();

  return {
    note: (keyId) => void waiting.set(keyId, new Date()),
    async stop() {
      clearInterval(timer);
      await flushQuietly();
    },
  };
}
