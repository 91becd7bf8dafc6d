/**
 * Finds the route of a request. Paths without parameters, the paid call among them, are one map lookup; the others are a walk along
 * a tree of segments. Express's own router tries every pattern in turn and cannot tell a wrong method from an unknown path.
 */
import { SuretyError } from '../../domain/errors.ts';

interface Leaf<T> {
  readonly parameterNames: readonly string[];
  readonly target: T;
}

interface Node<T> {
  readonly literal: Map<string, Node<T>>;
  parameter: Node<T> | undefined;
  /** By upper-case method. */
  readonly methods: Map<string, Leaf<T>>;
}

export interface Found<T> {
  readonly target: T;
  readonly params: Readonly<Record<string, string>>;
}

export interface RouteTable<T> {
  /** Adds a route. @throws Error when the method and path are taken. */
  add(method: string, path: string, target: T): void;
  /**
   * The route for a method and path (without query), or null when the path is unknown.
   * @throws SuretyError `method_not_allowed` with the methods in `body.allow`; `invalid_request` for broken percent-encoding.
   */
  find(method: string, path: string): Found<T> | null;
  /** Upper-case methods of a path, for OPTIONS; empty when it is unknown. */
  methodsOf(path: string): string[];
}

const noParams: Readonly<Record<string, string>> = Object.freeze({});
/** Every id and name that occurs in a path is made of these; anything else, such as NUL, must not travel further. */
const PARAMETER = /^[A-Za-z0-9_.:~@+-]{1,200}$/;

export function createRouteTable<T>(): RouteTable<T> {
  const root = newNode<T>();
  const literalPaths = new Map<string, Node<T>>();

  return {
    add(method, path, target) {
      const parameterNames: string[] = [];
      let node = root;
      for (const segment of segmentsOf(path)) {
        if (segment.startsWith(':')) {
          parameterNames.push(segment.slice(1));
          node = node.parameter ??= newNode();
        } else {
          let next = node.literal.get(segment);
          if (next === undefined) node.literal.set(segment, (next = newNode()));
          node = next;
        }
      }
      const verb = method.toUpperCase();
      if (node.methods.has(verb)) throw new Error(`Two routes claim ${verb} ${path}.`);
      node.methods.set(verb, { parameterNames, target });
      if (parameterNames.length === 0) literalPaths.set(path, node);
    },

    find(method, path) {
      const known = literalPaths.get(path)?.methods.get(method);
      if (known !== undefined) return { target: known.target, params: noParams };
      const candidates = walk(path);
      if (candidates.length === 0) return null;
      for (const { node, values } of candidates) {
        // HEAD is GET without the body, which Node leaves out by itself.
        const leaf = node.methods.get(method) ?? (method === 'HEAD' ? node.methods.get('GET') : undefined);
        if (leaf !== undefined) return { target: leaf.target, params: named(leaf.parameterNames, values) };
      }
      throw new SuretyError('method_not_allowed', `${method} is not offered here.`,
        { body: { allow: allowed(candidates.map(({ node }) => node)) } });
    },

    methodsOf(path) {
      return allowed(walk(path).map(({ node }) => node));
    },
  };

  function walk(path: string): { node: Node<T>; values: string[] }[] {
    const found: { node: Node<T>; values: string[] }[] = [];
    visit(root, segmentsOf(path), 0, [], found);
    return found;
  }
}

/** Literal segments first, so that `/escrow/multistep` is not read as the escrow called "multistep". */
function visit<T>(node: Node<T>, segments: readonly string[], index: number, values: string[],
    found: { node: Node<T>; values: string[] }[]): void {
  const segment = segments[index];
  if (segment === undefined) {
    if (node.methods.size > 0) found.push({ node, values });
    return;
  }
  const literal = node.literal.get(segment);
  if (literal !== undefined) visit(literal, segments, index + 1, values, found);
  if (node.parameter !== undefined) visit(node.parameter, segments, index + 1, [...values, segment], found);
}

function named(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, parameter(name, values[index] ?? '')]));
}

function parameter(name: string, raw: string): string {
  const value = decode(raw);
  // The access check gives addresses their own code.
  if (name !== 'address' && !PARAMETER.test(value)) {
    throw new SuretyError('invalid_request', `The path parameter ${name} holds characters that no ${name} has.`);
  }
  return value;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new SuretyError('invalid_request', 'The path is not valid percent-encoding.');
  }
}

/** Segments between slashes; one slash at the end is ignored. */
function segmentsOf(path: string): string[] {
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(1, -1) : path.slice(1);
  if (trimmed.includes('%')) decode(trimmed);
  return trimmed === '' ? [] : trimmed.split('/');
}

function allowed<T>(nodes: readonly Node<T>[]): string[] {
  const methods = new Set(nodes.flatMap((node) => [...node.methods.keys()]));
  if (methods.has('GET')) methods.add('HEAD');
  if (methods.size > 0) methods.add('OPTIONS');
  return [...methods].sort();
}

function newNode<T>(): Node<T> {
  return { literal: new Map(), parameter: undefined, methods: new Map() };
}
