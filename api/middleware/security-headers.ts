import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
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
  const request = new IncomingMessage(new Socket());
  const flat: string[] = ['Permissions-Policy', 'geolocation=(), microphone=(), camera=()'];
  const recorder = Object.assign(new ServerResponse(request), {
    setHeader(name: string, value: string) {
      flat.push(name, value);
      return recorder;
    },
    removeHeader: () => undefined,
  });
  let error: unknown = new Error('helmet did not answer at once');
  apply(request, recorder, (failure?: unknown) => (error = failure));
  if (error !== undefined) throw error;
  return flat;
}
