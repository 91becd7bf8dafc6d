/** The settings as people read them, made from the schema so that they cannot disagree with it. */
import { envSchema } from './env.ts';

interface Setting {
  readonly name: string;
  readonly meaning: string;
  /** As one would write it in the environment; empty when there is none. */
  readonly fallback: string;
}

/** Text of `.env.example`: every setting with its default, commented out. */
export function envExample(): string {
  const head = '# Every setting, with its default. Copy to .env and change what you need. Made by `npm run docs:settings`.\n';
  return head + settings().map(({ name, meaning, fallback }) => `\n# ${meaning}\n#${name}=${fallback}\n`).join('');
}

/** Markdown table of every setting. */
export function settingsTable(): string {
  const rows = settings()
    .map(({ name, meaning, fallback }) =>
    `| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\``} | ${meaning.replaceAll('|', '\\|')} |\n`);
  return `| Variable | Default | Meaning |\n|---|---|---|\n${rows.join('')}`;
}

function settings(): Setting[] {
  const defaults = envSchema.parse({}) as Record<string, unknown>;
  return Object.entries(envSchema.shape)
    .filter(([name]) => name !== 'CRASH_AT') // For tests only.
    .map(([name, schema]) => ({ name, meaning: schema.description ?? '', fallback: written(name, defaults[name]) }));
}

/** Times in the schema are in milliseconds and differ from counts by how they are written in their own default. */
function written(name: string, value: unknown): string {
  if (value === undefined) return '';
  if (Array.isArray(value)) return value.join(',');
  if (typeof value === 'number' && /_(TIMEOUT|DEADLINE|DURATION|LEASE|OVERDUE)$/.test(name)) return value % 1_000 === 0
    ? `${value / 1_000}s` : `${value}ms`;
  return String(value);
}
