import { createServer } from 'node:net';

/**
 * A TCP port of 127.0.0.1 that nobody listens on now. `preferred` is given back when it is still free, so that addresses stay the
 * same from one start to the next. Somebody else may take the port before it is used; callers try again with a new one.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await tryPort(preferred)) !== undefined) return preferred;
  const port = await tryPort(0);
  if (port === undefined) throw new Error('No free TCP port could be found on 127.0.0.1.');
  return port;
}

/** The port itself when it can be listened on, undefined when it is taken. 0 asks the system for any. */
function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(found));
    });
  });
}
