/** The repository as the style checks see it: every TypeScript file with its text and its syntax tree. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export interface Source {
  /** From the root of the repository, with slashes: `ledger/audit.ts`. */
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Folders whose code the product runs; `demo`, `bench`, `test` and `scripts` are around it. */
export const productFolders = [
  'domain', 'platform', 'prisma', 'ledger', 'events', 'trust', 'registry', 'policy', 'activities', 'workflows', 'temporal',
  'payments', 'workers', 'api',
] as const;

const skipped = /^(node_modules|dist|coverage|generated|results|\..*)$/;

/** Reads one piece of source; tests of the checks use it on made-up text. */
export function sourceOf(file: string, text: string): Source {
  return { path: file, text, tree: ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true) };
}

/** Paths below `folder` for which `wanted` holds, sorted; packages, results and what is generated are left out. */
export function filesBelow(folder: string, wanted: (file: string) => boolean): string[] {
  const found: string[] = [];
  const visit = (relative: string): void => {
    for (const entry of readdirSync(path.join(root, relative), { withFileTypes: true })) {
      const file = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!skipped.test(entry.name)) visit(file);
      } else if (wanted(file)) found.push(file);
    }
  };
  visit(folder);
  return found.sort();
}

/** Every TypeScript file of the repository. */
export function allSources(): Source[] {
  return filesBelow('', (file) => file.endsWith('.ts')).map((file) => sourceOf(file, readFileSync(path.join(root, file), 'utf8')));
}

export function folderOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

export function isProduct(file: string): boolean {
  return (productFolders as readonly string[]).includes(folderOf(file));
}

/** Programs with a life of their own; they build the world, so they may read the environment and print. */
export function isMain(file: string): boolean {
  return /(^|\/)([a-z-]+-)?main\.ts$/.test(file);
}

/** Calls `visit` for every node of the tree, parents first. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

/** `path:line`, as editors open it. */
export function placeOf({ path: file, tree }: Source, node: ts.Node): string {
  return `${file}:${tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1}`;
}
