/** The commands of docs/escrow.md, run as they are written. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { adminSecret, purse, setStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });

test('an escrow is made, delivered, disputed and ruled by the lines of the guide', async () => {
  const { buyer, seller } = (await setStage(platform(), '10')).cast;
  const page = readFileSync(path.join(import.meta.dirname, '../../docs/escrow.md'), 'utf8');
  const script = /^```sh\n([\s\S]*?)^```/m.exec(page)?.[1] ?? '';
  const env = { ...process.env, API: platform().baseUrl, BUYER: buyer.address, BUYER_KEY: buyer.key, SELLER: seller.address,
    SELLER_KEY: seller.key, ADMIN_SECRET: adminSecret };
  // Each answer on a line of its own; the guide leaves that to the terminal.
  const child = spawn('bash', ['-c', `set -eo pipefail\ncurl() { command curl -w '\\n' "$@"; }\n${script}`],
    { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const answers = printed.split('\n').filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { escrow?: { status: string } }).escrow?.status);
  expect({ code, answers }).toEqual({ code: 0, answers: ['delivered', 'disputed', 'disputed', 'arbitrating', 'released', 'released'] });
  expect(await purse(platform().db.pool, buyer)).toEqual({ available: usdc('8.75'), escrowed: 0n });
  expect((await purse(platform().db.pool, seller)).available).toBe(usdc('1.25'));
});
