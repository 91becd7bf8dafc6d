/** What is written must be true: settings, commands, links, codes, metrics, and the README's first paid call, run as it stands there. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { parse } from 'yaml';
import { errorRules } from '../domain/errors.ts';
import { createMetrics } from '../platform/metrics.ts';
import { envExample, settingsTable } from '../platform/env-docs.ts';
import { envSchema } from '../platform/env.ts';
import { freePort } from '../platform/ports.ts';
import { watchBacklog } from '../workers/backlog.ts';
import { createSupervisor } from '../workers/supervisor.ts';
import { silent } from './support/builders.ts';
import { scratchDataDir, startProgram } from './support/programs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const pages = ['README.md', 'CHANGELOG.md', ...readdirSync(path.join(root, 'docs'), { recursive: true })
  .map((name) => `docs/${String(name)}`).filter((name) => name.endsWith('.md'))];
const scripts = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;

/** Text of all code blocks of a kind. */
function blocks(page: string, language: string): string[] {
  return [...read(page).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '');
}

/** The anchor a heading gets. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map((match) => (match[1] ?? '').toLowerCase().replace(/[^\w\s-]/g, '')
    .trim().replace(/\s/g, '-'));
}

function brokenLinks(page: string, text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '')
      .filter((link) => !/^https?:/.test(link)).flatMap((link) => {
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? page : path.posix.normalize(path.posix.join(path.posix.dirname(page), file));
    if (!existsSync(path.join(root, target))) return [`${page}: ${link} leads nowhere`];
    return anchor === undefined || anchorsOf(read(target)).includes(anchor) ? [] : [`${page}: ${link} names no heading`];
  });
}

describe('the settings', () => {
  test('.env.example is made from the schema; run `npm run docs:settings`', () => expect(read('.env.example')).toBe(envExample()));
  test('the README\'s table is made from the schema; run `npm run docs:settings`',
    () => expect(read('README.md')).toContain(`<!-- settings -->\n${settingsTable()}<!-- /settings -->`));
});

describe('the pages', () => {
  test('link to what exists', () => expect(pages.flatMap((page) => brokenLinks(page, read(page)))).toEqual([]));
  test('a link that leads nowhere is found', () => {
    expect(brokenLinks('docs/a.md', '[x](nothing.md) [y](architecture.md#layers) [z](architecture.md#no-such) [w](https://example.org)'))
      .toHaveLength(2);
  });
  test('name only commands that exist', () => {
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(/npm (?:run ([\w:-]+)|(start|test)\b)/g)].map((match) => match[1] ?? match[2] ?? ''));
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
  test('the README names every command', () => {
    const readme = read('README.md');
    const told = (name: string): boolean => readme.includes(['start', 'test'].includes(name) ? `npm ${name}` : `npm run ${name}`);
    expect(Object.keys(scripts).filter((name) => name !== 'postinstall' && !told(name))).toEqual([]);
  });
  test('name only files and folders that exist', () => {
    const top = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name);
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(/`([\w.-]+\/[\w./-]*)`/g)].map((match) => ({ page, file: match[1] ?? '' })))
      .filter(({ file }) => top.includes(file.split('/')[0] ?? ''));
    // What a build makes comes later than a clone.
    const later = ['prisma/generated/'];
    expect(named.filter(({ file }) => !existsSync(path.join(root, file)) && !later.includes(file))).toEqual([]);
  });
  test('the README\'s map has every folder', () => {
    const folders = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|dist|coverage|scripts)$/.test(entry.name)).map((entry) => entry.name);
    expect(folders.filter((name) => !read('README.md').includes(`| \`${name}/\` |`))).toEqual([]);
  });
  test('every decision is in the list of decisions', () => {
    const list = read('docs/decisions/README.md');
    expect(readdirSync(path.join(root, 'docs/decisions')).filter((name) => name !== 'README.md' && !list.includes(`(${name})`)))
      .toEqual([]);
  });
  test('docs/errors.md has every code with its status and advice', () => {
    const rows = Object.entries(errorRules)
      .map(([code, { status, recovery }]) => `| \`${code}\` | ${status} | ${recovery.replaceAll('|', '\\|')} |`);
    const written = read('docs/errors.md').split('\n').filter((line) => line.startsWith('| `'));
    expect(written).toEqual(rows);
  });
  test('docs/operations.md names every metric of ours, and no other', async () => {
    const metrics = createMetrics({ runtime: false });
    metrics.watchPools({});
    createSupervisor({ queues: [], log: silent, metrics, temporalAnswers: () => Promise.resolve() });
    const client = new Client({ connection: Connection.lazy() });
    watchBacklog({ metrics, temporal: { client, namespace: 'default' }, queues: [], taskQueue: (queue) => queue });
    const names = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name).sort();
    const written = [...new Set([...read('docs/operations.md').matchAll(/surety_[a-z_]+[a-z]/g)].map(([name]) => name))].filter((name) =>
      !/^surety_(process|nodejs)/.test(name)).sort();
    expect(written).toEqual(names);
  });
});

describe('docker-compose.yml', () => {
  interface Service { image?: string; command?: string[]; environment?: Record<string, string>; env_file?: string[]; healthcheck?: object;
    depends_on?: Record<string, { condition: string }>; volumes?: string[] }
  const file = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service>; volumes: Record<string, null> };

  test('has the platform, a second worker, Temporal with its UI, and Postgres', () => {
    expect(Object.keys(file.services).sort()).toEqual(['postgres', 'surety', 'temporal', 'temporal-postgres', 'temporal-ui', 'worker']);
    // All queues: whoever wants to divide them names some.
    expect(file.services['worker']?.environment?.['WORKER_QUEUES']).toBeUndefined();
    expect(Object.values(file.services).filter((service) => service.healthcheck !== undefined)).toHaveLength(4);
  });
  test('sets only settings that exist, waits only for what is there and can say that it is healthy, and runs a program that exists', () => {
    for (const name of ['surety', 'worker']) {
      const service = file.services[name];
      expect(service?.env_file).toEqual(['.env']);
      expect(Object.keys(service?.environment ?? {}).filter((setting) => !Object.hasOwn(envSchema.shape, setting))).toEqual([]);
    }
    // The same program as on a machine without containers; how much memory it may take is for each place to say.
    expect(withoutMemory(file.services['worker']?.command?.join(' '))).toBe(withoutMemory(scripts['worker']));
    for (const service of Object.values(file.services)) {
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(condition).toBe('service_healthy');
        // The image of the platform brings its own check.
        if (other !== 'surety') expect(file.services[other]?.healthcheck).toBeDefined();
      }
      for (const volume of service.volumes ?? []) expect(Object.keys(file.volumes)).toContain(volume.split(':')[0]);
    }
  });
  test('the image runs as a user without rights, and copies what exists', () => {
    const dockerfile = read('Dockerfile');
    expect(dockerfile).toMatch(/^USER node$/m);
    // Named before `node` in package.json; the image sets it for platform and worker.
    for (const script of ['start', 'worker']) expect(dockerfile).toContain(/^MALLOC_ARENA_MAX=\d+/.exec(scripts[script] ?? '')?.[0]);
    expect(withoutMemory((JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]') as string[]).join(' ')))
      .toBe(withoutMemory(scripts['start']));
    for (const name of ['package.json', 'package-lock.json', '.npmrc', 'prisma.config.ts', 'scripts', 'prisma', 'api/main.ts']) {
      expect(dockerfile).toContain(name);
      expect(existsSync(path.join(root, name))).toBe(true);
    }
  });
});

describe('the README\'s first paid call', () => {
  test('works as it is written, with and without proof', async () => {
    const { dir, remove } = scratchDataDir();
    const platform = startProgram('api/main.ts',
      { PORT: '0', DATA_DIR: dir, DEMO_MODE: 'true', ALLOW_LOCAL_ENDPOINTS: 'true', LOG_LEVEL: 'warn' });
    try {
      const [, api = ''] = await platform.prints(/API: (\S+)/, 60_000);
      const seller = await freePort();
      const text = blocks('README.md', 'sh').filter((block) => !/^(DEMO_MODE=true .*)?npm /m.test(block)).join('\n');
      expect(text).toContain('/v1/gateway/proxy');
      const script = text.replaceAll('http://127.0.0.1:8080', api).replaceAll('9090', String(seller))
        .replace(/^(.*)' &$/m, `$1' & SELLER_PID=$!\n${untilOpen(seller)}`);
      const { code, printed } = await bash(`set -eo pipefail\ntrap 'kill "$SELLER_PID"' EXIT\n${script}`);
      const answers = printed.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
      if (code !== 0 || answers.some((answer) => answer['error'] !== undefined)) throw new Error(
        `The README's commands ended with ${code}:\n${printed}`);
      expect(answers.filter((answer) => answer['amountPaid'] === '0.020000').map((answer) => answer['response']))
        .toEqual([{ words: 3 }, { words: 3 }]);
      expect(answers.find((answer) => answer['balance'] !== undefined)?.['balance'])
        .toMatchObject({ available: '9.960000', pending: '0.000000' });
      expect(answers.find((answer) => answer['findings'] !== undefined)).toMatchObject({ ok: true, findings: [] });
      expect(answers.map((answer) => answer['stream']).filter((stream) => stream !== undefined).at(-1))
        .toMatchObject({ status: 'closed', tickCount: 200, spentAmount: '0.200000' });
      expect(answers.map((answer) => answer['payment']).filter((payment) => payment !== undefined))
        .toMatchObject([{ kind: 'escrow', state: 'released' }]);
      expect(answers.at(-1)?.['agent']).toMatchObject({ name: 'Proven', verified: true });
    } finally {
      platform.send('SIGTERM');
      await platform.ended;
      remove();
    }
  }, 120_000);

  test('and every block of commands in the docs is valid shell', () => {
    for (const page of pages) for (const block of blocks(page, 'sh')) expect({ page,
      ...pick(spawnSync('bash', ['-n'], { input: block, encoding: 'utf8' })) }).toEqual({ page, status: 0, stderr: '' });
  });
});

function withoutMemory(command = ''): string {
  return command.replace(/--max-\S+ |^MALLOC_ARENA_MAX=\d+ exec /g, '');
}

function pick({ status, stderr }: { status: number | null; stderr: string }): { status: number | null; stderr: string } {
  return { status, stderr };
}

/** Shell that waits for the seller, and fails with what it printed when the seller has ended instead. */
function untilOpen(port: number): string {
  return `until (: < /dev/tcp/127.0.0.1/${port}) 2> /dev/null; do kill -0 "$SELLER_PID"; sleep 0.1; done`;
}

function bash(script: string): Promise<{ code: number | null; printed: string }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', script], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { printed += text; });
    child.once('close', (code) => resolve({ code, printed }));
  });
}
