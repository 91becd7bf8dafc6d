/**
 * Every setting of the platform, in one schema. The README's table and `.env.example` are made from it. A wrong value stops the
 * start with a sentence that names the variable. Names follow contract alancoin-platform 11.1 where they exist there.
 */
import { z } from 'zod';
import { KEYS_KEPT_DAYS_MIN } from '../domain/retention.ts';

const flag = (fallback: boolean) =>
  z.enum(['true', 'false', '1', '0', '']).transform((text) => (text === '' ? fallback : text === 'true' || text === '1')).default(fallback);
const whole = (min: number, max: number, fallback: number) =>
  z.string().regex(/^\d{1,12}$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max)).default(fallback);

/** A length of time such as `500ms`, `15s`, `5m` or `2h`, in milliseconds. */
const duration = (fallback: number) =>
  z.string().regex(/^\d{1,9}(ms|s|m|h)$/, 'must be a time such as 500ms, 15s, 5m or 2h').transform(durationMs).default(fallback);

function durationMs(text: string): number {
  const unit = text.endsWith('ms') ? 'ms' : text.slice(-1);
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? 1;
  return Number.parseInt(text, 10) * factor;
}

/** Names of the task queues, one for each shape of work; those of `workflows/contracts/ids.ts`. */
export const workerQueues = ['gateway', 'escrow', 'card', 'multistep', 'pipeline', 'stream'] as const;
export type WorkerQueue = (typeof workerQueues)[number];

function queueNames(text: string): string[] {
  const names = text.split(',').map((part) => part.trim()).filter(Boolean);
  if (names.length === 0) return [...workerQueues];
  return names.length === 1 && names[0] === 'none' ? [] : names;
}

const addressText = z.string().regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hexadecimal digits').transform((text) => text.toLowerCase());

export const envSchema = z.object({
  PORT: whole(0, 65_535, 8080).describe('Port of the HTTP API.'),
  HOST: z.string().min(1).default('127.0.0.1').describe('Address the API listens on.'),
  PUBLIC_URL: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, '')).optional()
    .describe('Address at which people and sellers reach the API, for links; that of HOST and PORT when unset.'),
  ENV: z.enum(['development', 'production']).default('development').describe('`production` refuses settings that are only safe on a desk.'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info')
    .describe('Least important line that is logged.'),
  DATA_DIR: z.string().min(1).default('.surety').describe('Where the embedded Postgres and Temporal keep their files.'),
  CACHE_DIR: z.string().min(1).optional()
    .describe('Keeps the Temporal program and compiled workflows for all copies of one user; `~/.cache/surety` when unset.'),
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//, 'must begin with postgres://').optional()
    .describe('Your own Postgres; without it one is started under DATA_DIR.'),
  TEMPORAL_ADDRESS: z.string().min(1).optional()
    .describe('Your own Temporal, host:port; without it a dev server is started under DATA_DIR.'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('default').describe('Temporal namespace.'),
  TEMPORAL_TLS: z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1').optional()
    .describe('Encrypted connection to TEMPORAL_ADDRESS; on by itself with an API key or any of the TLS files.'),
  TEMPORAL_API_KEY: z.string().regex(/^[\x21-\x7e]+$/, 'must be one word').optional()
    .describe('API key for TEMPORAL_ADDRESS, such as Temporal Cloud asks for.'),
  TEMPORAL_API_KEY_FILE: z.string().min(1).optional()
    .describe('File with that API key instead; it is read anew each half minute, so that a key is replaced without a restart.'),
  TEMPORAL_TLS_CA_FILE: z.string().min(1).optional()
    .describe('Certificate (PEM) that vouches for the Temporal server; those of the system when unset.'),
  TEMPORAL_TLS_CERT_FILE: z.string().min(1).optional().describe('Our own certificate (PEM), where the Temporal server asks for one.'),
  TEMPORAL_TLS_KEY_FILE: z.string().min(1).optional().describe('The private key (PEM) of that certificate.'),
  TEMPORAL_CLI: z.string().min(1).optional().describe('Path of the `temporal` program for the embedded server.'),
  TEMPORAL_UI_URL: z.url().optional().describe('Where people reach the Temporal Web UI; known by itself for the embedded server.'),
  TEMPORAL_CODEC_KEYS: z.string().min(1).optional()
    .describe('Keys that encrypt what Temporal keeps of payments, `name:secret` with 32 bytes in base64, separated by commas: the first '
      + 'encrypts, all decrypt. Nothing is encrypted when unset.'),
  TEMPORAL_CODEC_KEYS_FILE: z.string().min(1).optional().describe('File with these keys instead, one in a line.'),
  TEMPORAL_SEARCH_ATTRIBUTES: z.enum(['plain', 'hashed']).default('plain')
    .describe('Whether Buyer, Seller and Tenant can be read in Temporal, or are keyed hashes; `hashed` needs keys for the payloads too.'),
  SEARCH_KEY_FILE: z.string().min(1).optional()
    .describe('Secret of these hashes; every process needs the same. Made as search.key in DATA_DIR when unset.'),
  WORKER_QUEUES: z.string().default('').transform(queueNames).pipe(z.array(z.enum(workerQueues)))
    .describe('Task queues this process serves, separated by commas; empty means all, `none` means none: '
      + 'an API process whose workers are elsewhere.'),
  WORKER_BUILD_ID: z.string().regex(/^[A-Za-z0-9][\w.-]{0,63}$/, 'must be up to 64 letters, digits, dots, dashes or underscores').optional()
    .describe('Version of this code, such as a commit. Turns on Worker Versioning: workflows then go to the version that an operator '
      + 'has made current.'),
  METRICS_PORT: whole(0, 65_535, 0)
    .describe('Port on which `npm run worker` serves /metrics, /health/live and /health/ready, at HOST; 0 means off. '
      + 'The API serves them on PORT.'),
  ADMIN_SECRET: z.string().min(12, 'must have at least 12 characters').optional()
    .describe('Secret of the platform admin, sent as X-Admin-Secret.'),
  DEMO_MODE: flag(false)
    .describe('Plain registration without proof of address; any API key is admin while ADMIN_SECRET is unset. Not for production.'),
  ALLOW_LOCAL_ENDPOINTS: flag(false).describe('Let sellers live on loopback and private addresses. Not for production.'),
  RATE_LIMIT_RPM: whole(1, 100_000_000, 100).describe('Requests a minute for one API key, or one address without a key.'),
  RATE_LIMIT_BURST: whole(1, 100_000_000, 10).describe('Requests that may come at once above the steady rate.'),
  TRUST_PROXY: z.string().default('')
    .describe('Addresses of reverse proxies whose X-Forwarded-For is believed, in Express notation; empty means none.'),
  CORS_ALLOWED_ORIGINS: z.string().default('').transform((text) => text.split(',').map((part) => part.trim()).filter(Boolean))
    .describe('Browser origins that may call the API, separated by commas.'),
  PLATFORM_ADDRESS: addressText.default('0x0000000000000000000000000000000000000001')
    .describe('Owner of the account that receives platform fees.'),
  PLATFORM_FEE_BPS: whole(0, 5_000, 0).describe('Platform fee on gateway calls, in hundredths of a percent, paid by the seller.'),
  SELLER_TIMEOUT: duration(25_000).describe('Longest time a seller may take for one synchronous call.'),
  SELLER_KEY_FILE: z.string().min(1).optional()
    .describe('Private key (Ed25519, PEM) that signs requests to sellers; every process needs the same. '
      + 'Made as seller-key.pem in DATA_DIR when unset.'),
  CARD_KEY_FILE: z.string().min(1).optional()
    .describe('Secret under which numbers of cards are hashed; every process needs the same. Made as card.key in DATA_DIR when unset.'),
  REQUEST_TIMEOUT: duration(28_000).describe('Longest time an API request waits for its outcome; the payment itself goes on.'),
  DRAIN_DEADLINE: duration(15_000).describe('How long a stopping process waits for requests, calls and tasks under way.'),
  STOP_DEADLINE: duration(35_000)
    .describe('How long the whole stop may take, from the signal to the exit, embedded servers included; at least twice DRAIN_DEADLINE, '
      + 'and below the grace period of whoever sends the signal.'),
  CALL_LEASE: duration(6_000)
    .describe('How long a silent process keeps its calls before another takes them over. Longer than any pause of a healthy process.'),
  CALL_OVERDUE: duration(15_000).describe('Age from which a call that nobody drives is finished even if its workflow is lost.'),
  UNDO_DEADLINE: duration(24 * 3_600_000)
    .describe('For how long a compensation that does not work is called again, with growing pauses; a day covers a night and a bad '
      + 'deploy.'),
  CB_THRESHOLD: whole(1, 1_000, 5).describe('Failures in a row after which a seller is not asked for a while.'),
  CB_DURATION: duration(30_000).describe('How long such a seller is left alone.'),
  AUDIT_EVERY: duration(3_600_000)
    .describe('Time from one audit of the books to the next. One process at a time runs it, slowly; its result is in /health and '
      + '/metrics.'),
  RETENTION_EVERY: duration(600_000)
    .describe('Time from one removal of what was kept long enough to the next; a schedule of Temporal starts it, as it does the audit.'),
  POSTGRES_MAX_OPEN_CONNS: whole(2, 500, 20)
    .describe('Database connections of one process through which money moves. Beside them are those for reads, and four more.'),
  POSTGRES_READ_CONNS: whole(1, 500, 5).describe('Database connections of one process for lists, timelines and other reads.'),
  POSTGRES_READ_TIMEOUT: duration(5_000)
    .describe('Longest time one such read may take, and may wait for a connection; then it is answered 503.'),
  POSTGRES_STATEMENT_TIMEOUT: duration(30_000).describe('Longest time one database statement may take.'),
  POSTGRES_LOCK_TIMEOUT: duration(10_000).describe('Longest time one database statement may wait for a lock that another one has.'),
  POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT: duration(60_000).describe('How long a database transaction may stand idle before it is ended.'),
  KEEP_IDEMPOTENCY_KEYS_DAYS: whole(KEYS_KEPT_DAYS_MIN, 3_650, 30)
    .describe('Days after which an idempotency key, with the answer stored for it, is removed and may be used again.'),
  KEEP_ANSWERS_DAYS: whole(KEYS_KEPT_DAYS_MIN, 3_650, 90)
    .describe('Days after which the answer of the seller is removed from an ended call; at least as long as idempotency keys are kept.'),
  KEEP_CALL_EVENTS_DAYS: whole(1, 3_650, 30).describe('Days after which the event of a call is removed, once it was delivered.'),
  KEEP_SELLER_FAILURES_DAYS: whole(30, 3_650, 365)
    .describe('Days after which a failure of a seller no longer weighs on its score; it still counts among all its failures.'),
  KEEP_ATTEMPT_REFUSALS_HOURS: whole(1, 720, 1)
    .describe('Hours for which a refused step of a payment is remembered, for a message of the same attempt that comes late.'),
  KEEP_OWNERSHIP_CHALLENGES_DAYS: whole(1, 365, 1).describe('Days after its expiry at which a message to sign is removed.'),
  CRASH_AT: z.string().optional().describe('For tests only: the named point at which this process kills itself.'),
});
export type Env = z.output<typeof envSchema>;

/**
 * Reads the settings. Empty variables count as absent.
 * @throws Error with one line for each wrong variable.
 */
export function readEnv(source: Readonly<Record<string, string | undefined>>): Env {
  const given = Object.fromEntries(Object.keys(envSchema.shape).map((name) => [name, source[name] === '' ? undefined : source[name]]));
  const parsed = envSchema.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${String(issue.path[0])}: ${issue.message}`);
    throw new Error(`These settings are wrong:\n${lines.join('\n')}`);
  }
  const env = parsed.data;
  refuseContradictions(env);
  if (env.ENV === 'production') refuseUnsafe(env);
  return env;
}

/** Settings that are right by themselves and wrong together. */
function refuseContradictions(env: Env): void {
  const wrong: string[] = [];
  const secured = (['TEMPORAL_TLS', 'TEMPORAL_API_KEY', 'TEMPORAL_API_KEY_FILE', 'TEMPORAL_TLS_CA_FILE', 'TEMPORAL_TLS_CERT_FILE',
    'TEMPORAL_TLS_KEY_FILE'] as const).filter((name) => env[name] !== undefined && env[name] !== false);
  if (secured.length > 0
    && env.TEMPORAL_ADDRESS === undefined) wrong.push(`  ${secured.join(', ')}: only for a server named in TEMPORAL_ADDRESS`);
  if (secured.length > 0 && env.TEMPORAL_TLS === false) wrong.push(`  TEMPORAL_TLS: must not be off together with ${secured.join(', ')}`);
  if ((env.TEMPORAL_TLS_CERT_FILE === undefined) !== (env.TEMPORAL_TLS_KEY_FILE === undefined)) wrong.push(
    '  TEMPORAL_TLS_CERT_FILE, TEMPORAL_TLS_KEY_FILE: need each other');
  for (const name of ['TEMPORAL_API_KEY', 'TEMPORAL_CODEC_KEYS'] as const) {
    if (env[name] !== undefined && env[`${name}_FILE`] !== undefined) wrong.push(`  ${name}, ${name}_FILE: only one of them`);
  }
  if (env.TEMPORAL_SEARCH_ATTRIBUTES === 'hashed' && env.TEMPORAL_CODEC_KEYS === undefined && env.TEMPORAL_CODEC_KEYS_FILE === undefined) {
    wrong.push('  TEMPORAL_SEARCH_ATTRIBUTES: hashed needs TEMPORAL_CODEC_KEYS, or what is hashed stands beside the hash for all to read');
  }
  if (env.STOP_DEADLINE < 2 * env.DRAIN_DEADLINE) wrong.push(
    '  STOP_DEADLINE: must be at least twice DRAIN_DEADLINE: handing over and stopping servers need time after the requests');
  if (env.KEEP_ANSWERS_DAYS < env.KEEP_IDEMPOTENCY_KEYS_DAYS) wrong.push(
    '  KEEP_ANSWERS_DAYS: must be at least KEEP_IDEMPOTENCY_KEYS_DAYS, or a repeated request would be answered without its answer');
  refuse(wrong);
}

function refuse(wrong: readonly string[]): void {
  if (wrong.length > 0) throw new Error(`These settings are wrong:\n${wrong.join('\n')}`);
}

function refuseUnsafe(env: Env): void {
  const wrong: string[] = [];
  if (env.DEMO_MODE) wrong.push('  DEMO_MODE: must be off in production');
  if (env.ALLOW_LOCAL_ENDPOINTS) wrong.push('  ALLOW_LOCAL_ENDPOINTS: must be off in production');
  if (env.ADMIN_SECRET === undefined) wrong.push('  ADMIN_SECRET: must be set in production');
  if (env.CRASH_AT !== undefined) wrong.push('  CRASH_AT: is for tests only');
  if (/^0x0{39}1$/.test(env.PLATFORM_ADDRESS)) wrong.push('  PLATFORM_ADDRESS: name an address of your own in production');
  refuse(wrong);
}
