/** How Buyer, Seller and Tenant are written into Temporal's searches where nobody without a key shall read them. */
import { createHmac, randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Env } from '../platform/env.ts';
import { readKeyFile } from '../platform/key-file.ts';

/** Replaces what names somebody by a keyed hash that can still be searched for. */
export type SearchHash = (text: string) => string;

/** HMAC-SHA-256, the first 32 hexadecimal digits: nobody finds a second text for one of them, and a column of the UI has room for it. */
export function createSearchHash(key: string): SearchHash {
  return (text) => createHmac('sha256', key).update(`search ${text}`).digest('hex').slice(0, 32);
}

/** The hash of SEARCH_KEY_FILE, which is made where there is none; undefined where searches are plain. */
export async function readSearchHash(env: Pick<Env, 'TEMPORAL_SEARCH_ATTRIBUTES' | 'SEARCH_KEY_FILE' | 'DATA_DIR'>):
    Promise<SearchHash | undefined> {
  if (env.TEMPORAL_SEARCH_ATTRIBUTES === 'plain') return undefined;
  return createSearchHash(await readKeyFile(env.SEARCH_KEY_FILE ?? path.join(env.DATA_DIR, 'search.key'), () =>
    randomBytes(32).toString('hex')));
}
