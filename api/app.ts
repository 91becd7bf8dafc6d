/**
 * The HTTP edge: builds the Express app from the route list without listening. Every request goes through one function, in one
 * order: request id, CORS, drain, find the route, who asks, how often, may they, read and check, handle, answer, log.
 */
import express, { type Express, type Request, type Response } from 'express';
import { SuretyError } from '../domain/errors.ts';
import type { HttpRecorder } from '../platform/metrics.ts';
import type { ApiDeps, Lifecycle } from './deps.ts';
import { toSuretyError } from './routing/errors.ts';
import { adminRule, checkedParams, grant, type AdminRule } from './middleware/access.ts';
import { createAccessLog } from './middleware/access-log.ts';
import { createAuthenticate, nobody, type Authenticate, type Identity } from './middleware/authenticate.ts';
import { allowedOrigins, createCors, type CorsGate } from './middleware/cors.ts';
import { createDrainGate, type DrainGate } from './middleware/drain.ts';
import { createRateLimit, type RateLimit } from './middleware/rate-limit.ts';
import { ClientGone } from './middleware/read-body.ts';
import { requestIdOf } from './middleware/request-id.ts';
import { securityHeaders } from './middleware/security-headers.ts';
import { compileRoute, type CompiledRoute } from './routing/compile.ts';
import { createResponder, type Responder } from './routing/respond.ts';
import type { Answer, Route } from './routing/route.ts';
import { createRouteTable, type Found, type RouteTable } from './routing/table.ts';
import { allRoutes } from './routes/index.ts';

export interface Api {
  readonly app: Express;
  /** Everything that is mounted, for docs and for tests that visit each route. */
  readonly routes: readonly Route[];
  readonly lifecycle: Lifecycle;
  /** Refuses new requests and waits for those under way, at most `deadlineMs`. @returns how many were left. */
  drain(deadlineMs: number): Promise<number>;
}

/** The edge's own limit lies behind that of the handlers, whose answers say more about the money. */
const TIMEOUT_GRACE_MS = 1_000;

/** @param extraRoutes more routes than the product has, for tests of the edge itself. */
export function createApp(deps: ApiDeps, extraRoutes: readonly Route[] = []): Api {
  const gate = createDrainGate();
  const routes = [...allRoutes({ ...deps, lifecycle: gate }), ...extraRoutes];
  const serve = createEdge(deps, routes, gate);

  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', 'simple');
  try {
    app.set('trust proxy', trustProxy(deps.env.TRUST_PROXY));
  } catch (cause) {
    throw new Error('These settings are wrong:\n  TRUST_PROXY: must be a list of addresses, a number of proxies, or empty', { cause });
  }
  app.use((req, res) => void serve(req, res));
  return { app, routes, lifecycle: gate, drain: (deadlineMs) => gate.drain(deadlineMs) };
}

/** What the edge needs at each request, made once. */
interface Edge {
  readonly deps: ApiDeps;
  readonly table: RouteTable<CompiledRoute>;
  readonly gate: DrainGate;
  readonly cors: CorsGate;
  readonly authenticate: Authenticate;
  readonly rateLimit: RateLimit;
  readonly adminRule: AdminRule;
  readonly respond: Responder;
  readonly accessLog: ReturnType<typeof createAccessLog>;
  readonly recordUnmatched: HttpRecorder;
  readonly timeoutMs: number;
}

/** One request on its way. */
interface Exchange {
  readonly req: Request;
  readonly res: Response;
  readonly requestId: string;
  readonly startedAt: number;
  readonly path: string;
  compiled: CompiledRoute | null;
  agent: string | undefined;
  error: SuretyError | undefined;
}

function createEdge(deps: ApiDeps, routes: readonly Route[], gate: DrainGate): (req: Request, res: Response) => Promise<void> {
  const { env, metrics } = deps;
  const origins = allowedOrigins(env);
  const table = createRouteTable<CompiledRoute>();
  for (const route of routes) {
    const compiled = compileRoute(route, metrics);
    for (const path of [route.path, ...(route.aliases ?? [])]) table.add(route.method, path, compiled);
  }
  const edge: Edge = {
    deps, table, gate,
    cors: createCors(origins, deps.links.temporalUi),
    authenticate: createAuthenticate(deps.keys, env.ADMIN_SECRET),
    rateLimit: createRateLimit({ rpm: env.RATE_LIMIT_RPM, burst: env.RATE_LIMIT_BURST }),
    adminRule: adminRule(env),
    respond: createResponder(securityHeaders({ https: env.ENV === 'production' })),
    accessLog: createAccessLog(deps.log),
    recordUnmatched: metrics.httpRoute('any', 'unmatched'),
    timeoutMs: env.REQUEST_TIMEOUT + TIMEOUT_GRACE_MS,
  };

  return async (req, res) => {
    const exchange: Exchange = {
      req, res, requestId: requestIdOf(req), startedAt: performance.now(), path: pathOf(req.url), compiled: null,
      agent: undefined, error: undefined,
    };
    try {
      await exchangeAnswers(edge, exchange);
    } catch (error) {
      fail(edge, exchange, error);
    }
    finish(edge, exchange);
  };
}

async function exchangeAnswers(edge: Edge, exchange: Exchange): Promise<void> {
  const { req, res, requestId } = exchange;
  if (req.headers.origin !== undefined && edge.cors(req, res)) return;
  if (req.method === 'OPTIONS') return answerOptions(edge, exchange);

  const found = lookUp(edge, exchange);
  const always = found.target?.route.always === true;
  if (!always) edge.gate.enter();
  const work = (async () => {
    // Health must not depend on the database that knows the keys.
    const identity = always ? nobody : await identify(edge, exchange);
    if (found.target === null) throw found.error;
    const { target } = found;
    const params = checkedParams(found.params);
    const granted = grant(target.route, identity, { params, rule: edge.adminRule, url: req.url });
    return target.run({ req, res, requestId, params, granted });
  })();
  // The count goes down when the work ends, not when the client is answered: a payment outlives an impatient client.
  const counted = always ? work : work.finally(() => edge.gate.leave());
  const answer = await withinTime(edge, exchange, counted);
  edge.respond.answer(res, requestId, answer, found.target?.cacheControl ?? 'no-store');
}

type LookedUp = (Found<CompiledRoute> & { error?: undefined }) | { target: null; error: unknown };

/** Finds the route. A miss is reported only after the request was counted, so that guessing paths is limited too. */
function lookUp(edge: Edge, exchange: Exchange): LookedUp {
  try {
    const found = edge.table.find(exchange.req.method, exchange.path);
    if (found === null) throw new SuretyError('route_not_found', `There is no ${exchange.req.method} ${exchange.path.slice(0, 200)}.`);
    exchange.compiled = found.target;
    return found;
  } catch (error) {
    return { target: null, error };
  }
}

/** Who asks, and whether they ask too often. */
async function identify(edge: Edge, exchange: Exchange): Promise<Identity> {
  const identity = await edge.authenticate(exchange.req);
  exchange.agent = identity.caller?.address;
  if (identity.caller !== null) await edge.rateLimit.countKey(identity.caller.keyId);
  if (identity.caller === null || identity.failed) await edge.rateLimit.countAddress(exchange.req.ip ?? 'unknown');
  return identity;
}

function answerOptions(edge: Edge, { res, requestId, path }: Exchange): void {
  const allow = edge.table.methodsOf(path);
  if (allow.length === 0) throw new SuretyError('route_not_found', `There is no ${path.slice(0, 200)}.`);
  edge.respond.answer(res, requestId, { status: 204, headers: { Allow: allow.join(', ') } }, 'no-store');
}

/** The answer, or an error once the time is up. The work itself goes on; what becomes of it is logged. */
function withinTime(edge: Edge, exchange: Exchange, work: Promise<Answer>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(timeoutError(exchange, edge.timeoutMs));
      work.catch((error: unknown) =>
        edge.deps.log.warn({ err: error, requestId: exchange.requestId }, 'a request failed after its time was up'));
    }, edge.timeoutMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer)).catch(() => undefined);
  });
}

function timeoutError(exchange: Exchange, ms: number): SuretyError {
  const message = `The answer took longer than ${ms / 1_000} seconds.`;
  if (exchange.compiled?.route.movesMoney !== true) return new SuretyError('unavailable', message, { retryAfterSecs: 1 });
  return new SuretyError('call_pending', `${message} What was begun is finished or undone all the same.`, { fundsStatus: 'held_pending' });
}

function fail(edge: Edge, exchange: Exchange, thrown: unknown): void {
  if (thrown instanceof ClientGone) {
    exchange.res.destroy();
    return;
  }
  const error = toSuretyError(thrown, exchange.compiled?.route.movesMoney === true);
  exchange.error = error;
  try {
    edge.respond.error(exchange.res, exchange.requestId, error);
  } catch (failure) {
    edge.deps.log.error({ err: failure, requestId: exchange.requestId }, 'an error could not be written');
    exchange.res.destroy();
  }
}

function finish(edge: Edge, exchange: Exchange): void {
  const { req, res, requestId, compiled, error, agent, startedAt } = exchange;
  const ms = performance.now() - startedAt;
  const status = res.headersSent ? res.statusCode : 499;
  (compiled?.record ?? edge.recordUnmatched)(status, ms / 1_000);
  edge.accessLog(status, () => ({
    requestId, method: req.method, path: compiled?.route.path ?? exchange.path.slice(0, 200), status, ms: Math.round(ms), agent,
    ip: req.ip ?? '', code: error?.code, err: status >= 500 ? (error?.cause ?? error) : undefined,
  }));
}

/** The path without query. Proxies may ask with a whole address (`GET http://host/path`). */
function pathOf(url: string): string {
  const end = url.indexOf('?');
  const path = end === -1 ? url : url.slice(0, end);
  return path.startsWith('/') ? path : path.replace(/^https?:\/\/[^/]*/i, '') || '/';
}

/** The Express setting for `TRUST_PROXY`: nobody, everybody, a number of hops, or a list of addresses. */
function trustProxy(text: string): boolean | number | string {
  if (text === '' || text === 'false') return false;
  if (text === 'true') return true;
  return /^[0-9]{1,2}$/.test(text) ? Number(text) : text;
}
