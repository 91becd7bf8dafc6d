import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isAlive } from '../../platform/processes.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const TIME_LIMIT_MS = 180_000;

interface Record {
  ok: boolean;
  steps: { title: string; ok: boolean; error?: string; checks: { what: string; ok: boolean }[] }[];
  balances: { name: string; change: string; held: string }[];
  pids: number[];
}

/** Runs the command of the README and gives its code and what it printed. */
function runDemo(args: readonly string[]): Promise<{ code: number | null; printed: string }> {
  return new Promise((resolve) => {
    const child = spawn('npm', ['run', '--silent', 'demo', '--', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { printed += text; });
    child.once('close', (code) => resolve({ code, printed }));
  });
}

describe('npm run demo', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'surety-demo-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('-- --once tells every step, has the books right, and leaves no process behind', async () => {
    const file = path.join(folder, 'demo.json');
    const { code, printed } = await runDemo(['--once', '--json', file]);
    const record = JSON.parse(readFileSync(file, 'utf8')) as Record;
    // The whole text is the best message when something is wrong.
    if (code !== 0) throw new Error(`The demo ended with ${code}:\n${printed}`);
    expect(record.steps.filter((step) => !step.ok)).toEqual([]);
    expect(record.steps.length).toBeGreaterThanOrEqual(12);
    expect(record.balances.find((row) => row.name === 'Bargain Words')?.change).toBe('0.00');
    expect(record.balances.map((row) => row.held)).toEqual(record.balances.map(() => '0.00'));
    expect(record.pids.length).toBeGreaterThanOrEqual(4);
    expect(record.pids.filter(isAlive)).toEqual([]);
  }, TIME_LIMIT_MS);

  test('refuses an option it does not know and says which there are', async () => {
    const { code, printed } = await runDemo(['--twice']);
    expect(code).toBe(2);
    expect(printed).toContain('--once');
  }, 30_000);
});
