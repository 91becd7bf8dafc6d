/**
 * `npm run histories`: lives every story on a real platform and keeps the histories of its workflows under test/workflows/histories.
 * With words behind it (`npm run histories -- gateway-session`), only stories whose names begin with one of them. To be run when a
 * workflow changes on purpose, after what is there was moved into a folder of its own: see docs/changing-workflows.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { serversEnvironment, startTestServers } from '../support/servers.ts';
import { startPlatform } from '../support/platform.ts';
import { stories } from './stories.ts';

const folder = fileURLToPath(new URL('./histories/', import.meta.url));
const wanted = process.argv.slice(2);
const chosen = stories.filter(({ name }) => wanted.length === 0 || wanted.some((beginning) => name.startsWith(beginning)));

/** Names and folders of this machine are nobody's business, and a replay asks for neither. */
function withoutMachine(key: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return key === 'stackTrace' ? '' : value.replace(/\b\d+@[\w.-]+/g, 'recorder');
}

const { servers, stop } = await startTestServers((sentence) => console.log(sentence));
Object.assign(process.env, serversEnvironment(servers));
try {
  const platform = await startPlatform({ SELLER_TIMEOUT: '8s' });
  mkdirSync(folder, { recursive: true });
  for (const { name, live } of chosen) {
    const lived = await live(platform);
    const { workflowId, runId } = typeof lived === 'string' ? { workflowId: lived, runId: undefined } : lived;
    const handle = platform.temporal.client.workflow.getHandle(workflowId, runId);
    await handle.result().catch((error: unknown) => console.log(`${name} ended with: ${(error as Error).message}`));
    const history = await handle.fetchHistory();
    const text = JSON.stringify(JSON.parse(historyToJSON(history)), withoutMachine, 1);
    writeFileSync(`${folder}${name}.json`, `${text}\n`);
    console.log(`${name}: ${history.events?.length ?? 0} events`);
  }
  await platform.close();
} finally {
  await stop();
}
process.exit();
