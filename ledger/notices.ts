/**
 * Notices: workflows that have not heard yet what became of their payment. Written with the change itself, forgotten when Temporal has
 * confirmed.
 */
import type pg from 'pg';
import { query } from './query.ts';

/** A payment whose workflow has something to hear. */
export interface Notice {
  readonly id: string;
  readonly kind: string;
  readonly version: number;
}

export interface Notices {
  /** Temporal has confirmed that the workflows know their payments up to these versions. Errors: unavailable. */
  forget(notices: readonly Pick<Notice, 'id' | 'version'>[]): Promise<void>;
  /** Notes that the workflows of these payments have something to hear. Errors: unavailable. */
  note(ids: readonly string[]): Promise<void>;
  /**
   * Notices that nobody has seen to for `ageMs`, claimed for `leaseMs`: other processes leave them alone meanwhile, unless they are written
   * anew. Those that were claimed before come after those that nobody has tried. Errors: unavailable.
   */
  claim(kinds: readonly string[], options: { readonly ageMs: number; readonly leaseMs: number; readonly limit: number }): Promise<Notice[]>;
}

export function createNotices(pool: pg.Pool): Notices {
  return {
    async forget(notices) {
      await query(pool, {
        name: 'notices-forget',
        values: [notices.map(({ id }) => id), notices.map(({ version }) => version)],
        // One that somebody is writing anew is left alone: a transaction may write the notices of several payments, and waiting for it row
        // by row could wait in a ring.
        text: `DELETE FROM workflow_notice WHERE payment_id IN (
                 SELECT n.payment_id FROM unnest($1::text[], $2::integer[]) AS known(id, version)
                   JOIN workflow_notice n ON n.payment_id = known.id
                  WHERE n.version <= known.version FOR UPDATE OF n SKIP LOCKED)`,
      });
    },
    async note(ids) {
      await query(pool, {
        name: 'notices-note',
        values: [ids],
        text: `INSERT INTO workflow_notice (payment_id, kind, version)
               SELECT p.id, p.kind, p.version FROM payment p WHERE p.id = ANY ($1) AND p.deadline IS NOT NULL
               ON CONFLICT (payment_id) DO NOTHING`,
      });
    },
    claim: (kinds, { ageMs, leaseMs, limit }) =>
      query<Notice & pg.QueryResultRow>(pool, {
        name: 'notices-claim',
        values: [kinds, ageMs, leaseMs, limit],
        text: `UPDATE workflow_notice n SET claimed_until = clock_timestamp() + $3 * interval '1 millisecond'
              WHERE n.payment_id = ANY (ARRAY(SELECT x.payment_id FROM workflow_notice x
                                        WHERE x.kind = ANY ($1) AND x.noted_at < clock_timestamp() - $2 * interval '1 millisecond'
                                        AND (x.claimed_until IS NULL OR x.claimed_until < clock_timestamp()
                                             OR x.noted_at > x.claimed_until - $3 * interval '1 millisecond')
                                        ORDER BY x.claimed_until NULLS FIRST, x.noted_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED))
              RETURNING n.payment_id AS id, n.kind, n.version`,
      }),
  };
}
