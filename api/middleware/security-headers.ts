import type { IncomingMessage, ServerResponse } from 'node:http';
import helmet from 'helmet';

/** Header names and values in turn, as `writeHead` takes them. */
export type FlatHeaders = readonly string[];

/** A JSON answer loads nothing, may be framed by nobody and is never guessed to be anything else. */
const jsonPolicy = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] };

/**
 * The security headers of every answer. They are the same for all requests, so helmet is asked once at the start and its
 * answer is copied.
 * @param https whether to tell browsers to stay on https (production).
 */
export function securityHeaders({ https }: { readonly https: boolean }): FlatHeaders {
  const apply = helmet({
    contentSecurityPolicy: { useDefaults: false, directives: jsonPolicy },
    frameguard: { action: 'deny' },
    referrerPolicy: { policy: 'strict-origin-when-cross-origin' },
    strictTransportSecurity: https ? { maxAge: 31_536_000, includeSubDomains: true } : false,
    // Browsers of allowed origins read the API; CORS decides which.
    crossOriginResourcePolicy: { policy: 'cross-origin' },
  });
  const flat: string[] = ['Permissions-Policy', 'geolocation=(), microphone=(), camera=()'];
  const recorder = {
    setHeader: (name: string, value: string) => void flat.push(name, value),
    removeHeader: () => undefined,
  };
  let error: unknown = new Error('helmet did not answer at once');
  apply({} as IncomingMessage, recorder as unknown as ServerResponse, (failure?: unknown) => (error = failure));
  if (error !== undefined) throw error;
  return flat;
}
