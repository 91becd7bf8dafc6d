/** The HTTP edge on a free port, with keys and a gateway of the test's choosing. What a test does not give must not be asked. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createApp, type Api } from '../../api/app.ts';
import type { ApiDeps } from '../../api/deps.ts';
import type { Caller, Route } from '../../api/routing/route.ts';
import { createHttpServer } from '../../api/server.ts';
import { readEnv } from '../../platform/env.ts';
import { createLog } from '../../platform/log.ts';
import { createMetrics } from '../../platform/metrics.ts';

export interface TestApp {
  readonly api: Api;
  readonly server: Server;
  readonly baseUrl: string;
  readonly port: number;
  ask(method: string, path: string, options?: AskOptions): Promise<Reply>;
  close(): Promise<void>;
}

export interface AskOptions {
  readonly key?: string;
  readonly adminSecret?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; a string or bytes as they are. */
  readonly body?: unknown;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look at what came
  readonly body: any;
}

export interface AppOptions {
  /** Settings as text, over generous rate limits. */
  readonly env?: Readonly<Record<string, string>>;
  /** Agents by the secret of their key; see {@link aCaller}. */
  readonly callers?: Readonly<Record<string, Caller>>;
  readonly routes?: readonly Route[];
  /** Real parts, where the test is about more than the edge. */
  readonly deps?: Partial<ApiDeps>;
}

/** An agent with a key. `n` makes both different from others. */
export function aCaller(n = 1, change: Partial<Caller> = {}): Caller {
  return { address: addressOf(n), keyId: `ak_${n}`, keyName: 'test', tenantId: null, createdAt: new Date(0), ...change };
}

export function addressOf(n: number): string {
  return `0x${n.toString(16).padStart(40, '0')}`;
}

/** Everything `createApp` needs. Parts that were not given fail loudly when they are used. */
export function someDeps({ env = {}, callers = {}, deps = {} }: AppOptions = {}): ApiDeps {
  const settings = readEnv({ RATE_LIMIT_RPM: '1000000', ...env });
  const keys = { authenticate: (secret: string) => Promise.resolve(callers[secret] ?? null) };
  return {
    env: settings, log: createLog('silent', 'test'), metrics: createMetrics({ runtime: false }),
    keys: keys as ApiDeps['keys'],
    prisma: absent('prisma'), pool: absent('pool'), reads: absent('reads'), agents: absent('agents'), services: absent('services'),
    ownership: absent('ownership'), catalogue: absent('catalogue'), gateway: absent('gateway'), payments: absent('payments'),
    cards: absent('cards'), ticks: absent('ticks'),
    pipelines: absent('pipelines'), longCalls: absent('longCalls'), codec: null,
    probes: [], sellerKeys: [], startedAt: new Date(0), version: '0.0.0-test', links: { api: 'http://127.0.0.1', temporalUi: null },
    ...deps,
  };
}

export async function startApp(options: AppOptions = {}): Promise<TestApp> {
  const api = createApp(someDeps(options), options.routes);
  const server = createHttpServer(api.app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${port}`;
  return {
    api, server, baseUrl, port,
    ask: (method, path, ask) => askAt(baseUrl + path, method, ask),
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}

/** One request to any address; see `TestApp.ask`. */
export async function askAt(url: string, method: string, { key, adminSecret, headers = {}, body }: AskOptions = {}): Promise<Reply> {
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(url, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(adminSecret === undefined ? {} : { 'x-admin-secret': adminSecret }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: raw ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function absent<T extends object>(name: string): T {
  return new Proxy({}, {
    get(_, property) {
      // Promises and inspection ask for these; everything else is a part the test forgot.
      if (typeof property === 'symbol' || property === 'then' || property === 'toJSON') return undefined;
      throw new Error(`This test gave the app no ${name} (asked for ${property}).`);
    },
  }) as T;
}
