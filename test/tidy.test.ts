/** The style of the house, checked. Every check is a function of test/tidy, tried here on code that breaks its rule as well. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { blindCasts, forbiddenCalls, foreignLines } from './tidy/calls.ts';
import { orphans, wrongLayers, wrongPackages, type Layers } from './tidy/imports.ts';
import { longFiles, longFunctions, longLines, withoutComment } from './tidy/shape.ts';
import { allSources, isProduct, productFolders, root, sourceOf } from './tidy/sources.ts';
import { sharedNames, starLists } from './tidy/sql.ts';

const sources = allSources();
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0')
  .filter((name) => name !== '' && existsSync(path.join(root, name)) && !/\.(png|jpg|ico|woff2?)$/.test(name))
  .map((name) => ({ path: name, text: read(name) }));
// Not a literal: the compiler would want types for a file that has none.
const eslintConfig = '../eslint.config.js';
const { layers } = (await import(eslintConfig)) as { layers: Layers };

/** Jest's message is then the list to work on. */
function nothing(faults: readonly string[]): void {
  expect(faults).toEqual([]);
}

describe('the repository', () => {
  test('has sources to check', () => {
    expect(sources.length).toBeGreaterThan(100);
    for (const folder of ['domain', 'ledger', 'api', 'workflows', 'test']) expect(sources.some((source) =>
      source.path.startsWith(`${folder}/`))).toBe(true);
  });
  test('imports only downwards', () => nothing(wrongLayers(sources, layers)));
  test('keeps packages in their part of the house', () => nothing(wrongPackages(sources)));
  test('has no file that nobody uses', () => nothing(orphans(sources, [read('package.json'), read('.ci/run')].join('\n'))));
  test('has no long line', () => nothing(longLines(tracked)));
  test('has no long file', () => nothing(longFiles(sources)));
  test('has no long function', () => nothing(longFunctions(sources.filter((source) => !source.path.startsWith('test/')))));
  test('calls nothing that has a better replacement', () => nothing(forbiddenCalls(sources)));
  test('says why where it overrules the compiler', () => nothing(blindCasts(sources)));
  test('names the columns that it reads', () => nothing(starLists(sources)));
  test('gives every prepared statement a name of its own', () => nothing(sharedNames(sources)));
  test('says of everything it offers what it is for', () => nothing(withoutComment(sources.filter((source) => isProduct(source.path)))));
  test('names no path of one machine and no package registry', () => nothing(foreignLines(tracked)));
  test('has one table of layers: that of ESLint is that of docs/architecture.md', () => {
    const rows = [...read('docs/architecture.md').matchAll(/^\| `([a-z]+)\/` \|[^|]*\| ([^|]*) \|$/gm)].map(([, folder = '', may = '']) =>
      [folder, [...may.matchAll(/`([a-z]+)`/g)].map((match) => match[1])]);
    const written = Object.fromEntries(rows) as Record<string, string[]>;
    for (const folder of productFolders.filter((name) => existsSync(path.join(root, name)))) {
      // ESLint knows the folders to come as well; the page tells of those that are there.
      const existing = (layers[folder] ?? []).filter((name) => existsSync(path.join(root, name)));
      expect([folder, (written[folder] ?? []).toSorted()]).toEqual([folder, existing.toSorted()]);
    }
  });
});

describe('the checks find', () => {
  const some: Layers = { domain: [], ledger: ['domain'], api: ['ledger', 'domain'], workflows: ['domain'], activities: ['domain'] };
  const found = (check: (sources: ReturnType<typeof sourceOf>[]) => string[], file: string, text: string): string[] =>
    check([sourceOf(file, text)]);

  test.each([
    ['a layer that points up', 'ledger/a.ts', "import { x } from '../api/b.ts';", 1],
    ['a re-export that points up', 'ledger/a.ts', "export { x } from '../api/b.ts';", 1],
    ['a dynamic import that points up', 'domain/a.ts', "const b = await import('../ledger/b.ts');", 1],
    ['a type that points up', 'domain/a.ts', "type B = import('../ledger/b.ts').B;", 1],
    ['a value of an activity in a workflow', 'workflows/a.ts', "import { run } from '../activities/b.ts';", 1],
    ['a test in the product', 'api/main.ts', "import { x } from '../test/support/b.ts';", 1],
    ['nothing where a workflow imports a type of an activity', 'workflows/a.ts', "import type { Run } from '../activities/b.ts';", 0],
    ['nothing where code points down', 'api/a.ts', "import { x } from '../ledger/b.ts'; import { y } from './c.ts'; import z from 'zod';",
      0],
    ['nothing in a main file', 'ledger/fold-main.ts', "import { x } from '../api/b.ts';", 0],
  ])('%s', (_what, file, text, count) => expect(found((all) => wrongLayers(all, some), file, text)).toHaveLength(count));

  test.each([
    ['a database in a workflow', 'workflows/a.ts', "import pg from 'pg';", 1],
    ['a module of Node in the domain', 'domain/a.ts', "import { readFile } from 'node:fs/promises';", 1],
    ['undici beside the outbound client', 'activities/a.ts', "import { request } from 'undici';", 1],
    ['Express below the edge', 'registry/a.ts', "import express from 'express';", 1],
    ['nothing in the right home', 'platform/outbound.ts', "import { Agent } from 'undici';", 0],
    ['nothing in a test', 'test/a.ts', "import express from 'express';", 0],
  ])('%s', (_what, file, text, count) => expect(found(wrongPackages, file, text)).toHaveLength(count));

  test.each([
    ['process.env outside a main file', 'ledger/a.ts', "const port = process.env['PORT'];", 1],
    ['console.log in the product', 'api/a.ts', "console.log('here');", 1],
    ['parseFloat', 'domain/a.ts', "const amount = parseFloat('1.5');", 1],
    ['toFixed', 'api/a.ts', 'const text = amount.toFixed(2);', 1],
    ['fetch', 'activities/a.ts', "await fetch('http://seller');", 1],
    ['a timer in a workflow', 'workflows/a.ts', 'setTimeout(run, 10);', 1],
    ['chance in a workflow', 'workflows/a.ts', 'const id = Math.random();', 2],
    ['an exit in the middle', 'registry/a.ts', 'process.exit(1);', 1],
    ['SQL put together from text', 'registry/a.ts', 'await db.$queryRawUnsafe(`SELECT ${x}`);', 1],
    ['nothing in a main file', 'api/main.ts', "console.log(process.env['PORT']); await fetch('http://x');", 0],
    ['nothing in words', 'api/a.ts', "// console.log and process.env\nconst text = 'fetch(x)';", 0],
    ['nothing in the demo', 'demo/a.ts', "console.log((1).toFixed(2), process.env['X']);", 0],
  ])('%s', (_what, file, text, count) => expect(found(forbiddenCalls, file, text)).toHaveLength(count));

  test.each([
    ['all columns of a table', "await query('things', 'SELECT * FROM thing', []);", 1],
    ['all columns of one table of two', "const text = 'SELECT a.id, b.* FROM a JOIN b ON true';", 1],
    ['all columns of a row that a function returns', 'const text = `SELECT r.outcome, (r.e).* FROM ${name}($1) r`;', 1],
    ['all columns and one more', 'const text = `\nSELECT *, a + b AS sum FROM thing`;', 1],
    ['all columns after another', 'const text = `SELECT x, * FROM thing WHERE ${rest}`;', 1],
    ['all columns of what was written', "const text = 'UPDATE thing SET a = 1 RETURNING *';", 1],
    ['nothing in a count', "const text = 'SELECT count(*) AS n, count(*)::integer FROM thing';", 0],
    ['nothing in a product', "const text = `SELECT $1 * interval '1 millisecond', a * b FROM thing`;", 0],
    ['nothing in what is no SQL', "const glob = 'test/**/*.ts'; const text = 'Choose *, or SELECTED.';", 0],
  ])('%s', (_what, text, count) => expect(found(starLists, 'ledger/a.ts', text)).toHaveLength(count));
  test('nothing in the SQL of a test', () => expect(found(starLists, 'test/a.ts', "const text = 'SELECT * FROM thing';")).toHaveLength(0));

  test('a name that prepared statements of two files share', () => {
    const a = sourceOf('ledger/a.ts', "await pool.query({ name: 'claim', text: 'SELECT 1' });");
    expect(sharedNames([a, sourceOf('workers/b.ts', "const sql = { name: 'claim', values: [], text: CLAIM };")])).toHaveLength(1);
    const b = sourceOf('workers/b.ts', "const sql = { name: 'other', text: 'SELECT 1' }, job = { name: 'claim' };");
    expect(sharedNames([a, b])).toHaveLength(0);
  });

  test('files and functions that are too long, and only those', () => {
    const body = (lines: number): string => `/** Long. */\nexport function long(): void {\n${'  run();\n'.repeat(lines)}}\n`;
    expect(found(longFunctions, 'api/a.ts', body(69))).toHaveLength(1);
    expect(found(longFunctions, 'api/a.ts', body(68))).toHaveLength(0);
    expect(found(longFunctions, 'api/a.ts', body(60).replace('{\n', `{\n${'  // why\n\n'.repeat(40)}`))).toHaveLength(0);
    expect(found(longFunctions, 'api/a.ts', `const f = async () => {\n${'  await run();\n'.repeat(70)}};\n`)).toHaveLength(1);
    expect(found(longFiles, 'api/a.ts', 'x();\n'.repeat(301))).toHaveLength(1);
    expect(found(longFiles, 'api/a.ts', 'x();\n'.repeat(300))).toHaveLength(0);
  });

  test.each([
    ['a line that is too long', 'api/a.ts', `${'x'.repeat(141)}\n`, 1], ['a long line of SQL', 'prisma/a.sql', `${'é'.repeat(141)}\nx`, 1],
    ['each long line of a script', 'scripts/a.mjs', `${'x'.repeat(141)}\ny\n${'x'.repeat(200)}`, 2],
    ['nothing in a line of just that length', 'api/a.ts', `${'é'.repeat(140)}\n`, 0],
    ['nothing in prose', 'docs/a.md', 'x'.repeat(141), 0],
    ['nothing in what is generated', 'prisma/generated/a.ts', 'x'.repeat(141), 0],
    ['nothing in a recorded history', 'test/workflows/histories/a.ts', 'x'.repeat(141), 0],
  ])('%s', (_what, file, text, count) => expect(longLines([{ path: file, text }])).toHaveLength(count));

  test.each([
    ['a cast without a reason', 'const a = b as unknown as C;', 1],
    ['a cast below a boundary without a reason', '// Boundary:\nconst a = b as unknown as C;', 1],
    ['a cast that is further away', '// Boundary: the server sends what it likes.\nconst c = 1;\nconst a = b as unknown as C;', 1],
    ['a cast that another cast explains', 'const a = b as unknown as C; // Boundary: why\nconst d = e as unknown as F;', 1],
    ['nothing below a reason', '// Boundary: the SDK has no type for it.\nconst a = b as unknown as C;', 0],
    ['nothing beside a reason', 'const a = b as unknown as C; // Boundary: the SDK has no type for it.', 0],
    ['nothing in another cast, or in words', "const a = b as C, d = 'b as unknown as C'; // b as unknown as C", 0],
  ])('%s', (_what, text, count) => expect(found(blindCasts, 'test/a.ts', text)).toHaveLength(count));

  test.each([
    ['a function without a word', "import x from 'x';\nexport function f(): void {}\n", 1],
    ['a type without a word', "import x from 'x';\nexport interface A { b: number }\nexport type C = A;\n", 2],
    ['a function in a constant', "import x from 'x';\nexport const f = () => x;\n", 1],
    ['the second export under a comment about the first', '/** About f. */\nexport function f(): void {}\nexport function g(): void {}\n',
      1],
    ['nothing under a comment at the head', "/** What this file is for. */\nimport x from 'x';\nexport function f(): void {}\n", 0],
    ['nothing in what is not exported, or is a value', "import x from 'x';\nfunction f(): void {}\nexport const MAX = 3;\n", 0],
  ])('%s', (_what, text, count) => expect(found(withoutComment, 'ledger/a.ts', text)).toHaveLength(count));

  test('files that nobody uses, and those that only tests use', () => {
    const files = [
      sourceOf('api/main.ts', "import { x } from './used.ts'; start('helper.ts');"), sourceOf('api/used.ts', "export * from './deep.ts';"),
      sourceOf('api/deep.ts', ''),
      sourceOf('api/helper.ts', ''), sourceOf('api/alone.ts', ''), sourceOf('api/tested.ts', ''),
      sourceOf('test/a.test.ts', "import { x } from '../api/tested.ts';"),
      sourceOf('test/run.ts', ''), sourceOf('test/support/alone.ts', ''),
    ];
    const faults = orphans(files, '"test": "node test/run.ts"');
    expect(faults.map((fault) => fault.slice(0, fault.indexOf(':')))).toEqual(['api/alone.ts', 'api/tested.ts', 'test/support/alone.ts']);
  });

  test('what belongs to one machine', () => {
    const lines = (text: string): number => foreignLines([{ path: 'docs/a.md', text }]).length;
    const slash = '/';
    expect(lines(`see ${slash}work${slash}main\nand ${slash}root${slash}.cache\nand ${slash}home${slash}ann/x`)).toBe(3);
    expect(lines(`https:${slash}${slash}registry.${'npm'}js.org`)).toBe(1);
    expect(lines('api/routes/work/x and ~/.cache/surety and docs/work')).toBe(0);
  });
});
