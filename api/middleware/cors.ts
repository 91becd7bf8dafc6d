import cors from 'cors';
import type { Request, Response } from 'express';
import type { Env } from '../../platform/env.ts';

const developmentOrigins = ['localhost', '127.0.0.1'].flatMap((host) => [3000, 5173, 8080].map((port) => `http://${host}:${port}`));

/** Which browser origins may use the API: the configured ones; on a desk, the usual local ones; in production otherwise none. */
export function allowedOrigins(env: Pick<Env, 'ENV' | 'CORS_ALLOWED_ORIGINS'>): readonly string[] {
  if (env.CORS_ALLOWED_ORIGINS.length > 0) return env.CORS_ALLOWED_ORIGINS;
  return env.ENV === 'production' ? [] : developmentOrigins;
}

/** Where the remote codec is; the path that Temporal's UI and command line are given. */
export const CODEC_PATH = '/v1/temporal/codec';

/**
 * Adds the CORS headers to the answer of a request from a browser. Other requests never come here.
 * @returns true when it was a preflight, which is then answered.
 */
export type CorsGate = (req: Request, res: Response) => boolean;

/**
 * The gate for these origins; no other origin is ever named in an answer.
 * @param temporalUi address of Temporal's UI, which may ask the remote codec and nothing else.
 */
export function createCors(origins: readonly string[], temporalUi: string | null = null): CorsGate {
  const common = corsFor(origins);
  const codec = temporalUi === null ? common : corsFor([...origins, new URL(temporalUi).origin]);
  return (req, res) => (req.url.startsWith(`${CODEC_PATH}/`) ? codec : common)(req, res);
}

function corsFor(origins: readonly string[]): CorsGate {
  const apply = cors({
    origin: (origin, decide) => decide(null, origin !== undefined && origins.includes(origin)),
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    // Temporal's UI names its namespace.
    allowedHeaders: ['Authorization', 'Content-Type', 'X-API-Key', 'X-Admin-Secret', 'X-Gateway-Token', 'X-Request-ID', 'Idempotency-Key',
      'X-Namespace'],
    exposedHeaders: ['X-Request-ID', 'Retry-After'],
    credentials: true,
    maxAge: 86_400,
    preflightContinue: true,
  });
  return (req, res) => {
    apply(req, res, () => undefined);
    const preflight = req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined;
    if (preflight) res.writeHead(204, { 'Content-Length': '0' }).end();
    return preflight;
  };
}
