/** Calls that have a better replacement here, and texts that must not be in the repository; each check names what to do instead. */
import ts from 'typescript';
import { folderOf, isMain, isProduct, placeOf, walk, type Source } from './sources.ts';

interface Forbidden {
  /** The text of the call or of the property, such as `console.log`. */
  readonly what: RegExp;
  readonly where: (file: string) => boolean;
  readonly instead: string;
}

const inSandbox = (file: string): boolean => ['workflows', 'domain'].includes(folderOf(file));
const forbidden: readonly Forbidden[] = [
  { what: /^process\.env\b/, where: (file) => isProduct(file) && !isMain(file),
    instead: 'take the setting from Env (platform/env.ts), which main.ts reads once' },
  { what: /^console\.\w+$/, where: (file) => isProduct(file) && !isMain(file),
    instead: 'use the Logger (platform/log.ts); only programs talk to the terminal' },
  { what: /^(parseFloat|Number\.parseFloat)$/, where: isProduct,
    instead: 'money is read by parseAmount and computed as bigint (domain/money.ts)' },
  { what: /\.toFixed$/, where: isProduct, instead: 'money is written by formatMicros (domain/money.ts)' },
  { what: /^fetch$/, where: (file) => isProduct(file) && !isMain(file),
    instead: 'call sellers through platform/outbound.ts, which judges the address' },
  { what: /^(setTimeout|setInterval|setImmediate)$/, where: inSandbox,
    instead: 'wait with condition(…, ms) or sleep() of @temporalio/workflow' },
  { what: /^(Math\.random|crypto\.randomUUID|randomUUID|randomBytes)$/, where: inSandbox,
    instead: 'bring ids in as input, or let an activity make them (platform/random.ts)' },
  { what: /^Math\.random$/, where: isProduct, instead: 'use newId (platform/random.ts)' },
  { what: /^process\.exit$/, where: (file) => isProduct(file) && !isMain(file) && file !== 'platform/service.ts',
    instead: 'throw; runService stops the parts in order' },
  { what: /^(eval|Function)$/, where: () => true, instead: 'write the code' },
  { what: /\.\$(queryRawUnsafe|executeRawUnsafe)$/, where: () => true, instead: 'use a prepared statement with parameters' },
];

/** Places that use something forbidden. */
export function forbiddenCalls(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    const rules = forbidden.filter(({ where }) => where(source.path));
    walk(source.tree, (node) => {
      // process.env is read rather than called.
      const callee = ts.isCallExpression(node) || ts.isNewExpression(node) ? node.expression : ts.isPropertyAccessExpression(node)
        && node.getText(source.tree) === 'process.env' ? node : undefined;
      if (callee === undefined) return;
      const text = callee.getText(source.tree);
      for (const { what, instead } of rules) if (what.test(text)) faults.push(`${placeOf(source, node)}: ${text}; instead: ${instead}.`);
    });
  }
  return faults;
}

/** `x as unknown as T` without `// Boundary: why` beside it or directly above it: the compiler is then asked to believe anything. */
export function blindCasts(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    const lines = source.text.split('\n');
    const explained = (line: number): boolean => /\/\/ Boundary: \w.*\w/.test(lines[line] ?? '')
      || /^\s*\/\/ Boundary: \w.*\w/.test(lines[line - 1] ?? '');
    walk(source.tree, (node) => {
      if (!ts.isAsExpression(node) || !ts.isAsExpression(node.expression)) return;
      const { type } = node.expression;
      if (type.kind !== ts.SyntaxKind.UnknownKeyword || explained(source.tree.getLineAndCharacterOfPosition(type.end).line)) return;
      faults.push(`${placeOf(source, type)}: as unknown as ${node.type.getText(source.tree)}; give it the right type, or say why not.`);
    });
  }
  return faults;
}

/** In parts, so that this file is not a hit itself. */
const registryHosts = [['npm', 'js'], ['registry', '\\.npm'], ['proxy', '\\.golang'], ['py', 'pi\\.'], ['python', 'hosted'],
  ['crates', '\\.io'], ['deb', '\\.debian'], ['repo1', '\\.maven']];
/** Paths of one machine, and hosts of package registries: neither means anything to whoever clones this. */
const foreignTexts: readonly { readonly what: RegExp; readonly why: string }[] = [
  { what: new RegExp(`(?<![\\w.$}])/(${['work', 'root', 'Users'].join('|')})/[\\w.-]`), why: 'a path of one machine' },
  { what: new RegExp('(?<![\\w.$}])/home/(?!surety\\b|you\\b)[\\w.-]'), why: 'a path of one machine' },
  { what: new RegExp(registryHosts.map((parts) => parts.join('')).join('|'), 'i'), why: 'the host of a package registry' },
];

/** Lines that hold what belongs to one machine. `files`: path and text of anything that is committed. */
export function foreignLines(files: readonly { readonly path: string; readonly text: string }[]): string[] {
  return files.flatMap(({ path, text }) => text.split('\n').flatMap((line, index) =>
    foreignTexts.filter(({ what }) => what.test(line)).map(({ why }) => `${path}:${index + 1}: ${why}: ${line.trim().slice(0, 120)}`)));
}
