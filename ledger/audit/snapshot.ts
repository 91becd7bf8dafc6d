/**
 * How an audit reads: everything in one snapshot, so that payments under way cannot look like errors, and in many short statements, so
 * that nothing waits for it and it can be stopped between any two.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { tables, type Rule, type Sums, type Table, type TableName, type Within } from './rule.ts';

/** How hard an audit may work. */
export interface Pace {
  /** After each statement it rests so many times as long as that took; not at all when left out. */
  readonly restFactor?: number;
  readonly signal?: AbortSignal;
  /** Called after each statement. */
  readonly onStatement?: () => Promise<void>;
}

/** Rows that break a rule. */
export interface Broken {
  readonly count: number;
  /** The first few of them. */
  readonly examples: readonly string[];
}

export interface Snapshot {
  readonly query: <Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<Row[]>;
  readonly addUp: (sums: readonly Sums[]) => Promise<void>;
  readonly check: (rules: readonly Rule[]) => Promise<Map<Rule, Broken>>;
}

const EXAMPLES = 5;
/** Slices take much less, see `tables`. */
const STATEMENT_MS_MAX = 30_000;

// Slices are large and what belongs to their rows is found row by row: the planner knows nothing of tables that were just made, and must
// not read a whole table for each slice.
const settings = [
  `SET LOCAL statement_timeout = ${STATEMENT_MS_MAX}`, 'SET LOCAL jit = off',
  'SET LOCAL enable_seqscan = off', 'SET LOCAL enable_hashjoin = off',
  'SET LOCAL enable_mergejoin = off',
];

/** Runs an audit. @throws what the database throws, and the reason of the signal. */
export async function inSnapshot<T>(pool: pg.Pool, pace: Pace, run: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    for (const setting of settings) await client.query(setting);
    const result = await run(snapshotOn(client, pace));
    await client.query('ROLLBACK');
    client.release();
    return result;
  } catch (error) {
    const undone = await client.query('ROLLBACK').then(() => true, () => false);
    client.release(!undone);
    throw error;
  }
}

function snapshotOn(client: pg.PoolClient, { restFactor = 0, signal, onStatement }: Pace): Snapshot {
  const query: Snapshot['query'] = async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) => {
    signal?.throwIfAborted();
    const startedAt = performance.now();
    const { rows } = await client.query<Row>(text, [...values]);
    const restMs = (performance.now() - startedAt) * restFactor;
    await onStatement?.();
    if (restFactor > 0) await sleep(restMs, undefined, { signal, ref: false });
    return rows;
  };

  async function* slicesOf(name: TableName): AsyncGenerator<string[]> {
    const { key, start, rows }: Table = tables[name];
    const list = key.join(', ');
    const text = `SELECT ${list} FROM (SELECT ${list} FROM ${name} WHERE (${list}) > (${parameters(key, 0)})
                     ORDER BY ${list} LIMIT ${rows}) s
                   ORDER BY ${key.map((column) => `${column} DESC`).join(', ')} LIMIT 1`;
    for (let after = start; ;) {
      const [last] = await query<Record<string, unknown>>(text, after);
      if (last === undefined) return;
      const upTo = key.map((column) => String(last[column]));
      yield [...after, ...upTo];
      after = upTo;
    }
  }

  const addUp: Snapshot['addUp'] = async (sums) => {
    for (const { name, of, columns } of sums) {
      await query(`CREATE TEMP TABLE ${name} (of ${of} PRIMARY KEY, ${columns.map((column) => `${column} numeric NOT NULL`).join(', ')})
                     ON COMMIT DROP`);
    }
    const sources = sums.flatMap(({ from, ...sum }) => from.map((source) => ({ ...source, ...sum })));
    for (const [table, some] of byTable(sources)) {
      for await (const slice of slicesOf(table)) {
        for (const { name, columns, sql } of some) {
          await query(`INSERT INTO ${name} (of, ${columns.join(', ')}) ${sql(withinOf(table))}
            ON CONFLICT (of) DO UPDATE SET ${columns.map((column) => `${column} = ${name}.${column} + excluded.${column}`).join(', ')}`,
          slice);
        }
      }
    }
  };

  const check: Snapshot['check'] = async (rules) => {
    const broken = new Map<Rule, Broken>();
    const ask = async (rule: Rule, slice: readonly string[]): Promise<void> => {
      const faults = rule.sql(rule.over === null ? () => 'true' : withinOf(rule.over));
      const [found] = await query<{ count: number; examples: string[] | null }>(
        `SELECT count(*)::integer AS count, (array_agg(row ORDER BY row))[1:${EXAMPLES}] AS examples FROM (${faults}) fault`, slice);
      if (found === undefined || found.count === 0) return;
      const { count, examples } = broken.get(rule) ?? { count: 0, examples: [] };
      broken.set(rule, { count: count + found.count, examples: [...examples, ...(found.examples ?? [])].slice(0, EXAMPLES) });
    };
    for (const [table, some] of byTable(rules)) {
      if (table === null) for (const rule of some) await ask(rule, []);
      else for await (const slice of slicesOf(table)) for (const rule of some) await ask(rule, slice);
    }
    return broken;
  };
  return { query, addUp, check };
}

/** What is asked of one table, together: each slice of it is found once. */
function byTable<Item extends { readonly over: TableName | null }>(items: readonly Item[]): [table: Item['over'], items: Item[]][] {
  return [...new Set(items.map(({ over }) => over))].map((table) => [table, items.filter(({ over }) => over === table)]);
}

const parameters = (key: readonly string[], before: number): string => key.map((_, n) => `$${before + n + 1}`).join(', ');

function withinOf(name: TableName): Within {
  const { key }: Table = tables[name];
  return (alias) => {
    const row = `(${key.map((column) => `${alias}.${column}`).join(', ')})`;
    return `${row} > (${parameters(key, 0)}) AND ${row} <= (${parameters(key, key.length)})`;
  };
}
