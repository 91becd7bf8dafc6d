/**
 * `node scripts/run.mjs api/main.ts`: runs a program of the platform from a compiled form, which is made when the sources have changed.
 * With `--compile` before the names of programs it only makes that form, for images of containers.
 * Reading and rewriting hundreds of files at each start, in each thread, was most of the time between a crash and the next payment.
 *
 * A program becomes a few files in a folder of `node_modules/.cache/surety` that is named after everything it was made from; packages stay
 * outside. Each module goes on believing that it lies where its source lies. Where nothing can be written there, it runs under tsx.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import * as nodeModule from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = path.join(root, 'node_modules', '.cache', 'surety');
/** Nothing in them is part of a program of the platform. */
const outside = new Set(['node_modules', 'test', 'bench', 'demo', 'docs', 'scripts', 'dist', 'coverage']);
const KEPT_MAX = 12;
/** Packages of hundreds of modules that know no place of their own: of them a program contains what it uses. */
const inlined = new Set(['ethers', 'zod']);

/** Path of the compiled form of a program, made now unless these very sources were compiled before. */
async function compiled(program) {
  const folder = path.join(cache, `${program.replace(/\W+/g, '-')}-${sourcesHash()}`);
  if (!existsSync(folder)) {
    // Renamed when complete: others may be starting the same program.
    const temporary = `${folder}.${randomBytes(4).toString('hex')}`;
    mkdirSync(temporary, { recursive: true });
    for (const { path: file, contents } of await bundle(program)) writeFileSync(path.join(temporary, path.basename(file)), contents);
    if (existsSync(folder)) rmSync(temporary, { recursive: true });
    else renameSync(temporary, folder);
    removeOld();
  }
  touch(folder);
  return path.join(folder, 'main.mjs');
}

/** What is used is not removed. In an image of a container it cannot be touched, and nothing is removed there. */
function touch(folder) {
  const now = new Date();
  try {
    utimesSync(folder, now, now);
  } catch (error) {
    if (!isDenied(error)) throw error;
  }
}

const isDenied = ({ code }) => ['EACCES', 'EPERM', 'EROFS'].includes(code);

function sourcesHash() {
  const { version } = createRequire(import.meta.url)('esbuild/package.json');
  const hash = createHash('sha256').update(`${root}\0${version}\0`);
  for (const name of ['package-lock.json', 'scripts/run.mjs']) hash.update(readFileSync(path.join(root, name)));
  const visit = (folder) => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!outside.has(entry.name) && !entry.name.startsWith('.')) visit(name);
      } else if (name.endsWith('.ts')) hash.update(`\0${name}\0`).update(readFileSync(path.join(root, name)));
    }
  };
  visit('');
  return hash.digest('hex').slice(0, 24);
}

async function bundle(program) {
  const { build } = await import('esbuild');
  const itsOwnPlace = {
    name: 'its-own-place',
    setup: ({ onLoad }) => onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
      const text = readFileSync(file, 'utf8');
      return { loader: 'ts', contents: text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(file).href)) };
    }),
  };
  const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const external = Object.keys(dependencies).filter((name) => !inlined.has(name)).flatMap((name) => [name, `${name}/*`]);
  const { outputFiles } = await build({
    entryPoints: [{ in: path.join(root, program), out: 'main' }], absWorkingDir: root, outdir: root, outExtension: { '.js': '.mjs' },
    // What is imported later is read later.
    bundle: true, splitting: true, external, write: false, platform: 'node', format: 'esm', target: 'node20',
    sourcemap: 'inline', sourcesContent: false, sourceRoot: pathToFileURL(root).href, plugins: [itsOwnPlace], logLevel: 'silent',
  });
  return outputFiles;
}

/** Of the folders that nobody used for longest. What a program of long ago has still to import, it has imported long ago. */
function removeOld() {
  const folders = readdirSync(cache).map((name) => path.join(cache, name));
  const usedAt = new Map(folders.map((folder) => [folder, statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? 0]));
  const old = folders.sort((a, b) => usedAt.get(b) - usedAt.get(a)).slice(KEPT_MAX);
  for (const folder of old) rmSync(folder, { recursive: true, force: true });
}

async function run(program) {
  const source = path.join(root, program);
  process.argv.splice(1, 2, source);
  process.setSourceMapsEnabled(true);
  // Node 22 and later keep what their compiler has made of packages, too.
  nodeModule.enableCompileCache?.(path.join(root, 'node_modules', '.cache', 'surety-node'));
  let file;
  try {
    file = await compiled(program);
  } catch (error) {
    if (!isDenied(error)) throw error;
    (await import('tsx/esm/api')).register();
    file = source;
  }
  await import(pathToFileURL(file).href);
}

const [program, ...others] = process.argv.slice(2);
if (program === '--compile') for (const name of others) await compiled(name);
else await run(program);
