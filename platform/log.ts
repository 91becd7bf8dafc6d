import { pino, type Logger } from 'pino';

export type { Logger };

/** Fields that must never be written, wherever they occur in a logged object. */
const secretFields = ['authorization', 'apiKey', 'api_key', 'secret', 'token', 'password', 'adminSecret', 'privateKey',
  'signature', 'number', 'cvv'];
const secretPaths = secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
const secretHeaders = ['authorization', 'cookie', 'x-api-key', 'x-admin-secret', 'x-gateway-token'].flatMap((name) => [
  `headers["${name}"]`,
  `*.headers["${name}"]`,
]);

/** Structured log on standard error, one JSON object a line, secrets replaced by `[redacted]`. */
export function createLog(level: string, name: string): Logger {
  return pino(
    { level, name, base: { pid: process.pid }, redact: { paths: [...secretPaths, ...secretHeaders], censor: '[redacted]' },
      timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: false, minLength: 0 }),
  );
}
