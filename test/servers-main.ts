/** `npm run test:servers`: keeps the test servers up, so that `npm test -- <path>` starts at once. Ctrl-C ends them. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { keptServersFile, startTestServers } from './support/servers.ts';

const { servers, stop } = await startTestServers((sentence) => console.log(sentence));
mkdirSync(path.dirname(keptServersFile), { recursive: true });
writeFileSync(keptServersFile, JSON.stringify(servers, null, 2), { mode: 0o600 });
console.log(`The test servers are up until Ctrl-C; \`npm test\` finds them by ${keptServersFile}.`);

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    rmSync(keptServersFile, { force: true });
    void stop().then(() => process.exit(0));
  });
}
setInterval(() => undefined, 60_000);
