/** The states of all kinds, written into Postgres from the rules: its constraints then know which there are and which are ends. */
import type pg from 'pg';
import { isEnd } from '../domain/decide.ts';
import type { AnyRules } from '../domain/payment.ts';
import { query } from './query.ts';

/**
 * Brings the table up to the rules. Safe from several processes at once; states that no rule has any more stay, old payments may be in
 * them.
 */
export async function writePaymentStates(pool: pg.Pool, all: readonly AnyRules[]): Promise<void> {
  const rows = all.flatMap((rules) => Object.keys(rules.states).map((state) => ({ kind: rules.kind, state, ended: isEnd(rules, state) })));
  await query(pool, {
    text: `INSERT INTO payment_state (kind, state, ended)
           SELECT x.kind, x.state, x.ended FROM unnest($1::text[], $2::text[], $3::boolean[]) AS x(kind, state, ended)
           ON CONFLICT DO NOTHING`,
    values: [rows.map(({ kind }) => kind), rows.map(({ state }) => state), rows.map(({ ended }) => ended)],
  });
}
