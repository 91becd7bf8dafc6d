/** The door of a process without an API: its figures for Prometheus, whether it runs, and whether its workers do. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from './metrics.ts';

export interface MetricsServer {
  /** As a person on this machine would type it. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface MetricsServerOptions {
  readonly metrics: Pick<Metrics, 'render'>;
  /** Asked for `/health/ready`; never rejects. */
  readonly health: () => Promise<{ readonly healthy: boolean; readonly detail?: string }>;
  readonly host: string;
  readonly port: number;
}

/**
 * Serves `/metrics`, `/health/live` and `/health/ready` (200 or 503) as the API does, and nothing else.
 * @throws Error that names METRICS_PORT when it cannot be listened on.
 */
export async function serveMetrics({ metrics, health, host, port }: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer((req, res) => {
    const path = (req.url ?? '').split('?')[0];
    if (req.method !== 'GET' && req.method !== 'HEAD') return send(res, 405, 'text/plain', 'Only GET.\n');
    if (path === '/health/live') return send(res, 200, 'application/json', '{"status":"alive"}');
    if (path === '/health/ready') {
      void health().then(({ healthy, detail }) =>
        send(res, healthy ? 200 : 503, 'application/json', JSON.stringify({ status: healthy ? 'ready' : 'degraded', detail })));
      return;
    }
    if (path !== '/metrics') return send(res, 404, 'text/plain', 'There are /metrics, /health/live and /health/ready.\n');
    metrics.render().then(({ contentType, text }) => send(res, 200, contentType, text),
      () => send(res, 500, 'text/plain', 'The figures could not be collected.\n'));
  });
  // It is for machines in the same house; nobody needs longer than this to ask for one page.
  server.requestTimeout = 5_000;
  server.maxConnections = 50;
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    throw new Error(`Cannot listen on METRICS_PORT ${port} of HOST ${host}: ${(error as Error).message}`, { cause: error });
  }
  const { port: actual } = server.address() as AddressInfo;
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return {
    url: `http://${name.includes(':') ? `[${name}]` : name}:${actual}`,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function send(res: ServerResponse, status: number, contentType: string, body: string): void {
  res.writeHead(status,
    { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body), 'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff' }).end(body);
}
