/**
 * `npm test [-- jest arguments]`: one Postgres and one Temporal for the whole run, then jest on them with two workers.
 * Servers kept up by `npm run test:servers` are used when they answer.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ask } from '../temporal/connection.ts';
import { keptServersFile, makeTemplate, serversEnvironment, startTestServers, type TestServers } from './support/servers.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Running {
  readonly servers: TestServers;
  stop(): Promise<void>;
}

/** Servers of `npm run test:servers`, with a template of today's migrations; undefined when there are none or they do not answer. */
async function keptServers(): Promise<Running | undefined> {
  try {
    const kept = JSON.parse(readFileSync(keptServersFile, 'utf8')) as TestServers;
    await ask({ address: kept.temporalAddress, namespace: 'default' });
    return { servers: { ...kept, template: await makeTemplate(kept.databaseUrl) }, stop: () => Promise.resolve() };
  } catch {
    return undefined;
  }
}

async function runJest(servers: TestServers, args: readonly string[]): Promise<number> {
  const child = spawn(
    process.execPath,
    // Jest loads ES modules through vm; node calls that experimental and says so for every worker.
    ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js', '--maxWorkers=2', ...args],
    { cwd: root, stdio: 'inherit', env: { ...process.env, ...serversEnvironment(servers) } },
  );
  // The terminal sends Ctrl-C to jest as well; we only have to outlive it and stop the servers.
  const pass = (signal: NodeJS.Signals): void => { child.kill(signal); };
  process.on('SIGINT', () => undefined).on('SIGTERM', pass).on('SIGHUP', pass);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

const running = (await keptServers()) ?? (await startTestServers((sentence) => console.error(sentence)));
try {
  process.exitCode = await runJest(running.servers, process.argv.slice(2));
} finally {
  await running.stop();
}
// Exits by itself only when nothing is left open; that is for jest's processes to prove, not for this one.
process.exit();
