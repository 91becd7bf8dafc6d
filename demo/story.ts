/** The step runner of the demo: numbered steps, sentences about what happens, checks, and a record of it all. */

export interface CheckRecord {
  readonly what: string;
  readonly ok: boolean;
}
export interface StepRecord {
  readonly number: number;
  readonly title: string;
  ok: boolean;
  seconds: number;
  readonly checks: CheckRecord[];
  readonly figures: Record<string, unknown>;
  error?: string;
}

/** What a step may do while it runs. */
export interface Step {
  /** Tells what happens. */
  say(sentence: string): void;
  /** Tells what happened to the money. */
  money(sentence: string): void;
  /** Says what must be true; when it is not, the step fails and the story goes on. */
  check(what: string, ok: boolean, otherwise?: unknown): void;
  /** Notes a figure for `--json`. */
  figure(name: string, value: unknown): void;
  /** Waits for something, and shows that it lives when that takes more than two seconds. */
  wait<T>(what: string, promise: Promise<T>): Promise<T>;
}

export interface StepOptions {
  /** Nothing that follows makes sense without this step. */
  readonly essential?: boolean;
}

export interface Story {
  readonly steps: readonly StepRecord[];
  readonly ok: boolean;
  /** Runs one step. Never throws, except for an essential step that failed. */
  tell(title: string, run: (step: Step) => Promise<void>, options?: StepOptions): Promise<void>;
  /** Prints lines between the steps. */
  print(...lines: readonly string[]): void;
}

export interface StoryOptions {
  readonly write: (text: string) => void;
  /** Colours, and one progress line that is drawn over; without it each progress line is a new one. */
  readonly terminal: boolean;
  readonly colours?: boolean;
}

/** Thrown out of the story when an essential step failed; everything has been told already. */
export class StoryEnded extends Error {}

const PROGRESS_AFTER_MS = 2_000;
/** On a terminal the line is drawn over each second; in a log a new one comes rarely enough not to fill it. */
const PROGRESS_EVERY_MS = { terminal: 1_000, log: 4_000 } as const;
const INDENT = '     ';

export function createStory(options: StoryOptions): Story {
  const paint = painter(options.colours ?? options.terminal);
  const steps: StepRecord[] = [];
  const line = (text: string) => options.write(`${options.terminal ? '\r\u001b[K' : ''}${text}\n`);

  function createStep(record: StepRecord): Step {
    return {
      say: (sentence) => line(`${INDENT}${sentence}`),
      money: (sentence) => line(`${INDENT}${paint.money(`$ ${sentence}`)}`),
      figure: (name, value) => { record.figures[name] = value; },
      check(what, ok, otherwise) {
        record.checks.push({ what, ok });
        if (!ok) record.ok = false;
        const found = ok || otherwise === undefined ? ''
          : ` (found: ${typeof otherwise === 'string' ? otherwise : JSON.stringify(otherwise)})`;
        line(`${INDENT}${ok ? paint.good(`✓ ${what}`) : paint.bad(`✗ NOT TRUE: ${what}${found}`)}`);
      },
      wait: (what, promise) => withProgress(what, promise, options, paint),
    };
  }

  return {
    steps,
    get ok() { return steps.length > 0 && steps.every((step) => step.ok); },
    print: (...lines) => lines.forEach(line),
    async tell(title, run, { essential = false } = {}) {
      const record: StepRecord = { number: steps.length + 1, title, ok: true, seconds: 0, checks: [], figures: {} };
      steps.push(record);
      const begun = performance.now();
      line('');
      line(paint.title(`${String(record.number).padStart(3)}. ${title}`));
      try {
        await run(createStep(record));
      } catch (error) {
        record.ok = false;
        record.error = (error as Error).message;
        line(`${INDENT}${paint.bad(`✗ This step failed: ${record.error.replaceAll('\n', `\n${INDENT}  `)}`)}`);
      }
      record.seconds = Math.round(performance.now() - begun) / 1000;
      if (essential && !record.ok) throw new StoryEnded(title);
    },
  };
}

async function withProgress<T>(what: string, promise: Promise<T>, options: StoryOptions, paint: Painter): Promise<T> {
  const begun = performance.now();
  let shown = false;
  const show = () => {
    shown = true;
    const text = `${INDENT}${paint.faint(`… ${what} (${Math.round((performance.now() - begun) / 1000)} s)`)}`;
    options.write(options.terminal ? `\r\u001b[K${text}` : `${text}\n`);
  };
  let every: NodeJS.Timeout | undefined;
  const first = setTimeout(() => {
    show();
    every = setInterval(show, options.terminal ? PROGRESS_EVERY_MS.terminal : PROGRESS_EVERY_MS.log);
  }, PROGRESS_AFTER_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(first);
    clearInterval(every);
    if (shown && options.terminal) options.write('\r\u001b[K');
  }
}

type Painter = Record<'title' | 'good' | 'bad' | 'money' | 'faint', (text: string) => string>;

function painter(colours: boolean): Painter {
  const code = (open: string) => (text: string) => (colours ? `\u001b[${open}m${text}\u001b[0m` : text);
  return { title: code('1'), good: code('32'), bad: code('1;31'), money: code('36'), faint: code('2') };
}
