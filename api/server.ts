/** The HTTP server around the app: limits on how slowly and how much a client may send before anybody looks at it. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
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
export function createHttpServer(app: RequestListener): Server {
  const server = createServer({
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
  socket.end(`HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
  // Ended is not closed: the request whose body will never come must learn that its connection is gone.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}
