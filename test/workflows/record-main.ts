/**
 * `npm run histories`: lives every story on a real platform and keeps the histories of its workflows under test/workflows/histories.
 * To be run when a workflow changes on purpose; a release keeps the histories of the versions before it beside the new ones.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { serversEnvironment, startTestServers } from '../support/servers.ts';
import { startPlatform } from '../support/platform.ts';
import { stories } from './stories.ts';

const folder = fileURLToPath(new URL('./histories/', import.meta.url));

const { servers, stop } = await startTestServers((sentence) => console.log(sentence));
Object.assign(process.env, serversEnvironment(servers));
try {
  const platform = await startPlatform({ SELLER_TIMEOUT: '8s' });
  mkdirSync(folder, { recursive: true });
  for (const { name, live } of stories) {
    const handle = platform.temporal.client.workflow.getHandle(await live(platform));
    await handle.result().catch((error: unknown) => console.log(`${name} ended with: ${(error as Error).message}`));
    const history = await handle.fetchHistory();
    // Names of this machine are nobody's business.
    const text = JSON.stringify(JSON.parse(historyToJSON(history)), (_key, value: unknown) => (typeof value === 'string' ? value.replace(/\b\d+@[\w.-]+/g, 'recorder') : value), 1);
    writeFileSync(`${folder}${name}.json`, `${text}\n`);
    console.log(`${name}: ${history.events?.length ?? 0} events`);
  }
  await platform.close();
} finally {
  await stop();
}
process.exit();
