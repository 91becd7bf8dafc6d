/** What SQL in the product must not say. */
import ts from 'typescript';
import { isProduct, placeOf, walk, type Source } from './sources.ts';

const looksLikeSql = /\b(?:SELECT|RETURNING)\b/;
/** `SELECT *`, `, *`, `t.*` and `(t.row).*`; `count(*)` and products are something else. */
const star = /(?:\b(?:SELECT|RETURNING|ALL|DISTINCT)|,)\s*\*|[\w)"]\.\*/;

/**
 * Statements whose list of columns is `*`. Nearly all statements of the product are prepared: when a migration has added a column, each
 * connection that knows the statement fails once with "cached plan must not change result type".
 */
export function starLists(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  for (const source of sources.filter(({ path }) => isProduct(path))) {
    walk(source.tree, (node) => {
      if (!ts.isStringLiteralLike(node) && !ts.isTemplateExpression(node)) return;
      const text = node.getText(source.tree);
      if (looksLikeSql.test(text) && star.test(text)) {
        const found = star.exec(text)?.[0].trim();
        faults.push(`${placeOf(source, node)}: ${found} in a statement; name the columns (columnList of ledger/query.ts).`);
      }
    });
  }
  return faults;
}

/**
 * Names of prepared statements (`{ name, text }`) that are given in more than one file. A connection that has prepared the one refuses the
 * other for ever: "Prepared statements must be unique". Both sweepers of notices had one name, and took turns in failing.
 */
export function sharedNames(sources: readonly Source[]): string[] {
  const places = new Map<string, Set<string>>();
  for (const source of sources.filter(({ path }) => isProduct(path))) {
    walk(source.tree, (node) => {
      if (!ts.isObjectLiteralExpression(node)) return;
      const valueOf = (name: string): ts.Expression | undefined => node.properties
        .filter(ts.isPropertyAssignment).find((property) => property.name.getText(source.tree) === name)?.initializer;
      const name = valueOf('name');
      if (name === undefined || !ts.isStringLiteralLike(name) || valueOf('text') === undefined) return;
      places.set(name.text, (places.get(name.text) ?? new Set()).add(source.path));
    });
  }
  return [...places].filter(([, paths]) => paths.size > 1)
    .map(([name, paths]) => `${name} names statements of ${[...paths].join(' and ')}; give each a name of its own.`);
}
