/**
 * Shared pieces of request and answer schemas. Each says no in a sentence, and those with an error code of their own (amounts,
 * addresses, cursors) carry it in `params.code`, from where `api/errors.ts` takes it.
 */
import { z } from 'zod';
import { formatDuration, parseDuration } from '../../domain/duration.ts';
import { isAddress, normaliseAddress, SERVICE_TYPE } from '../../domain/ids.ts';
import { assets, DEFAULT_ASSET, isAmountText, isAsset, parseAmount, type Asset } from '../../domain/money.ts';

const AMOUNT_PATTERN = '^[0-9]{1,12}(\\.[0-9]{1,6})?$';
const ADDRESS_PATTERN = '^0x[0-9a-fA-F]{40}$';
const exampleAddress = '0x00000000000000000000000000000000000000a1';

/** An amount above zero in a request: decimal text in, micros out. */
export const amount = z
  .custom<string>((value) => typeof value === 'string' && isAmountText(value), {
    error: 'must be a decimal string above zero such as "1.50", with at most 12 digits before and 6 after the point',
    params: { code: 'invalid_amount' },
  })
  .meta({ type: 'string', pattern: AMOUNT_PATTERN, examples: ['1.50'] })
  .transform(parseAmount);

/**
 * Clients of the first system send fields they have nothing for as empty text, or as null; for {@link z.preprocess} of an optional field.
 */
export const emptyIsAbsent = (value: unknown): unknown => (value === '' || value === null ? undefined : value);

const assetNames = Object.keys(assets);

/** What the amounts of a request are in; {@link DEFAULT_ASSET} when left out. Errors: unknown_currency. */
export const currency = z.preprocess(emptyIsAbsent, z
  .custom<Asset>((value) => typeof value === 'string' && isAsset(value), {
    error: `must be one of ${assetNames.join(', ')}`, params: { code: 'unknown_currency' },
  })
  .meta({ type: 'string', enum: assetNames, description: `${DEFAULT_ASSET} when left out.` })
  .default(DEFAULT_ASSET));

export const currencyOut = z.string().meta({ examples: [DEFAULT_ASSET] });

/** An amount in an answer: always six decimal places. */
export const amountOut = z.string().meta({ pattern: '^-?[0-9]+\\.[0-9]{6}$', examples: ['1.500000'] });

/** An agent's address in a request: any case in, lower case out. */
export const address = z
  .custom<string>((value) => typeof value === 'string' && isAddress(value), {
    error: 'must be 0x followed by 40 hexadecimal digits',
    params: { code: 'invalid_address' },
  })
  .meta({ type: 'string', pattern: ADDRESS_PATTERN, examples: [exampleAddress] })
  .transform(normaliseAddress);

/** Path parameters of routes about one agent. */
export const addressParams = z.object({ address });
export const idParams = z.object({ id: z.string().max(64) });

export const addressOut = z.string().meta({ pattern: '^0x[0-9a-f]{40}$', examples: [exampleAddress] });
export const timeOut = z.iso.datetime().meta({ examples: ['2026-01-31T12:00:00.000Z'] });

// NUL and lone surrogates cannot be stored in Postgres; control characters can but have no business in names.
// eslint-disable-next-line no-control-regex -- the characters are the point
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// eslint-disable-next-line no-control-regex -- the characters are the point
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/** Half of a character outside the basic plane, which no encoding can hold. */
function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udfff]/.test(text) && /(?:[\ud800-\udbff](?![\udc00-\udfff]))|(?:(?<![\ud800-\udbff])[\udc00-\udfff])/.test(text);
}

/** One line of text, trimmed, `min` to `max` characters (UTF-16 units), without control characters. */
export function line(max: number, min = 1) {
  return checked(max, min, CONTROL, 'must not contain control characters or line breaks');
}

/** Text of several lines, trimmed, at most `max` characters, without control characters other than tab and line breaks. */
export function paragraph(max: number, min = 0) {
  return checked(max, min, CONTROL_BUT_LINES, 'must not contain control characters');
}

function checked(max: number, min: number, forbidden: RegExp, complaint: string) {
  return z.string().trim().min(min).max(max)
    .refine((text) => !forbidden.test(text), complaint)
    .refine((text) => !hasLoneSurrogate(text), 'must be valid Unicode text');
}

/** A length of time such as `90s` or `2d` in a request: milliseconds out, `fallbackMs` where it was left out. */
export function duration({ msMin, msMax, fallbackMs }: { readonly msMin: number; readonly msMax: number; readonly fallbackMs: number }) {
  const complaint = `must be a time such as 90s, 5m, 1h30m or 2d, from ${formatDuration(msMin)} to ${msMax / 86_400_000}d`;
  const inBounds = (ms: number | null): boolean => ms !== null && ms >= msMin && ms <= msMax;
  return z.preprocess(emptyIsAbsent, z.string().optional()
    .refine((given) => given === undefined || inBounds(parseDuration(given)), complaint)
    .transform((given) => (given === undefined ? fallbackMs : (parseDuration(given) ?? fallbackMs))));
}

/** A field of an answer that is left out where there is nothing to say: a time. */
export function timeIf(name: string, atMs: number | null | undefined): Record<string, string> {
  return atMs === null || atMs === undefined ? {} : { [name]: new Date(atMs).toISOString() };
}

/** The same of text. */
export function textIf(name: string, value: string | null | undefined): Record<string, string> {
  return value === null || value === undefined ? {} : { [name]: value };
}

/** The type of a service, such as `translation`. */
export const serviceType = z.string().regex(SERVICE_TYPE, 'must be 1 to 100 letters, digits, "-" or "_"')
  .meta({ examples: ['translation'] });

/** A JSON object of the caller's own making, handed on as it is. */
export const jsonObject = z
  .custom<Record<string, unknown>>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), 'must be a JSON object')
  .meta({ type: 'object', additionalProperties: true });

/** An idempotency key as a field of the body. */
export const idempotencyKey = z.string().regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 visible ASCII characters');

/** `limit` of a list: 1 to `max`; anything else means the default, as clients of the first system expect. */
export function limit(max: number, fallback: number) {
  return z.string().optional()
    .transform((text) => (text !== undefined && /^[0-9]{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= max
      ? Number(text) : fallback))
    .meta({ description: `1 to ${max}; ${fallback} when left out.` });
}

const OFFSET_MAX = 10_000;

/** `offset` of a list: a whole number from 0; anything else means 0. What is skipped is read all the same, so not too much. */
export const offset = z.string().optional()
  .refine((text) => text === undefined || !/^[0-9]{1,9}$/.test(text) || Number(text) <= OFFSET_MAX,
    `must be at most ${OFFSET_MAX}; go on with cursor instead`)
  .transform((text) => (text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : 0))
  .meta({ description: `How many rows to skip, at most ${OFFSET_MAX}; 0 when left out. Better go on with \`cursor\`.` });

/** `true` or `1` in a query; everything else is false. */
export const queryFlag = z.string().optional().transform((text) => text === 'true' || text === '1')
  .meta({ description: '`true` or `false`.' });

/** Where a page begins: the last row of the page before. */
export interface Cursor {
  readonly at: Date;
  /** Microseconds below the millisecond of `at`. */
  readonly micros: number;
  readonly id: string;
}

/** `cursor` of a list, newest first: base64url of `<unix nanoseconds>|<id>`. */
export const cursor = z
  .custom<string | undefined>((value) => value === undefined || (typeof value === 'string' && readCursor(value) !== undefined), {
    error: 'is not a cursor of this list',
    params: { code: 'invalid_cursor' },
  })
  .optional()
  .meta({ type: 'string', description: 'As the previous page returned it.' })
  .transform((text) => (text === undefined || text === '' ? undefined : readCursor(text)));

/**
 * `cursor` of a list that is not sorted by time: base64url of a text that says where the page begins. Read into the parts that the pattern
 * has in brackets; {@link writePlace} makes it.
 */
export function placeCursor(pattern: RegExp) {
  const read = (text: string): readonly string[] | undefined =>
    (text.length > 300 ? undefined : pattern.exec(Buffer.from(text, 'base64url').toString('latin1'))?.slice(1));
  return z
    .custom<string | undefined>((value) => value === undefined || value === '' || (typeof value === 'string' && read(value) !== undefined),
      { error: 'is not a cursor of this list', params: { code: 'invalid_cursor' } })
    .optional()
    .meta({ type: 'string', description: 'As the previous page returned it.' })
    .transform((text) => (text === undefined || text === '' ? undefined : read(text)));
}

/** The cursor of a {@link placeCursor}, from its parts. */
export function writePlace(parts: readonly (string | number)[]): string {
  return Buffer.from(parts.join('|')).toString('base64url');
}

/** The cursor after a row. Postgres keeps microseconds, JavaScript milliseconds; `micros` are those below the millisecond. */
export function writeCursor(at: Date, id: string, micros = 0): string {
  const nanos = BigInt(at.getTime()) * 1_000_000n + BigInt(micros) * 1_000n;
  return Buffer.from(`${nanos}|${id}`).toString('base64url');
}

function readCursor(text: string): Cursor | undefined {
  if (text.length > 300) return undefined;
  const match = /^([0-9]{1,20})\|([\x21-\x7e]{1,150})$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const nanos = BigInt(match[1]);
  const at = new Date(Number(nanos / 1_000_000n));
  return Number.isNaN(at.getTime()) ? undefined : { at, micros: Number((nanos / 1_000n) % 1_000n), id: match[2] };
}
