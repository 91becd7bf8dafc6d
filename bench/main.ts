/**
 * `npm run bench -- --case gateway --clients 1,8,32,128 --seconds 10 --json FILE`: how many paid calls a second, how fast, and what
 * they cost, through real HTTP against the platform as a real process. Every run also lands in bench/results/.
 */
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { loadDotEnv } from '../platform/dotenv.ts';
import { benchCases, findCase } from './cases/all.ts';
import { reportLines, writeJson, type CaseReport } from './report.ts';
import { measureRestarts, restartLines, type RestartReport } from './restart.ts';
import { runCase } from './run-case.ts';

const usage = `npm run bench [-- options]
  --case NAME      ${benchCases.map((one) => `${one.name}: ${one.summary}`).join('\n                   ')}
                   restart: A process is killed and started again beside one that serves so many clients (--clients 0: none).
  --clients LIST   numbers of clients, one level each   (1,8,32,128)
  --seconds N      measured time of a level             (10)
  --warm-up N      time before that                     (2)
  --json FILE      also write the figures here
  --profile DIR    write a processor profile of the platform there (costs a third of the rate)`;

/** Measures a start and not a rate, so it is no case like the others. */
const RESTART = 'restart';

interface Options {
  readonly caseName: string;
  readonly clients: readonly number[];
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly json: string | undefined;
  readonly profileDir: string | undefined;
}

/** @throws Error with a sentence about what is wrong. */
function readOptions(): Options | null {
  const { values } = parseArgs({
    options: {
      case: { type: 'string', default: 'gateway' }, clients: { type: 'string', default: '1,8,32,128' },
      seconds: { type: 'string', default: '10' },
      'warm-up': { type: 'string', default: '2' }, json: { type: 'string' }, profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const whole = (name: string, text: string) => {
    const least = name === 'clients' && values.case === RESTART ? 0 : 1;
    if (!/^\d{1,4}$/.test(text) || Number(text) < least) throw new Error(`--${name}: "${text}" is not a number from ${least} to 9999.`);
    return Number(text);
  };
  return {
    caseName: values.case === RESTART ? RESTART : findCase(values.case).name,
    clients: values.clients.split(',').map((text) => whole('clients', text.trim())),
    seconds: whole('seconds', values.seconds), warmUpSeconds: whole('warm-up', values['warm-up']), json: values.json,
    profileDir: values.profile,
  };
}

async function run(options: Options): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop.abort(new Error('The run was stopped.')));
  }
  const { clients: [clients = 0], seconds } = options;
  if (options.caseName === RESTART) {
    const report = await measureRestarts({ clients, seconds, signal: stop.signal, notice: (sentence) => console.log(sentence) });
    console.log(restartLines(report).join('\n'));
    return keep(report, options);
  }
  const report = await runCase(findCase(options.caseName), {
    clients: options.clients, seconds: options.seconds, warmUpSeconds: options.warmUpSeconds, bareSqlSeconds: 4, signal: stop.signal,
    profileDir: options.profileDir,
    notice: (sentence) => console.log(sentence),
  });
  console.log(['', ...reportLines(report)].join('\n'));
  return keep(report, options);
}

/** Writes the figures. @returns the exit code. */
async function keep(report: CaseReport | RestartReport, options: Options): Promise<number> {
  const kept = fileURLToPath(new URL(`./results/${report.case}-${report.when.replace(/\W/g, '-')}.tmp.json`, import.meta.url));
  for (const file of [kept, ...(options.json === undefined ? [] : [options.json])]) await writeJson(file, report);
  return report.booksRight ? 0 : 1;
}

loadDotEnv();
let options: Options | null = null;
try {
  options = readOptions();
} catch (error) {
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exit(2);
}
if (options === null) {
  console.log(usage);
} else {
  process.exit(await run(options).catch((error: unknown) => {
    console.error((error as Error).message);
    return 1;
  }));
}
