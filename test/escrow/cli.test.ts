/** The lines of docs/operations.md that drive an escrow by hand, run as they stand there with the real `temporal` program. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { findTemporal } from '../../temporal/install.ts';
import { setStage, type EscrowStage } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
let stage: EscrowStage;
let program: string;
beforeAll(async () => {
  stage = await setStage(platform(), '100');
  program = await findTemporal({ cli: process.env['TEMPORAL_CLI'], cacheDir: process.env['CACHE_DIR'], notice: () => undefined });
}, 60_000);

const page = readFileSync(path.join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
const section = /## An escrow by hand\n([\s\S]*?)(?=\n## |$)/.exec(page)?.[1] ?? '';
/** Commands of the section; a backslash at the end of a line goes on with the next. */
const lines = [...section.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap((match) => (match[1] ?? '').replace(/\\\n\s*/g, '').split('\n'))
  .filter((line) => line.startsWith('temporal '));

/** Runs a line of the page for one escrow. */
function run(line: string, id: string): Promise<{ code: number | null; printed: string }> {
  const script = line.replace(/^temporal /, `"${program}" `).replaceAll('esc_…', id);
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', script],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, TEMPORAL_ADDRESS: platform().temporal.address } });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { printed += text; });
    child.once('close', (code) => resolve({ code, printed }));
  });
}

const step = (how: 'signal' | 'update execute', name: string): string => {
  const found = lines.find((line) => line.includes(`workflow ${how} `) && new RegExp(`--name surety-${name}( |$)`).test(line));
  if (found === undefined) throw new Error(`The page has no line to ${how} ${name}.`);
  return found;
};

/** From which state each step is tried, and what it leaves behind; the buyer has 1.00 in it. */
const cases: readonly [step: string, from: string, status: string, paid: string][] = [
  ['deliver', 'pending', 'delivered', '0'], ['confirm', 'delivered', 'released', '1'], ['cancel', 'pending', 'refunded', '0'],
  ['decline', 'delivered', 'refunded', '0'],
  ['dispute', 'pending', 'disputed', '0'], ['evidence', 'disputed', 'disputed', '0'], ['arbitrate', 'disputed', 'arbitrating', '0'],
  ['resolve', 'disputed', 'released', '0.4'],
];

test('the page has a line for every step, by signal and by update', () => {
  expect(lines.filter((line) => line.includes('workflow signal'))).toHaveLength(8);
  expect(lines.filter((line) => line.includes('workflow update execute'))).toHaveLength(8);
});

describe.each(['signal', 'update execute'] as const)('temporal workflow %s', (how) => {
  test.each(cases)('surety-%s of an escrow that is %s', async (name, from, status, paid) => {
    const id = await stage.anEscrowIn(from, { terms: { buyerMayCancel: true } });
    const before = (await platform().moneyOf(stage.cast.seller)).available;
    // The workflow has heard of what happened over HTTP; an update that crosses such a message may have to be sent again.
    await eventually(async () => expect(await platform().temporal.client.workflow.getHandle(`escrow-${id}`).query('surety-view'))
      .toMatchObject({ state: from }));
    const { code, printed } = await run(step(how, name), id);
    expect({ code, printed }).toMatchObject({ code: 0 });
    if (how === 'update execute') expect(printed).toContain(status);
    const escrow = await eventually(async () => {
      const now = await stage.get(id);
      expect(now['status']).toBe(status);
      if (name === 'evidence') expect(now['disputeEvidence']).toHaveLength(2);
      return now;
    });
    expect((await platform().moneyOf(stage.cast.seller)).available - before).toBe(usdc(paid));
    if (name === 'resolve') expect(escrow)
      .toMatchObject({ resolution: 'arbitration_partial: half of it was done', releasedAmount: '0.400000', refundedAmount: '0.600000' });
    if (name === 'evidence') expect(escrow['disputeEvidence'])
      .toContainEqual(expect.objectContaining({ submittedBy: stage.cast.seller.address, content: 'Sent on Monday.' }));
  });
});

test('a refused update ends with an error that names the code; a refused signal is shown by the query', async () => {
  const id = await stage.anEscrowIn('pending');
  const refused = await run(step('update execute', 'arbitrate'), id);
  expect(refused.code).not.toBe(0);
  expect(refused.printed).toContain('call in the arbiter');
  expect((await run(step('signal', 'arbitrate'), id)).code).toBe(0);
  const query = lines.find((line) => line.includes('workflow query'));
  await eventually(async () => expect((await run(query ?? '', id)).printed).toMatch(/lastRefusal.*call in the arbiter/));
});
