/**
 * A seller's HTTP server: it checks that it is paid, does the work once for each Idempotency-Key, and answers a repeated key
 * with the first result. This is all a seller needs to be safe behind Surety; docs/sellers.md tells the same in words.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAmountText, parseAmount } from '../../domain/money.ts';
import type { Received } from '../../platform/seller-signature.ts';

/** One thing a shop sells. */
export interface Desk {
  /** Path of the endpoint, such as `/word-statistics`. */
  readonly path: string;
  /** The least the seller works for, as a decimal string. */
  readonly price: string;
  /** Does the work. @throws RangeError or TypeError when the parameters make no sense. */
  readonly work: (params: Readonly<Record<string, unknown>>) => unknown;
  /** How long the work takes at least; for a demonstration of what happens meanwhile. */
  readonly delayMs?: number;
  /** Where nobody waits, it takes the order with 202 and delivers so much later, through the link that came with the order. */
  readonly laterMs?: number;
  /** Answers 500 to everything. */
  readonly broken?: boolean;
}

/** What a shop remembers of one paid request. */
export interface Job {
  readonly path: string;
  readonly idempotencyKey: string | null;
  readonly paidBy: string | null;
  readonly amount: string | null;
  /** How often the platform asked. */
  requests: number;
  /** How often the work was really done. Never more than once for one key. */
  worked: number;
}

export interface Shop {
  readonly server: Server;
  /** Every job so far, oldest first. */
  readonly jobs: readonly Job[];
}

/** Says whether a request really comes from the platform, and is meant for the seller at that path. */
export type SignatureCheck = (received: Received) => Promise<boolean>;

interface Answer {
  readonly status: number;
  readonly body: unknown;
}
interface Remembered {
  readonly bodyHash: string;
  readonly job: Job;
  readonly answer: Promise<Answer>;
}

const BODY_BYTES_MAX = 2 * 1024 * 1024;
/** A real shop keeps its answers in a database; a demo in memory, up to this many. */
const REMEMBERED_MAX = 10_000;

/** Makes a shop; it does not listen yet. `GET /jobs` shows what it did and for whom. */
export function createShop(desks: readonly Desk[], isFromPlatform: SignatureCheck): Shop {
  const jobs: Job[] = [];
  const remembered = new Map<string, Remembered>();
  const byPath = new Map(desks.map((desk) => [desk.path, desk]));
  const server = createServer((request, response) => {
    serve(request)
      .catch((error: unknown): Answer => ({ status: error instanceof RangeError ? 413 : 500, body: { error: (error as Error).message } }))
      .then((answer) => send(response, answer), () => response.destroy());
  });
  return { server, jobs };

  async function serve(request: IncomingMessage): Promise<Answer> {
    if (request.method === 'GET' && request.url === '/jobs') return { status: 200, body: { jobs } };
    const desk = byPath.get(request.url ?? '');
    if (request.method !== 'POST' || desk === undefined) return { status: 404, body: { error: 'Nothing is sold here.' } };
    const body = await readBody(request);
    if (!(await isFromPlatform({ method: 'POST', path: desk.path, headers: request.headers, body }))) return { status: 401,
      body: { error: 'The signature of the platform is missing or wrong.' } };
    const amount = header(request, 'x-payment-amount');
    if (amount === null || !isAmountText(amount) || parseAmount(amount) < parseAmount(desk.price)) {
      return { status: 402, body: { error: `This costs ${desk.price} USDC.` } };
    }
    const link = header(request, 'x-payment-complete');
    return once(link === null || desk.laterMs === undefined ? desk : { ...desk, link }, body,
      { path: desk.path, idempotencyKey: header(request, 'idempotency-key'), paidBy: header(request, 'x-payment-from'), amount,
      requests: 1, worked: 0 });
  }

  /** The promise is remembered before the work begins, so a second request that comes in the middle waits for the same work. */
  function once(desk: Order, body: string, job: Job): Promise<Answer> {
    // The sellers of this process are strangers to each other: one call that goes on to the next seller keeps its key.
    const key = job.idempotencyKey === null ? null : `${desk.path} ${job.idempotencyKey}`;
    const bodyHash = createHash('sha256').update(body).digest('hex');
    const known = key === null ? undefined : remembered.get(key);
    if (known !== undefined) {
      known.job.requests += 1;
      if (known.bodyHash !== bodyHash) return Promise.resolve({ status: 422,
        body: { error: 'This Idempotency-Key came with another request before.' } });
      return known.answer;
    }
    jobs.push(job);
    const answer = work(desk, body, job);
    if (key !== null) {
      const oldest = remembered.size >= REMEMBERED_MAX ? remembered.keys().next().value : undefined;
      if (oldest !== undefined) remembered.delete(oldest);
      remembered.set(key, { bodyHash, job, answer });
    }
    return answer;
  }
}

/** A desk, and where to deliver if nobody waits. */
type Order = Desk & { readonly link?: string };

/** Takes an order that nobody waits for: says half-way that it is at work, and delivers when it is done. */
async function deliverLater(link: string, laterMs: number, deliver: () => Promise<Answer>): Promise<void> {
  const post = (to: string, body: object) =>
    fetch(to, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  await sleep(laterMs / 2);
  await post(link.replace('/complete?', '/progress?'), { percent: 50, note: 'Half of it is read.' });
  await sleep(laterMs / 2);
  const { status, body } = await deliver();
  if (status === 200) await post(link, { result: body });
  else await post(link.replace('/complete?', '/fail?'), { reason: JSON.stringify(body) });
}

async function work({ link, ...desk }: Order, body: string, job: Job): Promise<Answer> {
  if (link !== undefined) {
    deliverLater(link, desk.laterMs ?? 0, () => work(desk, body, job))
      // The platform gives the money back when the time is up.
      .catch((error: unknown) => console.error(`An order could not be delivered: ${(error as Error).message}`));
    return { status: 202, body: {} };
  }
  if (desk.broken === true) return { status: 500, body: { error: 'This seller is broken.' } };
  if (desk.delayMs !== undefined) await sleep(desk.delayMs);
  try {
    const params: unknown = JSON.parse(body);
    if (typeof params !== 'object' || params === null || Array.isArray(params)) throw new TypeError('The body must be a JSON object.');
    const output = desk.work(params as Record<string, unknown>);
    job.worked += 1;
    return { status: 200, body: { output } };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) return { status: 422,
      body: { error: error.message } };
    throw error;
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new RangeError('The request is too large.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function header(request: IncomingMessage, name: string): string | null {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

function send(response: ServerResponse, answer: Answer): void {
  // Who asked may be gone by now (that is what the demo's kill step is about); the work is remembered all the same.
  if (response.destroyed) return;
  const text = JSON.stringify(answer.body);
  response.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
