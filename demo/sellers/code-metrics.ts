/** Work a demo seller does: reads TypeScript or JavaScript source with the real parser and measures it. */
import ts from 'typescript';

/** One function of the source. `complexity` counts the ways through it: 1, and one more for each decision. */
export interface FunctionMetrics {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  readonly complexity: number;
}

/** What the seller answers. */
export interface CodeMetrics {
  readonly lines: number;
  readonly codeLines: number;
  readonly commentLines: number;
  readonly blankLines: number;
  readonly functions: readonly FunctionMetrics[];
  readonly longestFunction: FunctionMetrics | null;
  readonly mostComplexFunction: FunctionMetrics | null;
}

/** Measures a source text. Text that does not parse is measured as far as the parser understood it, never refused. */
export function codeMetrics(source: string, fileName = 'source.ts'): CodeMetrics {
  const file = ts.createSourceFile(fileName, source, ts.ScriptTarget.Latest, /* setParentNodes */ true);
  const functions: FunctionMetrics[] = [];
  const visit = (node: ts.Node): void => {
    if (isFunctionWithBody(node)) functions.push(measure(node, file));
    ts.forEachChild(node, visit);
  };
  visit(file);
  return {
    ...countLines(source, file),
    functions,
    longestFunction: largest(functions, (item) => item.lines),
    mostComplexFunction: largest(functions, (item) => item.complexity),
  };
}

function isFunctionWithBody(node: ts.Node): node is ts.FunctionLikeDeclaration & { body: ts.Node } {
  return ts.isFunctionLike(node) && 'body' in node && node.body !== undefined;
}

function measure(node: ts.FunctionLikeDeclaration, file: ts.SourceFile): FunctionMetrics {
  const first = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
  const last = file.getLineAndCharacterOfPosition(node.getEnd()).line;
  return { name: nameOf(node, file), line: first + 1, lines: last - first + 1, complexity: 1 + decisionsIn(node) };
}

/** An arrow function is called by the variable or property that holds it; one that is merely passed on has no name. */
function nameOf(node: ts.FunctionLikeDeclaration, file: ts.SourceFile): string {
  if (ts.isConstructorDeclaration(node)) return 'constructor';
  if (node.name !== undefined) return node.name.getText(file);
  const { parent } = node;
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)
    || ts.isPropertyDeclaration(parent)) return parent.name.getText(file);
  return '(anonymous)';
}

/** Decisions of the function itself; those of functions inside it count for those. */
function decisionsIn(root: ts.Node): number {
  let decisions = 0;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return;
    if (isDecision(node)) decisions += 1;
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(root, visit);
  return decisions;
}

const decisionKinds = new Set([
  ts.SyntaxKind.IfStatement, ts.SyntaxKind.ConditionalExpression, ts.SyntaxKind.ForStatement, ts.SyntaxKind.ForInStatement,
  ts.SyntaxKind.ForOfStatement, ts.SyntaxKind.WhileStatement, ts.SyntaxKind.DoStatement, ts.SyntaxKind.CaseClause,
  ts.SyntaxKind.CatchClause,
]);
const decisionOperators = new Set([ts.SyntaxKind.AmpersandAmpersandToken, ts.SyntaxKind.BarBarToken, ts.SyntaxKind.QuestionQuestionToken]);

function isDecision(node: ts.Node): boolean {
  return decisionKinds.has(node.kind) || (ts.isBinaryExpression(node) && decisionOperators.has(node.operatorToken.kind));
}

/** A line with code is a code line, whatever else stands on it; a line of nothing but comment is a comment line. */
function countLines(source: string, file: ts.SourceFile): Pick<CodeMetrics, 'lines' | 'codeLines' | 'commentLines' | 'blankLines'> {
  const lines = source === '' ? [] : source.replace(/\r?\n$/, '').split(/\r?\n/);
  const withCode = new Set<number>();
  const mark = (node: ts.Node): void => {
    // Only tokens are marked: a node spans the comments inside it. Templates keep their inner lines because they are one token.
    if (node.getChildCount(file) === 0 && node.getWidth(file) > 0) {
      const first = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
      const last = file.getLineAndCharacterOfPosition(node.getEnd()).line;
      for (let line = first; line <= last; line += 1) withCode.add(line);
    }
    // Documentation comments hang in the tree as nodes of their own; they are comments all the same.
    for (const child of node.getChildren(file)) if (child.kind < ts.SyntaxKind.FirstJSDocNode
      || child.kind > ts.SyntaxKind.LastJSDocNode) mark(child);
  };
  mark(file);
  const blankLines = lines.filter((line, index) => !withCode.has(index) && line.trim() === '').length;
  const codeLines = lines.filter((_, index) => withCode.has(index)).length;
  return { lines: lines.length, codeLines, commentLines: lines.length - codeLines - blankLines, blankLines };
}

function largest(functions: readonly FunctionMetrics[], by: (item: FunctionMetrics) => number): FunctionMetrics | null {
  return functions.reduce<FunctionMetrics | null>((best, item) => (best === null || by(item) > by(best) ? item : best), null);
}
