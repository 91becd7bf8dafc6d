/**
 * `npm run bench -- --case gateway --clients 1,8,32,128 --seconds 10 --json FILE`: how many paid calls a second, how fast, and what
 * they cost, through real HTTP against the platform as a real process. Every run also lands in bench/results/.
 */
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { loadDotEnv } from '../platform/dotenv.ts';
import { benchCases, findCase } from './cases/all.ts';
import { reportLines, writeJson } from './report.ts';
import { runCase } from './run-case.ts';

const usage = `npm run bench [-- options]
  --case NAME      ${benchCases.map((one) => `${one.name}: ${one.summary}`).join('\n                   ')}
  --clients LIST   numbers of clients, one level each   (1,8,32,128)
  --seconds N      measured time of a level             (10)
  --warm-up N      time before that                     (2)
  --json FILE      also write the figures here
  --profile DIR    write a processor profile of the platform there (costs a third of the rate)`;

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
    if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`--${name}: "${text}" is not a number from 1 to 9999.`);
    return Number(text);
  };
  return {
    caseName: findCase(values.case).name, clients: values.clients.split(',').map((text) => whole('clients', text.trim())),
    seconds: whole('seconds', values.seconds), warmUpSeconds: whole('warm-up', values['warm-up']), json: values.json,
    profileDir: values.profile,
  };
}

async function run(options: Options): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop.abort(new Error('The run was stopped.')));
  }
  const report = await runCase(findCase(options.caseName), {
    clients: options.clients, seconds: options.seconds, warmUpSeconds: options.warmUpSeconds, bareSqlSeconds: 4, signal: stop.signal,
    profileDir: options.profileDir,
    notice: (sentence) => console.log(sentence),
  });
  console.log(['', ...reportLines(report)].join('\n'));
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
