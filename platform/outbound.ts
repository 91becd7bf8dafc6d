/**
 * Calls sellers. Each call ends with exactly one tagged result, within its time, whatever the other side does; nothing is thrown.
 * The address is judged when the connection is made, so a name that answers differently the second time (DNS rebinding) gains
 * nothing. Redirects are never followed. Connections are kept and used again.
 */
import { isUtf8 } from 'node:buffer';
import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { SuretyError } from '../domain/errors.ts';
import { checkEndpoint, createAddressGuard, readEndpoint, RefusedAddressError, type AddressGuard, type Endpoint } from './address-guard.ts';
import type { Logger } from './log.ts';

const RESPONSE_BYTES_MAX = 5 * 1024 * 1024;
const CONNECT_MS_MAX = 5_000;
/** Enough for a seller that everybody wants; a slow one can still not take every socket of the process. */
const CONNECTIONS_PER_ORIGIN = 256;
const ENDPOINTS_REMEMBERED = 10_000;

/** Why there is no usable answer. */
export type OutboundFailure =
  /** The total time was up. */
  | 'timeout'
  /** The endpoint leads where Surety must not call, or is no endpoint at all. */
  | 'refused_address'
  /** No connection could be made: name unknown, port closed, TLS refused. Nothing was sent. */
  | 'connect_error'
  /** The connection ended before the answer was complete. */
  | 'reset'
  | 'too_large'
  | 'redirect'
  /** The answer is compressed, though we asked for it plain, or is not UTF-8. */
  | 'bad_encoding'
  /** The caller of `postJson` gave up. */
  | 'aborted';

export interface OutboundAnswer {
  readonly tag: 'answered';
  readonly status: number;
  readonly bodyText: string;
  readonly latencyMs: number;
}

export interface OutboundFailed {
  readonly tag: OutboundFailure;
  /** For the log and for the seller's attempt record; says nothing of our network. */
  readonly message: string;
  readonly latencyMs: number;
  /** False only when it is certain that the seller did nothing: no byte was sent, or it sent us elsewhere. */
  readonly maySellerHaveWorked: boolean;
}

export type OutboundResult = OutboundAnswer | OutboundFailed;

export interface PostRequest {
  readonly url: string;
  /** In addition to Content-Type, Accept and User-Agent. */
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body: string;
  /** For everything together: name, connection, sending, answer. */
  readonly timeoutMs: number;
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export interface Outbound {
  postJson(request: PostRequest): Promise<OutboundResult>;
  /** Judges an endpoint at registration. @throws SuretyError `invalid_endpoint`. */
  checkUrl(url: string): Promise<Endpoint>;
  /** Ends all connections; calls under way end as `reset`. */
  close(): Promise<void>;
}

export interface OutboundOptions {
  /** Also call loopback and private addresses (`ALLOW_LOCAL_ENDPOINTS`). */
  readonly allowLocal: boolean;
  readonly log: Logger;
  readonly metrics?: { outboundAttempt(outcome: string, seconds: number): void };
  /** Stands in for the system's name service in tests. */
  readonly guard?: AddressGuard;
}

export function createOutbound({ allowLocal, log, metrics, guard = createAddressGuard({ allowLocal }) }: OutboundOptions): Outbound {
  const endpoints = new LRUCache<string, Endpoint>({ max: ENDPOINTS_REMEMBERED });
  const agent = new Agent({
    connect: guardedConnector(guard),
    connections: CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    // Each call has one clock of its own.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16 * 1024,
  });

  function endpointOf(url: string): Endpoint {
    let endpoint = endpoints.get(url);
    if (endpoint === undefined) endpoints.set(url, (endpoint = readEndpoint(url, guard, allowLocal)));
    return endpoint;
  }

  return {
    async postJson(request) {
      const result = await post(agent, endpointOf, request);
      metrics?.outboundAttempt(result.tag, result.latencyMs / 1_000);
      if (result.tag !== 'answered'
        && log.isLevelEnabled('debug')) log.debug({ outcome: result.tag, url: request.url, ms: result.latencyMs }, result.message);
      return result;
    },
    checkUrl: (url) => checkEndpoint(url, guard, allowLocal),
    close: () => agent.destroy(),
  };
}

/** Connects only to addresses the guard allows: names through its lookup, literal addresses directly, and once more when connected. */
function guardedConnector(guard: AddressGuard): buildConnector.connector {
  const connect = buildConnector({ lookup: guard.lookup, timeout: CONNECT_MS_MAX, keepAlive: true });
  return (options, callback) => {
    connect(options, (...[error, socket]: buildConnector.CallbackArgs) => {
      if (error !== null) callback(error, null);
      else if (!guard.allows((socket as Socket).remoteAddress ?? '')) {
        socket.destroy();
        callback(new RefusedAddressError('the connection leads to an address that may not be called'), null);
      } else callback(null, socket);
    });
  };
}

function post(agent: Agent, endpointOf: (url: string) => Endpoint, request: PostRequest): Promise<OutboundResult> {
  return new Promise((resolve) => {
    const call = new Call(request, resolve);
    if (request.signal?.aborted === true) {
      call.fail('aborted', 'The call was given up before it began.');
      return;
    }
    try {
      const { origin, path } = endpointOf(request.url);
      const headers = { 'content-type': 'application/json', accept: 'application/json', 'accept-encoding': 'identity',
        'user-agent': 'Surety/1', ...request.headers };
      agent.dispatch({ origin, path, method: 'POST', headers, body: request.body }, call);
    } catch (error) {
      if (error instanceof SuretyError) call.fail('refused_address', error.message);
      else call.fail('connect_error', 'The request could not be made.');
    }
  });
}

/** One call under way, and undici's handler of it. Settles once; whatever comes later is ignored. */
class Call implements Dispatcher.DispatchHandler {
  readonly #startedAt = performance.now();
  readonly #maxBytes: number;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (result: OutboundResult) => void;
  readonly #timer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #status = 0;
  #length = 0;
  readonly #chunks: Buffer[] = [];

  constructor({ timeoutMs, maxBytes = RESPONSE_BYTES_MAX, signal }: PostRequest, resolve: (result: OutboundResult) => void) {
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#signal = signal;
    this.#timer = setTimeout(() => this.fail('timeout', `No complete answer within ${timeoutMs} ms.`), timeoutMs);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => this.fail('aborted', 'The call was given up.');

  /** Ends the call without an answer, and its connection if it has one: the rest of an unwanted answer must not be read. */
  fail(tag: OutboundFailure, message: string): void {
    if (this.#settled) return;
    // Once the request is being written, only a 3xx says for certain that the seller did not work.
    const maySellerHaveWorked = this.#controller !== undefined && tag !== 'redirect';
    this.#settle({ tag, message, latencyMs: this.#elapsed(), maySellerHaveWorked });
    this.#controller?.abort(new Error(message));
  }

  #settle(result: OutboundResult): void {
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#resolve(result);
  }

  #elapsed(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  /** There is a connection and the request is about to be written. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    // The time was up while the call waited for a free connection: nothing is sent any more.
    if (this.#settled) controller.abort(new Error('The call is over.'));
    else this.#controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number,
      headers: Record<string, string | string[] | undefined>): void {
    if (status < 200 || this.#settled) return;
    this.#status = status;
    if (status >= 300 && status < 400) this.fail('redirect', `The seller answered ${status}; redirects are not followed.`);
    else if (isCompressed(headers['content-encoding'])) this.fail('bad_encoding', 'The answer is compressed.');
    else if (Number(headers['content-length'] ?? 0) > this.#maxBytes) this.#refuseLength();
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    this.#length += chunk.length;
    if (this.#length > this.#maxBytes) this.#refuseLength();
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    const [only] = this.#chunks;
    const bytes = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks, this.#length);
    if (!isUtf8(bytes)) {
      this.fail('bad_encoding', 'The answer is not UTF-8.');
      return;
    }
    const text = bytes.toString('utf8');
    this.#settle({ tag: 'answered', status: this.#status, bodyText: text.startsWith('\ufeff') ? text.slice(1) : text,
      latencyMs: this.#elapsed() });
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (isRefused(error)) this.fail('refused_address', 'The endpoint leads to an address that may not be called.');
    else if (this.#controller === undefined) this.fail('connect_error', `No connection: ${codeOf(error)}.`);
    else this.fail('reset', `The connection ended before the answer was complete: ${codeOf(error)}.`);
  }

  #refuseLength(): void {
    this.fail('too_large', `The answer is larger than ${this.#maxBytes} bytes.`);
  }
}

function isCompressed(encoding: string | string[] | undefined): boolean {
  return encoding !== undefined && encoding !== '' && encoding !== 'identity';
}

/** A name with several addresses fails with one error for each. */
function isRefused(error: unknown): boolean {
  return error instanceof RefusedAddressError || (error instanceof AggregateError && error.errors.some(isRefused));
}

function codeOf(error: Error): string {
  return String((error as NodeJS.ErrnoException).code ?? error.name);
}
