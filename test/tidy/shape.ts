/** The size of files and functions, and the comments on what a file offers. */
import ts from 'typescript';
import { placeOf, walk, type Source } from './sources.ts';

export const LINE_MAX = 140;
export const FILE_LINES_MAX = 300;
export const FUNCTION_LINES_MAX = 70;

export function longFiles(sources: readonly Source[], max = FILE_LINES_MAX): string[] {
  return sources.flatMap(({ path, text }) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    return lines > max ? [`${path}: ${lines} lines, at most ${max}; let a part of it move out.`] : [];
  });
}

/** Lines with too many characters, in TypeScript, SQL and JavaScript; what is generated or recorded is as long as it is. */
export function longLines(files: readonly { readonly path: string; readonly text: string }[], max = LINE_MAX): string[] {
  const written = files.filter(({ path }) => /\.(ts|sql|mjs|js)$/.test(path)
    && !/(^|\/)generated\/|^test\/workflows\/histories\//.test(path));
  return written.flatMap(({ path, text }) => text.split('\n').flatMap((line, index) =>
    line.length > max ? [`${path}:${index + 1}: ${line.length} characters, at most ${max}; break the line.`] : []));
}

/** Functions with too many lines of code; blank lines and lines of comment only do not count. */
export function longFunctions(sources: readonly Source[], max = FUNCTION_LINES_MAX): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    let isCode: readonly boolean[] | undefined;
    walk(source.tree, (node) => {
      if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return;
      const from = source.tree.getLineAndCharacterOfPosition(node.getStart(source.tree)).line;
      const to = source.tree.getLineAndCharacterOfPosition(node.end).line;
      if (to - from < max) return;
      const lines = (isCode ??= codeLines(source)).slice(from, to + 1).filter(Boolean).length;
      if (lines > max) faults.push(
        `${placeOf(source, node)}: ${nameOf(node)} has ${lines} lines, at most ${max}; give its steps names of their own.`);
    });
  }
  return faults;
}

/** For each line of the file: does it hold any code? */
function codeLines({ text, tree }: Source): boolean[] {
  const lines = text.split('\n').map(() => false);
  const mark = (node: ts.Node): void => {
    if (node.getChildCount(tree) > 0) {
      for (const child of node.getChildren(tree)) mark(child);
      return;
    }
    if (node.getWidth(tree) === 0 || (node.kind >= ts.SyntaxKind.FirstJSDocNode && node.kind <= ts.SyntaxKind.LastJSDocNode)) return;
    const from = tree.getLineAndCharacterOfPosition(node.getStart(tree)).line;
    const to = tree.getLineAndCharacterOfPosition(node.end).line;
    for (let line = from; line <= to; line += 1) lines[line] = true;
  };
  mark(tree);
  return lines;
}

function nameOf(node: ts.SignatureDeclaration): string {
  const named = node.name ?? (ts.isVariableDeclaration(node.parent) || ts.isPropertyAssignment(node.parent) ? node.parent.name : undefined);
  return named === undefined ? 'a function' : named.getText();
}

/**
 * Exported functions, classes and types that say nothing about themselves: no comment above them and none at the head of the file.
 * A file that offers one thing may describe it at its head.
 */
export function withoutComment(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    if (hasHeadComment(source)) continue;
    for (const statement of source.tree.statements) {
      if (!isExported(statement) || hasComment(source, statement)) continue;
      for (const name of offeredBy(statement)) faults.push(
        `${placeOf(source, statement)}: ${name} is exported without a sentence that says what it is for.`);
    }
  }
  return faults;
}

function hasHeadComment({ text, tree }: Source): boolean {
  const first = ts.getLeadingCommentRanges(text, 0)?.[0];
  const begin = tree.statements[0];
  if (first === undefined || begin === undefined) return false;
  // A comment that stands right above an export is about that export, and about nothing else.
  return ts.isImportDeclaration(begin) || !isExported(begin) || /\n\s*\n/.test(text.slice(first.end, begin.getStart(tree)));
}

function hasComment({ text }: Source, node: ts.Node): boolean {
  return (ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []).length > 0;
}

function isExported(node: ts.Statement): boolean {
  return ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword);
}

function offeredBy(node: ts.Statement): string[] {
  if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
    return [node.name?.text ?? 'the default'];
  }
  if (!ts.isVariableStatement(node)) return [];
  const functions = node.declarationList.declarations.filter(({ initializer }) => initializer !== undefined
    && (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)));
  return functions.map(({ name }) => name.getText());
}
