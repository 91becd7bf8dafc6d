/**
 * Encrypts what Temporal keeps of payments: inputs, results, messages, summaries, heartbeats and failures are readable with a key only.
 * AES-256-GCM; the form is that of Temporal's own samples, and says by which key it was made.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { DataConverter, Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { Env } from '../platform/env.ts';

/** A key with its name. The name stands in each payload that was made with it, so it must never be given to another key. */
export interface CodecKey {
  readonly id: string;
  /** 32 bytes. */
  readonly secret: Buffer;
}

/** A payload cannot be read: its key is missing, or it was changed. The message is a sentence for the operator. */
export class UnreadablePayload extends Error {}

const ENCODING = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

/**
 * The keys of TEMPORAL_CODEC_KEYS or of the file in TEMPORAL_CODEC_KEYS_FILE, the one that encrypts first. None where neither is set.
 * @throws Error with a sentence that names the setting; it never holds a key.
 */
export async function readCodecKeys(env: Pick<Env, 'TEMPORAL_CODEC_KEYS' | 'TEMPORAL_CODEC_KEYS_FILE'>): Promise<readonly CodecKey[]> {
  if (env.TEMPORAL_CODEC_KEYS !== undefined) return parseKeys('TEMPORAL_CODEC_KEYS', env.TEMPORAL_CODEC_KEYS);
  const file = env.TEMPORAL_CODEC_KEYS_FILE;
  if (file === undefined) return [];
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException): never => {
    throw new Error(`TEMPORAL_CODEC_KEYS_FILE: ${file} cannot be read (${error.code ?? 'unknown'}).`);
  });
  return parseKeys('TEMPORAL_CODEC_KEYS_FILE', text);
}

function parseKeys(setting: string, text: string): CodecKey[] {
  const keys = text.split(/[,\n]/).map((part) => part.trim()).filter(Boolean).map((part, index) => {
    const [, id = '', secret = ''] = /^([\w.-]{1,64}):([A-Za-z0-9+/]{43}=)$/.exec(part) ?? [];
    if (id === '') throw new Error(`${setting}: key ${index + 1} is not of the form name:secret, with a secret of 32 bytes in base64.`);
    return { id, secret: Buffer.from(secret, 'base64') };
  });
  if (keys.length === 0) throw new Error(`${setting}: there is no key in it.`);
  if (new Set(keys.map(({ id }) => id)).size < keys.length) throw new Error(`${setting}: two keys have the same name.`);
  return keys;
}

/**
 * Encrypts with the first key, decrypts with each; what is not encrypted passes, so that histories from before stay readable.
 * @param keys at least one.
 */
export function createPayloadCodec(keys: readonly CodecKey[]): PayloadCodec {
  const [first] = keys;
  if (first === undefined) throw new RangeError('A codec needs a key.');
  const secrets = new Map(keys.map(({ id, secret }) => [id, secret]));
  return {
    encode: (payloads) => Promise.resolve(payloads.map((payload) => seal(first, payload))),
    // In an async function, so that a payload that cannot be read is a rejection.
    decode: async (payloads) => payloads.map((payload) => open(secrets, payload)),
  };
}

function seal({ id, secret }: CodecKey, payload: Payload): Payload {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', secret, nonce);
  const sealed = Buffer.concat([nonce, cipher.update(PayloadMessage.encode(payload).finish()), cipher.final(), cipher.getAuthTag()]);
  return { metadata: { encoding: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(id) }, data: sealed };
}

function open(secrets: ReadonlyMap<string, Buffer>, payload: Payload): Payload {
  if (textOf(payload, 'encoding') !== ENCODING) return payload;
  const id = textOf(payload, KEY_ID);
  const secret = secrets.get(id);
  if (secret === undefined) {
    throw new UnreadablePayload(`A payload of Temporal was encrypted with the key "${id.slice(0, 64)}", which is not among those of `
      + 'TEMPORAL_CODEC_KEYS. Nothing is lost: add that key behind the first one, and work goes on where it stands.');
  }
  const data = Buffer.from(payload.data ?? []);
  try {
    const decipher = createDecipheriv('aes-256-gcm', secret, data.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAuthTag(data.subarray(-TAG_BYTES));
    const plain = Buffer.concat([decipher.update(data.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    const { metadata, data: inner } = PayloadMessage.decode(plain);
    return { metadata, data: inner };
  } catch (cause) {
    throw new UnreadablePayload(`A payload of Temporal was changed after it was encrypted with the key "${id}", or another key has that `
      + 'name here. It is not used.', { cause });
  }
}

function textOf({ metadata }: Payload, name: string): string {
  return Buffer.from(metadata?.[name] ?? []).toString();
}

/** A payload as JSON, in which bytes are base64. */
export interface WirePayload {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly data?: string;
}

/** What the remote codec is asked. @throws UnreadablePayload. */
export async function decodeOnWire(codec: PayloadCodec, payloads: readonly WirePayload[]): Promise<WirePayload[]> {
  return (await codec.decode(payloads.map(fromWire))).map(toWire);
}

/** The other way round. */
export async function encodeOnWire(codec: PayloadCodec, payloads: readonly WirePayload[]): Promise<WirePayload[]> {
  return (await codec.encode(payloads.map(fromWire))).map(toWire);
}

function fromWire({ metadata = {}, data = '' }: WirePayload): Payload {
  return {
    metadata: Object.fromEntries(Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text, 'base64')])),
    data: Buffer.from(data, 'base64'),
  };
}

function toWire({ metadata, data }: Payload): WirePayload {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, bytes]) => [name, text(bytes)])),
    data: text(data ?? new Uint8Array()),
  };
}

/** For the SDK's clients and workers; undefined without a codec, and then everything is as if there were no codecs. */
export function dataConverterOf(codec: PayloadCodec | null): DataConverter | undefined {
  return codec === null ? undefined : { payloadCodecs: [codec], failureConverterPath };
}

const failureConverterPath = fileURLToPath(new URL('../workflows/failure-converter.cjs', import.meta.url));
