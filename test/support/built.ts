/**
 * The product as plain JavaScript, in a folder that git does not see. Processes of the crash tests are started by the dozen; node alone
 * starts one of them in half the time that it takes with tsx, which reads and rewrites every file anew.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync, type JscConfig } from '@swc/core';
import { productFolders } from '../tidy/sources.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const built = path.join(root, '.surety-test', 'programs');

/** Where the compiled form of a source lies, such as `api/main.ts`. */
export function builtFile(source: string): string {
  return path.join(built, source.replace(/\.ts$/, '.js'));
}

/** Compiles what has changed since the last time; takes a second the first time. */
export function buildPrograms(): void {
  for (const folder of productFolders.filter((name) => existsSync(path.join(root, name)))) {
    for (const name of readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (name.endsWith('.ts')) build(path.join(folder, name));
    }
  }
  // What the sources read beside themselves.
  for (const name of ['package.json', 'prisma/migrations', 'prisma/functions']) {
    if (!existsSync(path.join(built, name))) symlinkSync(path.join(root, name), path.join(built, name));
  }
}

function build(source: string): void {
  const [from, to] = [path.join(root, source), builtFile(source)];
  if (existsSync(to) && statSync(to).mtimeMs > statSync(from).mtimeMs) return;
  const { code } = transformSync(readFileSync(from, 'utf8'), {
    filename: from, swcrc: false, module: { type: 'es6' },
    // swc knows the last option longer than its types do.
    jsc: { target: 'es2022', parser: { syntax: 'typescript' }, rewriteRelativeImportExtensions: true } as JscConfig,
  });
  mkdirSync(path.dirname(to), { recursive: true });
  // Renamed when complete: another run of the tests may be starting processes from the same folder.
  writeFileSync(`${to}.${process.pid}`, code);
  renameSync(`${to}.${process.pid}`, to);
}
