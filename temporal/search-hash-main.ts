/** `npm run search-hash -- 0x…`: what to search Temporal for to find somebody, with TEMPORAL_SEARCH_ATTRIBUTES=hashed. */
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv } from '../platform/env.ts';
import { readSearchHash } from './search-hash.ts';

try {
  loadDotEnv();
  const texts = process.argv.slice(2);
  if (texts.length === 0) throw new Error('Name the addresses or tenants to search for: npm run search-hash -- 0x…');
  const hash = await readSearchHash(readEnv(process.env));
  if (hash === undefined) throw new Error('TEMPORAL_SEARCH_ATTRIBUTES is plain: search for the address or tenant itself.');
  for (const text of texts) console.log(`${text}  ${hash(text.startsWith('0x') ? text.toLowerCase() : text)}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
