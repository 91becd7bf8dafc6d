/** Turns a route of the list into something that runs: everything that can be decided before the first request is decided here. */
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { HttpRecorder, Metrics } from '../../platform/metrics.ts';
import { validationError } from './errors.ts';
import { claimOf, idempotencyKeyOf } from './idempotency.ts';
import type { Granted } from '../middleware/access.ts';
import { readJsonBody } from '../middleware/read-body.ts';
import type { Answer, Route } from './route.ts';

export interface CompiledRoute {
  readonly route: Route;
  /** Notes an answer for Prometheus, under the pattern of the route and not under its aliases. */
  readonly record: HttpRecorder;
  /** `Cache-Control` of a success. */
  readonly cacheControl: string;
  /**
   * Validates and runs the handler. Errors: those of the route, validation_error and its kin, payload_too_large, unsupported_media_type.
   */
  readonly run: (request: RunRequest) => Promise<Answer>;
}

export interface RunRequest {
  readonly req: Request;
  readonly res: Response;
  readonly requestId: string;
  /** With the address already checked and in lower case. */
  readonly params: Readonly<Record<string, string>>;
  readonly granted: Granted;
}

const nothing = z.strictObject({});

export function compileRoute(route: Route, metrics: Pick<Metrics, 'httpRoute'>): CompiledRoute {
  const query = route.query === undefined ? undefined : parser(route.query, 'query.');
  const params = route.params === undefined ? undefined : parser(route.params, 'path.');
  const bodySchema = bodySchemaOf(route);
  const body = bodySchema === undefined ? undefined : parser(bodySchema, '');
  return {
    route,
    record: metrics.httpRoute(route.method.toUpperCase(), route.path),
    cacheControl: route.cacheSecs === undefined ? 'no-store' : `public, max-age=${route.cacheSecs}`,
    async run({ req, res, requestId, params: rawParams, granted }) {
      const idempotencyKey = route.method === 'get' ? null : idempotencyKeyOf(req);
      const checkedParams = params === undefined ? rawParams : params(rawParams);
      const checkedQuery = query === undefined ? undefined : query(req.query);
      const rawBody = body === undefined ? undefined : await readJsonBody(req);
      return route.handler({
        req, res, requestId, idempotencyKey,
        params: checkedParams,
        query: checkedQuery,
        body: body === undefined ? undefined : body(rawBody),
        caller: granted.caller,
        isAdmin: granted.isAdmin,
        idempotencyClaim: (bodyKey) =>
          claimOf(idempotencyKey ?? bodyKey ?? null, { method: route.method, path: filled(route.path, rawParams), body: rawBody }),
      });
    },
  };
}

/**
 * The schema a body is held to; undefined where the method has none. A plain object schema is made strict, so that a misspelt
 * field is refused instead of ignored. A POST without a schema takes `{}` or nothing.
 */
export function bodySchemaOf(route: Route): z.ZodType | undefined {
  const { body, method } = route;
  if (body === undefined) return method === 'post' || method === 'put' || method === 'patch' ? nothing : undefined;
  return body instanceof z.ZodObject && body.def.catchall === undefined ? body.strict() : body;
}

function parser(schema: z.ZodType, where: string): (value: unknown) => unknown {
  return (value) => {
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw validationError(parsed.error, where);
    return parsed.data;
  };
}

/** The canonical path with its parameters, the same whichever alias was used. */
function filled(pattern: string, params: Readonly<Record<string, string>>): string {
  return pattern.replace(/:(\w+)/g, (_, name: string) => params[name] ?? '');
}
