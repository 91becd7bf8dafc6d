/** How a Temporal of one's own is reached safely: TLS, our own certificate, an API key. Secrets stay in here and in the SDK. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { TLSConfig } from '@temporalio/client';
import type { Env } from '../platform/env.ts';

/** As the SDK's connections take it; nothing of it for the embedded server, which listens on this machine only. */
export interface TemporalSecurity {
  readonly tls?: TLSConfig | boolean;
  /** The one of the moment. */
  readonly apiKey?: string;
}

/** What a file can change while the process runs. */
export interface RenewableSecurity extends TemporalSecurity {
  /** Reads the API key's file anew. @returns the key when it has changed; rejects with a sentence when the file cannot be read. */
  readonly renewApiKey?: () => Promise<string | null>;
}

export type SecuritySettings =
  Pick<Env, 'TEMPORAL_ADDRESS' | 'TEMPORAL_TLS' | 'TEMPORAL_API_KEY' | 'TEMPORAL_TLS_CA_FILE' | 'TEMPORAL_TLS_CERT_FILE'
  | 'TEMPORAL_TLS_KEY_FILE' | 'TEMPORAL_API_KEY_FILE'>;

/**
 * Reads the files that the settings name. TLS is on when it is asked for, and with any of its files or an API key.
 * @throws Error with a sentence that names the setting whose file cannot be read or holds something else.
 */
export async function readTemporalSecurity(env: SecuritySettings): Promise<RenewableSecurity> {
  if (env.TEMPORAL_ADDRESS === undefined) return {};
  const { TEMPORAL_API_KEY: apiKey, TEMPORAL_API_KEY_FILE: apiKeyFile } = env;
  const { TEMPORAL_TLS_CA_FILE: caFile, TEMPORAL_TLS_CERT_FILE: certFile, TEMPORAL_TLS_KEY_FILE: keyFile } = env;
  const ca = caFile === undefined ? undefined
    : await readPem('TEMPORAL_TLS_CA_FILE', caFile, 'a certificate', (pem) => new X509Certificate(pem));
  const crt = certFile === undefined ? undefined
    : await readPem('TEMPORAL_TLS_CERT_FILE', certFile, 'a certificate', (pem) => new X509Certificate(pem));
  const key = keyFile === undefined ? undefined
    : await readPem('TEMPORAL_TLS_KEY_FILE', keyFile, 'a private key without a password', (pem) => createPrivateKey(pem));
  if (crt !== undefined && key !== undefined && !new X509Certificate(crt).checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`TEMPORAL_TLS_KEY_FILE: ${keyFile} is not the key of the certificate in TEMPORAL_TLS_CERT_FILE.`);
  }
  const files: TLSConfig = {
    ...(ca === undefined ? {} : { serverRootCACertificate: ca }),
    ...(crt === undefined || key === undefined ? {} : { clientCertPair: { crt, key } }),
  };
  const wanted = env.TEMPORAL_TLS ?? (apiKey !== undefined || apiKeyFile !== undefined || Object.keys(files).length > 0);
  const tls = wanted ? { tls: files } : {};
  return apiKeyFile === undefined ? { ...tls, ...(apiKey === undefined ? {} : { apiKey }) } : renewable(tls, apiKeyFile);
}

/** With the API key as the file has it now. */
async function renewable(tls: TemporalSecurity, file: string): Promise<RenewableSecurity> {
  let apiKey = await readApiKey(file);
  return {
    ...tls,
    get apiKey() { return apiKey; },
    async renewApiKey() {
      const before = apiKey;
      apiKey = await readApiKey(file);
      return apiKey === before ? null : apiKey;
    },
  };
}

async function readApiKey(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException): never => {
    throw new Error(`TEMPORAL_API_KEY_FILE: ${file} cannot be read (${error.code ?? 'unknown'}).`);
  });
  if (!/^[\x21-\x7e]+$/.test(text.trim())) throw new Error(`TEMPORAL_API_KEY_FILE: ${file} does not hold one word.`);
  return text.trim();
}

/** The file's bytes, once they are known to be what they should be. Its content never goes into a message. */
async function readPem(setting: string, file: string, what: string, parse: (pem: Buffer) => unknown): Promise<Buffer> {
  const pem = await readFile(file).catch((error: NodeJS.ErrnoException): never => {
    throw new Error(`${setting}: ${file} cannot be read (${error.code ?? 'unknown'}).`);
  });
  try {
    parse(pem);
  } catch {
    throw new Error(`${setting}: ${file} is not ${what} in PEM form.`);
  }
  return pem;
}
