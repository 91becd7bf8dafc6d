import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Where ports are looked for. The systems we run on give ports from 32768 up to outgoing connections, so one from there could be
 * taken between choosing and using it, or while a killed server is away that is to come back at its old address.
 */
const LOWEST = 20_000;
const HIGHEST = 32_767;

/**
 * A TCP port of 127.0.0.1 that nobody listens on now. `preferred` is given back when it is still free, so that addresses stay the
 * same from one start to the next. Another server may still take the port before it is used; callers try again with a new one.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await isFree(preferred))) return preferred;
  const count = HIGHEST - LOWEST + 1;
  // From a random place, so that two processes that look at the same moment do not find the same one.
  const start = randomInt(count);
  for (let step = 0; step < count; step += 1) {
    const port = LOWEST + ((start + step) % count);
    if (await isFree(port)) return port;
  }
  throw new Error(`No free TCP port from ${LOWEST} to ${HIGHEST} could be found on 127.0.0.1.`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
