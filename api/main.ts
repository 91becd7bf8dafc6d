/**
 * `npm start`: the whole platform in one process, on the servers the settings name or on embedded ones. What the servers' processes need
 * is imported first and the rest while they start, because both take about as long.
 */
import { once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv, type Env } from '../platform/env.ts';
import { runService, type Service } from '../platform/service.ts';
import { createStopwatch } from '../platform/stopwatch.ts';
import { startStack } from '../temporal/stack.ts';

async function start(service: Service): Promise<void> {
  const watch = createStopwatch('begun');
  loadDotEnv();
  const env = readEnv(process.env);
  service.stopWithin(env.STOP_DEADLINE);
  // Before the seconds that starting the servers takes.
  await refuseTakenPort(env);
  const importing = () => watch.timed('programs', import('./serve-main.ts'));
  let programs: ReturnType<typeof importing> | undefined;
  const onSpawned = (): void => void (programs ??= importing());
  const stack = await watch.timed('servers', startStack({ env, notice: service.say, signal: service.signal, onSpawned }));
  service.onStop((deadline) => stack.stop(deadline));
  const { serve } = await (programs ??= importing());
  const url = await serve({ service, env, stack, watch });

  const readiness = await fetch(`${url}/health/ready`);
  if (readiness.status !== 200) throw new Error(`The platform does not get ready: ${await readiness.text()}`);
  const ui = stack.temporalUiUrl === undefined ? '' : `  Temporal UI: ${stack.temporalUiUrl}`;
  service.say(`Ready after ${watch.sentence()}.`);
  service.say(`Surety is ready  API: ${url}  Docs: ${url}/docs${ui}`);
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
