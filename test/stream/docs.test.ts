/** The commands of docs/stream.md, run as they stand there: those of agents with curl, those of operators with Temporal's CLI. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { defaultCacheDir, findTemporal } from '../../temporal/install.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';
import { aStream, step, streamNow } from '../support/streams.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'stream' });
const root = path.join(import.meta.dirname, '../..');

function blocks(page: string): string[] {
  return [...readFileSync(path.join(root, page), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '');
}

function bash(script: string, env: Readonly<Record<string, string>>): Promise<{ code: number | null; printed: string }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', `set -eo pipefail\n${script}`],
      { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { printed += text; });
    child.once('close', (code) => resolve({ code, printed }));
  });
}

test('the stream in curl works as it is written, with the helpers of the README', async () => {
  const helpers = (blocks('README.md').find((block) => block.includes('field()')) ?? '').split('\n')
    .filter((line) => /^(field|post|get)\(\)/.test(line)).join('\n');
  const curl = blocks('docs/stream.md').find((block) => block.includes('/top-up')) ?? '';
  const [buyer, seller] = [await platform().aTrader('2.00'), await platform().aTrader()];
  const { code, printed } =
    await bash(`${helpers}\n${curl}`,
    { API: platform().baseUrl, BUYER: buyer.address, BUYER_KEY: buyer.key, SELLER: seller.address, SELLER_KEY: seller.key });
  const answers = printed.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  if (code !== 0 || answers.some((answer) => answer['error'] !== undefined)) throw new Error(
    `The commands ended with ${code}:\n${printed}`);
  expect(answers.at(-1)).toMatchObject({ stream: { status: 'closed', spentAmount: '0.501000', closeReason: 'done' } });
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('1.499'), pending: 0n });
  expect((await platform().moneyOf(seller)).available).toBe(usdc('0.501'));
});

test('each command for operators works as it is written', async () => {
  const { temporalAddress } = testServers();
  const named = process.env['TEMPORAL_CLI'];
  const cli = await findTemporal({ ...(named === undefined ? {} : { cli: named }), cacheDir: process.env['CACHE_DIR'] ?? defaultCacheDir(),
    notice: () => undefined });
  const lines = (blocks('docs/stream.md').find((block) => block.includes('temporal workflow')) ?? '').trim().split('\n');
  const run = (line: string, id: string) =>
    bash(line.replace(/^temporal /, '"$CLI" '), { CLI: cli, STREAM: id, TEMPORAL_ADDRESS: temporalAddress });
  const [signal = '', update = '', query = ''] = lines;
  expect(lines).toHaveLength(3);

  const signalled = await aStream(platform());
  await step(platform(), signalled, 'tick');
  expect((await run(query, signalled.id)).printed).toMatch(/"?state"?:\s*"?open/);
  expect(await run(signal, signalled.id)).toMatchObject({ code: 0 });
  await eventually(async () => expect(await streamNow(platform(), signalled))
    .toMatchObject({ status: 'closed', closeReason: 'the meter is broken' }));

  const updated = await aStream(platform());
  expect(await run(update, updated.id)).toMatchObject({ code: 0, printed: expect.stringContaining('closed') });
  expect(await streamNow(platform(), updated)).toMatchObject({ status: 'closed', closeReason: 'asked by mail' });
}, 60_000);
