/**
 * What a route is: its path, who may use it, what goes in, what comes out, and the handler. The list of all routes is the one
 * authorisation table of the platform; the OpenAPI document and the docs are made from the same list.
 */
import type { Request, Response } from 'express';
import type { z } from 'zod';

/**
 * public: anybody · agent: any valid API key · owner: the key's agent is `:address` · admin: the platform admin.
 * Routes about one payment use `agent` and check the parties in the handler.
 */
export type Access = 'public' | 'agent' | 'owner' | 'admin';

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

/** What a handler gets. `caller` is null only where access is `public` or `admin`. */
export interface RouteContext<P extends Shape, Q extends Shape, B extends Shape> {
  readonly params: Parsed<P>;
  readonly query: Parsed<Q>;
  readonly body: Parsed<B>;
  readonly caller: Caller | null;
  readonly isAdmin: boolean;
  readonly requestId: string;
  /** From the `Idempotency-Key` header, checked for length and characters. */
  readonly idempotencyKey: string | null;
  readonly req: Request;
  readonly res: Response;
}

/** What a handler gives back; the edge writes it. `body: undefined` sends no body (204). */
export interface Answer {
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouteSpec<P extends Shape = undefined, Q extends Shape = undefined, B extends Shape = undefined> {
  readonly method: 'get' | 'post' | 'put' | 'delete' | 'patch';
  /** Express path, such as `/v1/agents/:address`. */
  readonly path: string;
  /** Other spellings of the same route that clients of the first system use. */
  readonly aliases?: readonly string[];
  readonly access: Access;
  readonly tag: string;
  /** One sentence for the docs. */
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  /** Strict object schema. An empty body is read as `{}`. */
  readonly body?: B;
  /** Schema of the successful answer, for the docs. */
  readonly answer?: z.ZodType;
  readonly answerStatus?: number;
  /** Error codes beyond those of the edge (unauthorized, invalid_request, rate_limit_exceeded, internal_error). */
  readonly errors?: readonly string[];
  /** Seconds for `Cache-Control: public, max-age`. */
  readonly cacheSecs?: number;
  readonly handler: (context: RouteContext<P, Q, B>) => Promise<Answer> | Answer;
}

/** A route whose types have been checked and forgotten, so that all of them fit in one list. */
export type Route = RouteSpec<z.ZodType, z.ZodType, z.ZodType>;

export function route<P extends Shape = undefined, Q extends Shape = undefined, B extends Shape = undefined>(spec: RouteSpec<P, Q, B>): Route {
  return spec as unknown as Route;
}
