/**
 * The load generator's HTTP/1.1 client: one keep-alive socket, one request at a time, no more work than needed, because it shares
 * the processor with what it measures. It understands status lines and Content-Length and refuses everything else.
 */
import { connect, type Socket } from 'node:net';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpClient {
  /** Sends a request as it stands. Rejects when the connection breaks or stays silent; the next request opens a new one. */
  send(request: string): Promise<HttpAnswer>;
  close(): void;
}

interface Waiting {
  resolve(answer: HttpAnswer): void;
  reject(error: Error): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const EMPTY = Buffer.alloc(0);
/** Longer than the platform may take (REQUEST_TIMEOUT), so that only a lost answer ends here. */
const SILENCE_MS = 35_000;

export function createHttpClient(host: string, port: number): HttpClient {
  let socket: Socket | null = null;
  let waiting: Waiting | null = null;
  let received: Buffer = EMPTY;

  function fail(error: Error): void {
    socket?.destroy();
    socket = null;
    received = EMPTY;
    const { reject } = waiting ?? {};
    waiting = null;
    reject?.(error);
  }

  function open(): Socket {
    const fresh = connect({ host, port, noDelay: true });
    fresh.on('data', (chunk: Buffer) => {
      if (fresh !== socket) return;
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      try {
        const parsed = parseAnswer(received);
        if (parsed === null) return;
        received = received.subarray(parsed.bytes);
        const { resolve } = waiting ?? {};
        waiting = null;
        if (parsed.close) { fresh.destroy(); socket = null; }
        resolve?.(parsed.answer);
      } catch (error) {
        fail(error as Error);
      }
    });
    fresh.setTimeout(SILENCE_MS,
      () => { if (fresh === socket && waiting !== null) fail(new Error(`No answer in ${SILENCE_MS / 1000} s.`)); });
    fresh.on('error', (error) => { if (fresh === socket) fail(error); });
    fresh.on('close', () => { if (fresh === socket) fail(new Error('The server closed the connection.')); });
    return fresh;
  }

  return {
    send(request) {
      if (waiting !== null) return Promise.reject(new Error('This client has a request under way.'));
      socket ??= open();
      const connection = socket;
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        connection.write(request);
      });
    },
    close() {
      socket?.destroy();
      socket = null;
    },
  };
}

/** Reads one whole answer from the start of the buffer; null when more must arrive first. @throws on anything unexpected. */
export function parseAnswer(buffer: Buffer): { answer: HttpAnswer; bytes: number; close: boolean } | null {
  const headEnd = buffer.indexOf(HEAD_END);
  if (headEnd < 0) return null;
  const head = buffer.toString('latin1', 0, headEnd);
  const status = Number(head.slice(9, 12));
  if (!head.startsWith('HTTP/1.1 ') || !Number.isInteger(status)) throw new Error(`This is no HTTP/1.1 answer: ${head.slice(0, 40)}`);
  const length = status === 204 || status === 304 ? '0' : headerOf(head, 'content-length');
  if (length === null) throw new Error('The answer has no Content-Length.');
  const bytes = headEnd + HEAD_END.length + Number(length);
  if (buffer.length < bytes) return null;
  const answer = { status, body: buffer.toString('utf8', headEnd + HEAD_END.length, bytes) };
  return { answer, bytes, close: headerOf(head, 'connection')?.toLowerCase() === 'close' };
}

function headerOf(head: string, name: string): string | null {
  return new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i').exec(head)?.[1] ?? null;
}

/** The beginning of a POST of JSON, made once for many requests; a tail made by {@link requestTail} completes it. */
export function requestHead(host: string, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = [`POST ${path} HTTP/1.1`, `Host: ${host}`, 'Content-Type: application/json',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  return `${lines.join('\r\n')}\r\n`;
}

export function requestTail(body: string): string {
  return `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
