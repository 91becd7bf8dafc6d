/**
 * `npm run demo`: starts everything, lets agents buy from each other through good times and bad, shows where the money went, and
 * stays up to be looked at. `-- --once` ends instead; `-- --json FILE` writes what happened.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadDotEnv } from '../platform/dotenv.ts';
import { openHouse, type House } from './house.ts';
import type { Play } from './play.ts';
import type { Introduction } from './sellers/trust.ts';
import { tellBooks, type BalanceRow } from './steps/books.ts';
import { tellBuying } from './steps/buying.ts';
import { tellCrash } from './steps/crash.ts';
import { tellEscrows } from './steps/escrows.ts';
import { tellLongCall } from './steps/long-call.ts';
import { tellMetered } from './steps/metered.ts';
import { tellOpening } from './steps/opening.ts';
import { tellTrouble } from './steps/trouble.ts';
import { createStory, StoryEnded, type Story } from './story.ts';
import { createWire } from './wire.ts';

const usage = `npm run demo [-- options]
  --once        end after the last step: code 0 only if every step and the books were right
  --json FILE   write the steps and figures as JSON
  --help        this text`;

interface Options {
  readonly once: boolean;
  readonly json?: string | undefined;
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs(
      { options: { once: { type: 'boolean', default: false }, json: { type: 'string' }, help: { type: 'boolean', default: false } } });
    if (!values.help) return values;
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
  }
  return null;
}

interface Doors {
  /** Told at once of the house that opens. */
  readonly opens: (opening: Promise<House>) => void;
  /** Aborted when the demo is asked to stop. */
  readonly signal: AbortSignal;
}

/** Starts the house as the first step, and hands it out at once, so that it can be closed whatever happens then. */
async function tellStart(story: Story, { opens, signal }: Doors): Promise<Play> {
  let play: Play | undefined;
  await story.tell('Surety starts', async (step) => {
    const opening = openHouse({ dataDir: '.surety-demo', port: 8080, signal, notice: (sentence) => step.say(sentence) });
    opens(opening);
    const house = await step.wait('Postgres and Temporal start', opening);
    step.say('Postgres, which holds the truth about money, and Temporal, which holds the promises, are up.');
    const [node, sellers] = await step.wait('the platform and the sellers start', Promise.all([
      house.startNode(), house.startHelper({ name: 'The sellers', script: 'demo/sellers-main.ts',
        ready: /Sellers are open on (\S+)/, channel: true }),
    ]));
    house.sellersUrl = sellers.readyMatch[1] ?? '';
    step.say(`The platform runs as process ${node.pid} on ${house.url}; the sellers run as process ${sellers.pid}.`);
    const introduceSellers = (introduction: Introduction) => { sellers.process.send(introduction); };
    play = { house, wire: createWire(house.url), introduceSellers, players: new Map(), purchases: [], sessions: [],
      balancesBefore: new Map() };
    step.check('The platform says that it is ready', (await play.wire.ask('GET', '/health/ready')).status === 200);
  }, { essential: true });
  if (play === undefined) throw new StoryEnded('Surety starts');
  return play;
}

async function tellAll(story: Story, doors: Doors): Promise<BalanceRow[]> {
  const play = await tellStart(story, doors);
  await tellOpening(story, play);
  await tellBuying(story, play);
  await tellLongCall(story, play);
  await tellTrouble(story, play);
  await tellEscrows(story, play);
  await tellMetered(story, play);
  await tellCrash(story, play);
  return tellBooks(story, play);
}

function urlsOf(house: House): Record<string, string> {
  return { api: house.url, docs: `${house.url}/docs`, metrics: `${house.url}/metrics`,
    ...(house.temporalUiUrl === undefined ? {} : { temporalUi: house.temporalUiUrl }) };
}

async function writeRecord(file: string, record: unknown): Promise<void> {
  const path = resolve(file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
}

/** npm passes on a Ctrl-C that the terminal has sent us already; a second signal this soon is the same key stroke. */
const SAME_KEYSTROKE_MS = 700;

/** Aborts when somebody asks the demo to stop; asked again, it ends everything at once. */
function listenForSignals(force: () => void): AbortSignal {
  const asked = new AbortController();
  let askedAt: number | undefined;
  const onSignal = () => {
    askedAt ??= Date.now();
    asked.abort();
    if (Date.now() - askedAt < SAME_KEYSTROKE_MS) return;
    force();
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  return asked.signal;
}

async function run(options: Options): Promise<number> {
  const terminal = process.stdout.isTTY === true;
  let muted = false;
  const story = createStory({ write: (text) => { if (!muted) process.stdout.write(text); }, terminal,
    colours: terminal && process.env['NO_COLOR'] === undefined });
  let house: House | undefined;
  const signal = listenForSignals(() => house?.force());
  const interrupted = new Promise<'interrupted'>((resolve) => signal.addEventListener('abort', () => resolve('interrupted')));
  const begun = Date.now();
  let opening: Promise<unknown> | undefined;
  story.print('Surety: agents buy work from other agents, and the money is safe whatever breaks.',
    'This is play money; amounts are in USDC.');
  const telling = tellAll(story,
      { signal, opens: (promise) => { opening = promise.then((opened) => { house = opened; }, () => undefined); } })
      .catch((error: unknown) => {
    if (error instanceof StoryEnded) return [];
    throw error;
  });
  try {
    const balances = await Promise.race([telling, interrupted]);
    if (balances === 'interrupted') return 130;
    const seconds = Math.round((Date.now() - begun) / 1000);
    if (options.json !== undefined) {
      const known = house === undefined ? {} : { urls: urlsOf(house), pids: house.pids() };
      await writeRecord(options.json,
        { ok: story.ok, startedAt: new Date(begun).toISOString(), seconds, steps: story.steps, balances, ...known });
    }
    closingWords(story, seconds);
    if (!options.once && house !== undefined) {
      lookAround(story, house);
      await interrupted;
    }
    return story.ok ? 0 : 1;
  } finally {
    story.print('', 'Stopping …');
    // Steps that are under way will fail now, and that is nobody's news.
    muted = true;
    await opening;
    await house?.close();
  }
}

function lookAround(story: Story, house: House): void {
  story.print(
    '', 'Everything keeps running, so look around:', `  API docs      ${house.url}/docs`, `  Temporal UI   ${house.temporalUiUrl ?? '-'}`,
    `  Admin secret  ${house.adminSecret}   (send it as X-Admin-Secret)`, '', 'Ctrl-C stops everything.',
  );
}

function closingWords(story: Story, seconds: number): void {
  const failed = story.steps.filter((step) => !step.ok);
  const checks = story.steps.reduce((sum, step) => sum + step.checks.length, 0);
  story.print('', failed.length === 0
    ? `All ${story.steps.length} steps and ${checks} checks were right (${seconds} s).`
    : `NOT right: ${failed.length} of ${story.steps.length} steps (${failed.map((step) => step.number).join(', ')}).`);
}

loadDotEnv();
const options = readOptions();
if (options === null) process.exitCode = 2;
else {
  // A promise of an interrupted step may still be waiting for something that is gone; nothing is left to do for it.
  process.exit(await run(options));
}
