/**
 * What a route is: its path, who may use it, what goes in, what comes out, and the handler. The list of all routes is the one
 * authorisation table of the platform; the OpenAPI document and the docs are made from the same list.
 */
import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { ErrorCode } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';

/**
 * public: anybody · agent: any valid API key · owner: the key's agent is `:address`; a GET also takes the admin secret ·
 * admin: the platform admin · agent_or_admin: any valid API key, or the admin secret without one ·
 * agent_or_link: any valid API key, or the `token` of a signed link in the query, which the handler checks.
 * Routes about one payment use `agent` or `agent_or_admin` and check the parties in the handler.
 */
export type Access = 'public' | 'agent' | 'owner' | 'admin' | 'agent_or_admin' | 'agent_or_link';

export type Method = 'get' | 'post' | 'put' | 'delete' | 'patch';

/** Who is asking: the agent behind a valid API key. */
export interface Caller {
  readonly address: string;
  readonly keyId: string;
  readonly keyName: string;
  readonly tenantId: string | null;
  readonly createdAt: Date;
}

type Shape = z.ZodType | undefined;
type Parsed<S extends Shape> = S extends z.ZodType ? z.output<S> : undefined;

/** What a handler gets. */
export interface RouteContext<P extends Shape, Q extends Shape, B extends Shape, A extends Access = Access, M extends Method = Method> {
  /** Path parameters, decoded. `address` is a valid address in lower case whether or not the route has a schema for it. */
  readonly params: P extends z.ZodType ? z.output<P> : Readonly<Record<string, string>>;
  readonly query: Parsed<Q>;
  readonly body: Parsed<B>;
  /**
   * Null only where access is `public`, `admin`, `agent_or_admin` or `agent_or_link`, or on a GET of an owner, and no valid key was sent.
   */
  readonly caller: A extends 'agent' ? Caller : A extends 'owner' ? (M extends 'get' ? Caller | null : Caller) : Caller | null;
  /** The request carries the admin secret; on `admin` routes in demo mode, any valid key. */
  readonly isAdmin: boolean;
  readonly requestId: string;
  /** From the `Idempotency-Key` header, checked for length and characters. */
  readonly idempotencyKey: string | null;
  /**
   * The key with the hash of this request, ready to be stored with what the request does. `bodyKey` is for routes that also take
   * the key as a field of the body; the header wins. Null when there is no key.
   */
  readonly idempotencyClaim: (bodyKey?: string | null) => IdempotencyClaim | null;
  readonly req: Request;
  readonly res: Response;
}

/** What a handler gives back; the edge writes it. `body: undefined` sends no body (204). */
export interface Answer {
  readonly status?: number;
  /** Written as JSON; a string together with `contentType` is written as it is. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request header of a route beyond those every route knows. Named in the docs; the handler reads it from `req`. */
export interface RouteHeader {
  readonly name: string;
  readonly description: string;
  readonly required?: boolean;
}

export interface RouteSpec<
  P extends Shape = undefined, Q extends Shape = undefined, B extends Shape = undefined, A extends Access = Access,
  M extends Method = Method,
> {
  readonly method: M;
  /** Literal segments and `:names`, such as `/v1/agents/:address`. A parameter called `address` is always checked to be one. */
  readonly path: string;
  /** Other spellings of the same route that clients of the first system use; with the same parameter names. */
  readonly aliases?: readonly string[];
  readonly access: A;
  readonly tag: string;
  /** One sentence for the docs. */
  readonly summary: string;
  /** More for the docs, where one sentence is not enough. */
  readonly description?: string;
  readonly params?: P;
  /** Unknown query parameters are ignored. */
  readonly query?: Q;
  /** Object schema; unknown fields are refused unless it is a loose object. An empty body is read as `{}`. */
  readonly body?: B;
  readonly headers?: readonly RouteHeader[];
  /** Schema of the successful answer, for the docs. */
  readonly answer?: z.ZodType;
  readonly answerStatus?: number;
  /** Other answers that are no errors, by their status. */
  readonly alsoAnswers?: Readonly<Record<number, { readonly when: string; readonly answer: z.ZodType; readonly example: unknown }>>;
  /** A body and an answer for the docs, as they go over the wire. */
  readonly example?: { readonly body?: unknown; readonly answer?: unknown };
  /** Error codes beyond those of the edge (unauthorized, invalid_request, rate_limit_exceeded, internal_error). */
  readonly errors?: readonly ErrorCode[];
  /** Seconds for `Cache-Control: public, max-age`. */
  readonly cacheSecs?: number;
  /** Money may move here. After an unexpected failure the edge then does not claim that nothing happened. */
  readonly movesMoney?: boolean;
  /** Answers during drain and is not rate limited: health and metrics. */
  readonly always?: boolean;
  readonly handler: (context: RouteContext<P, Q, B, A, M>) => Promise<Answer> | Answer;
}

/** A route whose types have been checked and forgotten, so that all of them fit in one list. */
export type Route = RouteSpec<z.ZodType, z.ZodType, z.ZodType>;

/** Checks a route's types against its schemas. */
export function route<
  P extends Shape = undefined, Q extends Shape = undefined, B extends Shape = undefined, const A extends Access = Access,
  const M extends Method = Method,
>(spec: RouteSpec<P, Q, B, A, M>): Route {
  return forgetTypes(spec);
}

/**
 * The one place where the types of a route are given up: its handler is called by `compileRoute` alone, with what its own schemas have
 * read, which TypeScript cannot follow through a list of all routes.
 */
function forgetTypes(spec: object): Route {
  return spec as Route;
}
