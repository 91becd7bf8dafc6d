/**
 * The workflow code as Temporal wants it: one script for the sandbox. Bundling takes seconds, so the result is kept until a source changes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { defaultCacheDir } from '../temporal/install.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** All that may reach the sandbox; the layering rules let workflows import nothing else. */
const sources = ['workflows', 'domain'];
const BUNDLES_MAX = 8;

/**
 * Path of the bundled workflows, made now unless these very sources were bundled before.
 * @param cacheDir as CACHE_DIR; `~/.cache/surety` when undefined.
 * @param failureConverterPath what turns errors of workflows into failures, where that is not the SDK's own.
 * @throws when the bundle does not build, for instance because a workflow imports what the sandbox forbids.
 */
export async function workflowBundle(cacheDir?: string, failureConverterPath?: string): Promise<{ codePath: string }> {
  const folder = path.join(cacheDir ?? defaultCacheDir(), 'workflows');
  const codePath = path.join(folder, `${await sourcesHash(failureConverterPath)}.cjs`);
  if (existsSync(codePath)) {
    const now = new Date();
    await utimes(codePath, now, now).catch(() => undefined);
    return { codePath };
  }
  // Compiled code lies beside compiled code: in a built tree the entry ends in .js.
  const entry = ['index.ts', 'index.js'].map((name) => path.join(root, 'workflows', name)).find((file) => existsSync(file));
  if (entry === undefined) throw new Error('workflows/index.ts is missing.');
  const { code } = await bundleWorkflowCode({ workflowsPath: entry, failureConverterPath, logger: new DefaultLogger('WARN') });
  await mkdir(folder, { recursive: true });
  const temporary = `${codePath}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, code);
  await rename(temporary, codePath);
  await removeOld(folder);
  return { codePath };
}

/** Changes with every source the bundle could contain, the SDK, and the place of the tree (stack traces name files). */
async function sourcesHash(failureConverterPath = ''): Promise<string> {
  const hash = createHash('sha256').update(`${root}\0${failureConverterPath}`);
  const sdk = createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string };
  hash.update(sdk.version);
  for (const folder of sources) {
    const names = (await readdir(path.join(root, folder), { recursive: true })).filter((name) => /\.[cm]?[jt]s$/.test(name)).sort();
    for (const name of names) hash.update(`\0${folder}/${name}\0`).update(await readFile(path.join(root, folder, name)));
  }
  return hash.digest('hex').slice(0, 24);
}

/** Of the files that nobody used for longest; a worker reads its bundle once, at its start. */
async function removeOld(folder: string): Promise<void> {
  const files = await Promise.all((await readdir(folder)).map(async (name) => {
    const file = path.join(folder, name);
    return { file, usedAt: (await stat(file).catch(() => undefined))?.mtimeMs ?? 0 };
  }));
  files.sort((a, b) => b.usedAt - a.usedAt);
  await Promise.all(files.slice(BUNDLES_MAX).map(({ file }) => rm(file, { force: true })));
}
