/** The commands of docs/card.md, run as they are written; and the figures of docs/a-new-kind-of-payment.md, measured again. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const root = path.join(import.meta.dirname, '../..');
const { platform } = createPlatformSuite({ WORKER_QUEUES: 'card' });

/** The first block of shell of a page. */
function scriptOf(page: string): string {
  return /^```sh\n([\s\S]*?)^```/m.exec(readFileSync(path.join(root, page), 'utf8'))?.[1] ?? '';
}

async function run(script: string, env: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const child = spawn('bash', ['-c', `set -eo pipefail\n${script}`],
    { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(code).toBe(0);
  return printed.split('\n').filter((line) => line !== '');
}

test('a card is issued, tried for too much, charged in part and read by the lines of the guide', async () => {
  const [buyer, seller] = [await platform().aTrader('100'), await platform().aTrader()];
  // Each answer on a line of its own; the guide leaves that to the terminal.
  const lines = await run(`curl() { command curl -w '\\n' "$@"; }\n${scriptOf('docs/card.md')}`, {
    API: platform().baseUrl, BUYER_KEY: buyer.key, SELLER: seller.address, SELLER_KEY: seller.key,
  });
  const answers = lines.map((line) => JSON.parse(line) as { error?: string; card?: { status: string } })
    .map(({ error, card }) => error ?? card?.status);
  expect(answers).toEqual(['above_card_limit', 'used', 'used', 'invalid_state']);
  expect((await platform().moneyOf(seller)).available).toBe(usdc('19.90'));
  expect(await platform().moneyOf(buyer)).toEqual({ available: usdc('80.10'), pending: 0n });
});

test('a further kind of payment costs what the page says', async () => {
  const page = 'docs/a-new-kind-of-payment.md';
  const [own = '', added = ''] = (await run(scriptOf(page))).slice(-2);
  expect(readFileSync(path.join(root, page), 'utf8')).toContain(`${own} in files of its own, ${added} added to others`);
});
