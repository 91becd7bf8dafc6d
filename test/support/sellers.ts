/** Real HTTP sellers on loopback that can be good, slow, broken, enormous or gone, and that remember what they were asked. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a seller does with the next requests. */
export type Behaviour =
  /** 200 `{output: <params>, seller: <name>}`. */
  | { readonly kind: 'ok' }
  /** As ok, after a while. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** This status with a small JSON body. */
  | { readonly kind: 'status'; readonly status: number }
  /** 302 to another address. */
  | { readonly kind: 'redirect'; readonly to: string }
  /** 200 with a JSON body of so many bytes. */
  | { readonly kind: 'huge'; readonly bytes: number }
  /** Reads the request, then resets the connection without an answer. */
  | { readonly kind: 'reset' }
  /** Sends the head and half of the body, then resets the connection. */
  | { readonly kind: 'cut' }
  /** Never answers. */
  | { readonly kind: 'hang' }
  /** Sends one byte each `everyMs` for ever. */
  | { readonly kind: 'drip'; readonly everyMs: number }
  /** 200 with exactly this text, such as broken JSON, an array, or nothing. */
  | { readonly kind: 'text'; readonly text: string; readonly contentType?: string; readonly headers?: Readonly<Record<string, string>> };

/** A request as it reached the seller. */
export interface SellerRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly idempotencyKey: string | null;
  readonly body: string;
  /** Of the client's end of the connection; the same port means the same connection. */
  readonly port: number | undefined;
  /** Set when the answer was completely written. */
  answered: boolean;
}

export interface Seller {
  readonly name: string;
  /** Where it listens, such as `http://127.0.0.1:40123`. */
  readonly baseUrl: string;
  /** `baseUrl` with the path of its service; for `POST /v1/agents/:address/services`. */
  readonly endpoint: string;
  readonly port: number;
  /** Oldest first. */
  readonly requests: readonly SellerRequest[];
  /** Requests that carried this idempotency key. */
  requestsFor(idempotencyKey: string): SellerRequest[];
  /** From the next request on. */
  behave(behaviour: Behaviour): void;
  /** What the next requests get, one each; afterwards the usual behaviour. */
  behaveOnce(...behaviours: readonly Behaviour[]): void;
  /** Stops listening and resets every connection; what was recorded stays. */
  close(): Promise<void>;
}

/** Starts a seller on a port of 127.0.0.1, a free one unless it is named. Close it at the end of the test. */
export async function startSeller(name = 'seller', behaviour: Behaviour = { kind: 'ok' }, onPort = 0): Promise<Seller> {
  let usual = behaviour;
  const queue: Behaviour[] = [];
  const requests: SellerRequest[] = [];
  const server = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy());
  });
  await new Promise<void>((resolve) => server.listen(onPort, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${port}`;

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await textOf(req);
    const key = req.headers['idempotency-key'];
    const request: SellerRequest = {
      method: req.method ?? '', path: req.url ?? '', headers: req.headers, idempotencyKey: typeof key === 'string' ? key : null, body,
      port: req.socket.remotePort, answered: false,
    };
    requests.push(request);
    res.on('finish', () => (request.answered = true));
    await perform(queue.shift() ?? usual, { name, body, req, res });
  }

  return {
    name, baseUrl, port, requests,
    endpoint: `${baseUrl}/work`,
    requestsFor: (idempotencyKey) => requests.filter((request) => request.idempotencyKey === idempotencyKey),
    behave(next) {
      usual = next;
      queue.length = 0;
    },
    behaveOnce: (...next) => void queue.push(...next),
    close: () => closeServer(server),
  };
}

interface Turn {
  readonly name: string;
  readonly body: string;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

async function perform(behaviour: Behaviour, turn: Turn): Promise<void> {
  const { req, res } = turn;
  switch (behaviour.kind) {
    case 'ok':
      return answerOk(turn);
    case 'slow':
      await sleep(behaviour.ms, undefined, { ref: false });
      return answerOk(turn);
    case 'status':
      return json(res, behaviour.status, { error: `status ${behaviour.status}` });
    case 'redirect':
      res.writeHead(302, { location: behaviour.to }).end();
      return;
    case 'huge':
      return sendHuge(res, behaviour.bytes);
    case 'reset':
      req.socket.resetAndDestroy();
      return;
    case 'cut':
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      res.write('{"output":"half of', () => req.socket.resetAndDestroy());
      return;
    case 'hang':
      return;
    case 'drip':
      return drip(res, behaviour.everyMs);
    case 'text':
      res.writeHead(200, { 'content-type': behaviour.contentType ?? 'application/json', ...behaviour.headers }).end(behaviour.text);
  }
}

function answerOk({ name, body, res }: Turn): void {
  let output: unknown = body;
  try {
    output = JSON.parse(body);
  } catch {
    // Not JSON: echoed as text.
  }
  json(res, 200, { output, seller: name });
}

function json(res: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

async function sendHuge(res: ServerResponse, bytes: number): Promise<void> {
  res.writeHead(200, { 'content-type': 'application/json' });
  res.write('{"output":"');
  const chunk = 'x'.repeat(64 * 1024);
  for (let sent = 0; sent < bytes && !res.destroyed; sent += chunk.length) {
    if (!res.write(chunk)) await drained(res);
  }
  res.end('"}');
}

function drained(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      res.off('drain', done).off('close', done);
      resolve();
    };
    res.on('drain', done).on('close', done);
  });
}

function drip(res: ServerResponse, everyMs: number): void {
  res.writeHead(200, { 'content-type': 'application/json' });
  const timer = setInterval(() => res.write(' '), everyMs);
  res.on('close', () => clearInterval(timer));
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
