/** The HTTP server around the app: limits on how slowly and how much a client may send before anybody looks at it. */
import { createServer, IncomingMessage, ServerResponse, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Express } from 'express';
import { errorBody, SuretyError } from '../domain/errors.ts';

const HEADER_BYTES_MAX = 16 * 1024;
/** Time for the headers to arrive. */
const HEADERS_MS_MAX = 10_000;
/** Time for the whole request to arrive; a body of 1 MiB on a slow line fits. */
const REQUEST_MS_MAX = 20_000;
/** Longer than the minute after which common load balancers let go, so that they close first and never write into a closed door. */
const KEEP_ALIVE_MS = 65_000;

/** How long a client that was refused has to read why. */
const LINGER_MS = 500;

/** Not listening yet. Requests that are not HTTP are answered with the usual JSON error. */
export function createHttpServer(app: Express): Server {
  const server = createServer({
    ...bornFor(app),
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 5_000,
    noDelay: true,
  }, app);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(error.code, socket));
  return server;
}

/**
 * Request and response classes whose objects are Express's own from birth. Express otherwise changes the prototype of each of the two
 * at each request, after which V8 reads all their properties the slow way: measured, that is more than half of what the edge costs.
 */
function bornFor(app: Express): { IncomingMessage: typeof IncomingMessage; ServerResponse: typeof ServerResponse } {
  return { IncomingMessage: withPrototype(IncomingMessage, app.request), ServerResponse: withPrototype(ServerResponse, app.response) };
}

/** Node's two classes are functions that can be called on an object made elsewhere, which is what makes them inheritable the old way. */
function withPrototype<C extends typeof IncomingMessage | typeof ServerResponse>(base: C, prototype: object): C {
  function Born(this: object, first: unknown, second: unknown): void {
    Reflect.apply(base, this, [first, second]);
  }
  Born.prototype = prototype;
  const born: object = Born;
  return born as C;
}

const refusals: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are larger than 16 KiB.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
};

function refuse(code: string | undefined, socket: Duplex): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] = refusals[code ?? ''] ?? ['400 Bad Request', 'This is not a valid HTTP request.'];
  const body = JSON.stringify(errorBody(new SuretyError('invalid_request', message)));
  const head = [`HTTP/1.1 ${status}`, 'Content-Type: application/json; charset=utf-8', `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close'];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Ended is not closed: the request whose body will never come must notice that its connection is gone.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}
