/** `npm start`: the whole platform in one process, on the servers the settings name or on embedded ones. */
import { once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv, type Env } from '../platform/env.ts';
import { runService, type Service } from '../platform/service.ts';
import { migrate } from '../prisma/migrate.ts';
import { ask } from '../temporal/connection.ts';
import { startStack, type Stack } from '../temporal/stack.ts';
import { createParts, type Parts } from '../workers/parts.ts';
import { createRuntime, type Runtime } from '../workers/runtime.ts';
import { createApp } from './app.ts';
import { booksProbe } from './books-probe.ts';
import type { HealthProbe } from './deps.ts';
import { createHttpServer } from './server.ts';
import { version } from './version.ts';

async function start(service: Service): Promise<void> {
  loadDotEnv();
  const env = readEnv(process.env);
  // Before the seconds that starting the servers takes.
  await refuseTakenPort(env);
  const stack = await startStack({ env, notice: service.say, signal: service.signal });
  service.onStop(() => stack.stop());
  const applied = await migrate(stack.databaseUrl);
  if (applied.length > 0) service.say(`The database is up to date; new: ${applied.join(', ')}.`);

  const parts = await createParts({ env, databaseUrl: stack.databaseUrl, temporalAddress: stack.temporalAddress, name: 'surety' });
  service.onStop(() => parts.stop());
  const runtime = await createRuntime({ ...parts, queues: env.WORKER_QUEUES });
  service.onStop(() => runtime.drain());
  await runtime.start();
  service.signal.throwIfAborted();

  const url = await serve(service, parts, runtime, stack);
  const readiness = await fetch(`${url}/health/ready`);
  if (readiness.status !== 200) throw new Error(`The platform does not get ready: ${await readiness.text()}`);
  const ui = stack.temporalUiUrl === undefined ? '' : `  Temporal UI: ${stack.temporalUiUrl}`;
  service.say(`Surety is ready  API: ${url}  Docs: ${url}/docs${ui}`);
}

/** Opens the door. Closing it comes first when the platform stops: no new requests, then those under way, then the connections. */
async function serve(service: Service, parts: Parts, runtime: Runtime, stack: Stack): Promise<string> {
  const { env, log } = parts;
  // The address is known only once the server listens: PORT may be 0.
  const links = { api: '', temporalUi: stack.temporalUiUrl ?? null };
  const api = createApp({
    ...parts, ...parts.registry, ...runtime.ports, probes: probes(parts), sellerKeys: [parts.signer.publicKey],
    startedAt: new Date(), version, links,
  });
  const server = createHttpServer(api.app);
  server.listen(env.PORT, env.HOST);
  await once(server, 'listening');
  const url = urlOf(server, env.HOST);
  links.api = env.PUBLIC_URL ?? url;
  service.onStop(async () => {
    const left = await api.drain(env.DRAIN_DEADLINE);
    if (left > 0) log.warn({ left }, 'Stopped before these requests were answered; their payments are finished by the next start.');
    server.close();
    server.closeAllConnections();
  });
  return url;
}

function probes({ pool, temporal, env }: Parts): HealthProbe[] {
  return [
    { name: 'database', required: true, check: async () => { await pool.query('SELECT 1'); return {}; } },
    // Calls are settled and released without it too, so its absence is no reason to send requests elsewhere.
    { name: 'temporal', required: false, check: async () => { await ask(temporal); return detailOf(temporal); } },
    booksProbe(pool, env.AUDIT_EVERY),
  ];
}

/** Nothing stops for a search attribute that is missing, so Temporal counts as healthy. */
function detailOf({ searchAttributes }: Parts['temporal']): { detail?: string } {
  const detail = searchAttributes.detail();
  return detail === null ? {} : { detail };
}

/** As a person on this machine would type it. */
function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

async function refuseTakenPort({ PORT, HOST }: Env): Promise<void> {
  const probe = createTcpServer().listen(PORT, HOST);
  try {
    await once(probe, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(code === 'EADDRINUSE' ? `Port ${PORT} of ${HOST} is taken; stop what listens there or choose another PORT.`
      : `Cannot listen on HOST ${HOST}, PORT ${PORT}: ${message}`, { cause: error });
  }
  probe.close();
  await once(probe, 'close');
}

await runService((sentence) => console.log(sentence), start);
