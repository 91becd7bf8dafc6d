/** docs/multistep.md is true: its commands and its pipeline are run as they are written there. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findTemporal } from '../../temporal/install.ts';
import type { Trader } from '../support/market.ts';
import { anOpenMultistep, moneyIn, read } from '../support/multistep.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,multistep' });
const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(path.join(root, 'docs/multistep.md'), 'utf8');
const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '');

let folder: string;
beforeAll(() => { folder = mkdtempSync(path.join(tmpdir(), 'surety-guide-')); });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: readonly string[],
    env: Readonly<Record<string, string>>): Promise<{ code: number | null; printed: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args,
      { cwd: folder, env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { printed += text; });
    child.once('close', (code) => resolve({ code, printed }));
  });
}

/** Runs the pipeline of the page as a program of its own. */
async function pipeline(buyer: Trader, steps: readonly object[]): Promise<Record<string, unknown>> {
  const [text = ''] = blocks('js');
  writeFileSync(path.join(folder, 'pipeline.mjs'), text);
  const { code, printed } = await run(process.execPath, ['pipeline.mjs', JSON.stringify(steps)],
    { SURETY_API: platform().baseUrl, SURETY_KEY: buyer.key });
  if (code !== 0) throw new Error(`The pipeline ended with ${code}:\n${printed}`);
  return JSON.parse(printed) as Record<string, unknown>;
}

test('the pipeline is short enough to read', () => {
  expect(blocks('js')).toHaveLength(1);
  expect((blocks('js')[0] ?? '').trim().split('\n').length).toBeLessThanOrEqual(60);
});

test('the commands by HTTP work as they are written', async () => {
  const [buyer, words, chart] = [await platform().aTrader('10'), await platform().aTrader(), await platform().aTrader()];
  const helpers = readme.split('\n').filter((line) => /^(field|post|get)\(\)/.test(line)).join('\n');
  const commands = blocks('sh').filter((block) => block.includes('/v1/escrow/multistep')).join('\n');
  const { code, printed } = await run('bash', ['-c', `set -eo pipefail\n${helpers}\n${commands}`], {
    API: platform().baseUrl, BUYER: buyer.address, BUYER_KEY: buyer.key, SELLER: words.address, CHART: chart.address,
  });
  if (code !== 0) throw new Error(`The commands ended with ${code}:\n${printed}`);
  const answers = printed.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(answers).toMatchObject([{ escrow: { confirmedSteps: 1 } }, { escrow: { status: 'open' } },
    { escrow: { status: 'aborted', refundedAmount: '0.200000' } }, { count: 1, has_more: false }]);
  expect(await moneyIn(platform().db.pool, buyer)).toEqual({ available: 9_900_000, escrowed: 0 });
}, 30_000);

test('the commands for Temporal work as they are written', async () => {
  const cli = await findTemporal({ cli: process.env['TEMPORAL_CLI'], cacheDir: process.env['CACHE_DIR'], notice: () => undefined });
  const escrow = await anOpenMultistep(platform());
  const lines = blocks('sh').filter((block) => block.includes('surety-confirm-step')).join('').trim().split('\n');
  expect(lines).toHaveLength(4);
  // The refund ends it, so it comes last here.
  for (const line of [...lines.filter((text) => !text.includes('surety-refund')),
      ...lines.filter((text) => text.includes('surety-refund'))]) {
    const command = line.replaceAll('multistep-escrow-mse_…', escrow.workflowId).replace(/^temporal/, `'${cli}'`);
    const { code, printed } = await run('bash', ['-c', command], { TEMPORAL_ADDRESS: testServers().temporalAddress });
    if (code !== 0) throw new Error(`${command} ended with ${code}:\n${printed}`);
    if (line.includes('query')) expect(printed).toContain('"lastRefusal":null');
    if (line.includes('"stepIndex": 0')) await eventually(async () => expect((await read(platform(), escrow)).body.escrow.confirmedSteps)
      .toBe(1));
  }
  await eventually(async () => expect((await read(platform(), escrow)).body.escrow)
    .toMatchObject({ status: 'aborted', confirmedSteps: 2, refundedAmount: '0.300000' }));
}, 60_000);

test('the pipeline hands results on with their types, and pays every seller that delivered', async () => {
  const [first, second, third] = [await seller('First'), await seller('Second', { kind: 'text', text: '{"words":3,"list":[1,2]}' }),
    await seller('Third')];
  const offers = [await platform().offers(first, { serviceType: 'one', price: '0.10' }),
    await platform().offers(second, { serviceType: 'two', price: '0.25' }),
    await platform().offers(third, { serviceType: 'three', price: '0.000001' })];
  const buyer = await platform().aTrader('1');
  const result = await pipeline(buyer, [
    { type: 'one', params: { text: 'hello', n: 3, price: '$5' } },
    { type: 'two', params: { n: '$prev.n', all: '$prev', text: 'not $prev' } },
    { type: 'three', params: { words: '$prev.words', list: '$prev.list', all: '$prev' } },
  ]);
  expect(result).toMatchObject({ error: null,
    outputs: [{ text: 'hello', n: 3, price: '$5' }, { words: 3, list: [1, 2] },
    { words: 3, list: [1, 2], all: { words: 3, list: [1, 2] } }] });
  expect(second.requests.map(({ body }) => JSON.parse(body) as unknown))
    .toEqual([{ n: 3, all: { text: 'hello', n: 3, price: '$5' }, text: 'not $prev' }]);
  expect(second.requests[0]?.headers['x-escrow-id']).toBe(result['id']);
  expect(await Promise.all(offers.map(async (offer) => (await moneyIn(platform().db.pool, offer)).available)))
    .toEqual([100_000, 250_000, 1]);
  expect(await moneyIn(platform().db.pool, buyer)).toEqual({ available: 649_999, escrowed: 0 });
}, 30_000);

test.each([
  ['answers an error status', { kind: 'status', status: 500 }, {}, /Third did not deliver: status 500/],
  ['answers with an error', { kind: 'text', text: '{"error":"no ink"}' }, {}, /Third did not deliver: no ink/],
  ['would need a value that the step before did not give', { kind: 'ok' }, { text: '$prev.missing' }, /The step before gave no "missing"/],
] as const)('a pipeline whose third step %s pays the first two and gets the rest back', async (_what, behaviour, params, error) => {
  for (const [name, serviceType] of [['First', 'one'], ['Second', 'two']] as const) await platform()
    .offers(await seller(name), { serviceType, price: '0.10' });
  await platform().offers(await seller('Third', behaviour), { serviceType: 'three', price: '0.30' });
  const buyer = await platform().aTrader('0.5');
  const result = await pipeline(buyer, [{ type: 'one', params: {} }, { type: 'two', params: {} }, { type: 'three', params }]);
  expect(result).toMatchObject({ error: expect.stringMatching(error), paid: '0.200000', returned: '0.300000' });
  expect(await moneyIn(platform().db.pool, buyer)).toEqual({ available: 300_000, escrowed: 0 });
}, 30_000);
