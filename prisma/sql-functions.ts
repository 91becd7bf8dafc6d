/**
 * The SQL functions as source: `prisma/functions/*.sql` hold their current text, and a file that has changed is applied again as a whole.
 * What a file made is recorded in `_surety_functions`, so that a function that has left the files leaves the database too.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type pg from 'pg';

const recordTable = `
CREATE TABLE IF NOT EXISTS _surety_functions (
  file text PRIMARY KEY, checksum varchar(64) NOT NULL, signatures jsonb NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)`;

/** Signatures by the name of the function. */
type Signatures = ReadonlyMap<string, string>;

interface FunctionFile {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  readonly signatures: Signatures;
}

interface RecordedFile {
  readonly file: string;
  readonly checksum: string;
  readonly signatures: Readonly<Record<string, string>>;
}

/**
 * Applies the files that have changed, or of whose functions one is missing, and drops what no file has any more. Call it in a
 * transaction: whoever calls functions meanwhile sees all of the old ones or all of the new.
 * @returns the names of the files that were applied.
 */
export async function applyFunctions(client: pg.ClientBase, folder: string): Promise<string[]> {
  await client.query(recordTable);
  const files = await readFunctionFiles(folder);
  const { rows: recorded } = await client.query<RecordedFile>('SELECT file, checksum, signatures FROM _surety_functions');
  const existing = await existingFunctions(client);
  const checksums = new Map(recorded.map(({ file, checksum }) => [file, checksum]));
  // A migration that drops a table with CASCADE takes the functions that speak of its rows with it.
  const due = files.filter(({ name, checksum, signatures }) =>
    checksums.get(name) !== checksum || [...signatures.keys()].some((one) => !existing.has(one)));

  // Functions may be written in any order, and speak of tables that their first call will find.
  await client.query('SET LOCAL check_function_bodies = off');
  const wanted = signaturesOf(files);
  for (const [name, signature] of recorded.flatMap(({ signatures }) => Object.entries(signatures))) {
    if (wanted.get(name) !== signature && existing.has(name)) await drop(client, name, signature);
  }
  for (const file of due) await apply(client, file);
  await client.query('DELETE FROM _surety_functions WHERE file <> ALL ($1)', [files.map(({ name }) => name)]);
  return due.map(({ name }) => name);
}

async function readFunctionFiles(folder: string): Promise<FunctionFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(names.map(async (name) => {
    const sql = await readFile(path.join(folder, name), 'utf8');
    return { name, sql, checksum: createHash('sha256').update(sql).digest('hex'), signatures: readSignatures(name, sql) };
  }));
}

/**
 * Everything between the name of a function and its body, but for its settings: what CREATE OR REPLACE cannot change.
 * @throws when a function is not written in the one way that is understood here.
 */
function readSignatures(file: string, sql: string): Signatures {
  const found = [...sql.matchAll(/^CREATE OR REPLACE (FUNCTION|PROCEDURE) (\w+)\s*(\([\s\S]*?)\bAS \$\w*\$/gm)];
  const begun = sql.match(/^\s*CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\b/gim)?.length ?? 0;
  if (begun !== found.length) {
    throw new Error(`${file}: each function begins a line with CREATE OR REPLACE FUNCTION and has its body between AS $$ and $$.`);
  }
  return new Map(found.map(([, kind, name = '', rest = '']) => {
    const signature = `${kind} ${rest}`.replace(/\bSET \w+ (?:=|TO) \S+/g, '').replace(/\s+/g, ' ').trim();
    return [name, signature];
  }));
}

/** @throws when two functions have one name: dropping one of them would need more than its name. */
function signaturesOf(files: readonly FunctionFile[]): Signatures {
  const all = new Map<string, string>();
  for (const { name: file, signatures } of files) {
    for (const [name, signature] of signatures) {
      if (all.has(name)) throw new Error(`${file}: the function ${name} is in another file as well.`);
      all.set(name, signature);
    }
  }
  return all;
}

async function existingFunctions(client: pg.ClientBase): Promise<Set<string>> {
  const text = 'SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace';
  const { rows } = await client.query<{ proname: string }>(text);
  return new Set(rows.map(({ proname }) => proname));
}

/** A trigger's function goes with its triggers; they stand in the same file and come back with it. Anything else that needs it stops us. */
async function drop(client: pg.ClientBase, name: string, signature: string): Promise<void> {
  await client.query(`DROP ROUTINE ${name}${/\bRETURNS trigger\b/i.test(signature) ? ' CASCADE' : ''}`);
}

async function apply(client: pg.ClientBase, { name, sql, checksum, signatures }: FunctionFile): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    // The code stays: a wait for a lock that was too long is tried again.
    throw Object.assign(new Error(`${name}: ${(error as Error).message}`, { cause: error }), { code: (error as { code?: unknown }).code });
  }
  await client.query(
    `INSERT INTO _surety_functions (file, checksum, signatures) VALUES ($1, $2, $3)
     ON CONFLICT (file) DO UPDATE SET checksum = excluded.checksum, signatures = excluded.signatures, applied_at = now()`,
    [name, checksum, JSON.stringify(Object.fromEntries(signatures))],
  );
}
