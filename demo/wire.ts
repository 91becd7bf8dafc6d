/** A client of Surety's HTTP API as a newcomer would write it: plain fetch, JSON in, JSON out. */

export interface RequestOptions {
  /** API key of the agent that asks. */
  readonly apiKey?: string;
  readonly adminSecret?: string;
  /** Token of a gateway session. */
  readonly token?: string;
  readonly idempotencyKey?: string;
  readonly body?: unknown;
}

/** What came back. Bodies are plain JSON; who reads a field checks it. */
export interface Reply {
  readonly status: number;
  readonly body: Json;
  readonly headers: Headers;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- answers of the API; the step that reads one checks it
export type Json = any;

export interface Wire {
  readonly baseUrl: string;
  /** Sends a request and gives whatever was answered. @throws when the connection breaks. */
  ask(method: string, path: string, options?: RequestOptions): Promise<Reply>;
  /** As `ask`. @throws WireError when the answer is not a success. */
  must(method: string, path: string, options?: RequestOptions): Promise<Json>;
}

/** An answer that should have been a success. */
export class WireError extends Error {
  readonly reply: Reply;
  constructor(request: string, reply: Reply) {
    super(`${request} was answered with ${reply.status} ${reply.body?.code ?? ''}: ${reply.body?.message ?? JSON.stringify(reply.body)}`);
    this.name = 'WireError';
    this.reply = reply;
  }
}

/** Longer than any answer of the platform takes (REQUEST_TIMEOUT). */
const WAIT_MS = 35_000;

export function createWire(baseUrl: string): Wire {
  async function ask(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    const headers: Record<string, string> = {};
    if (options.apiKey !== undefined) headers['authorization'] = `Bearer ${options.apiKey}`;
    if (options.adminSecret !== undefined) headers['x-admin-secret'] = options.adminSecret;
    if (options.token !== undefined) headers['x-gateway-token'] = options.token;
    if (options.idempotencyKey !== undefined) headers['idempotency-key'] = options.idempotencyKey;
    if (options.body !== undefined) headers['content-type'] = 'application/json';
    const response = await fetch(baseUrl + path, {
      method, headers, signal: AbortSignal.timeout(WAIT_MS),
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    const text = await response.text();
    return { status: response.status, body: readJson(text), headers: response.headers };
  }
  return {
    baseUrl, ask,
    async must(method, path, options) {
      const reply = await ask(method, path, options);
      if (reply.status < 200 || reply.status > 299) throw new WireError(`${method} ${path}`, reply);
      return reply.body as unknown;
    },
  };
}

function readJson(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 500) };
  }
}
