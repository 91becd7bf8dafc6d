/** The larger half of `npm start`: everything that needs the servers, from the migrations to the open door. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Env } from '../platform/env.ts';
import type { Service } from '../platform/service.ts';
import type { Stopwatch } from '../platform/stopwatch.ts';
import { migrate } from '../prisma/migrate.ts';
import type { Stack } from '../temporal/stack.ts';
import { createParts, type Parts } from '../workers/parts.ts';
import { createRuntime, type Runtime } from '../workers/runtime.ts';
import { createApp } from './app.ts';
import { probes } from './probes.ts';
import { createHttpServer } from './server.ts';
import { version } from './version.ts';

/** Serves requests and task queues. @returns the address of the API. */
export async function serve({ service, env, stack, watch }: {
  readonly service: Service; readonly env: Env; readonly stack: Stack; readonly watch: Stopwatch;
}): Promise<string> {
  const { databaseUrl, temporalAddress } = stack;
  const applied = await watch.timed('database', migrate(databaseUrl));
  if (applied.length > 0) service.say(`The database is up to date; new: ${applied.join(', ')}.`);

  const parts = await watch.timed('connections', createParts({ env, databaseUrl, temporalAddress, name: 'surety' }));
  service.onStop(() => parts.stop());
  const runtime = await createRuntime({ ...parts, queues: env.WORKER_QUEUES });
  service.onStop(() => runtime.drain());
  await watch.timed('workers', runtime.start('first'));
  service.signal.throwIfAborted();

  const url = await listen(service, parts, runtime, stack);
  // First of all: what is not begun here is begun elsewhere at once, while the requests under way end.
  service.onStop(() => runtime.quiesce());
  return url;
}

/** Opens the door. When the platform stops it is closed before what is behind it: no new requests, then those under way, then the rest. */
async function listen(service: Service, parts: Parts, runtime: Runtime, stack: Stack): Promise<string> {
  const { env, log } = parts;
  // The address is known only once the server listens: PORT may be 0.
  const links = { api: '', temporalUi: stack.temporalUiUrl ?? null };
  const api = createApp({
    ...parts, ...parts.registry, ...runtime.ports, probes: probes(parts, runtime), sellerKeys: [parts.signer.publicKey],
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

/** As a person on this machine would type it. */
function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}
