/** `npm run temporal:install`: gets the embedded Temporal server now, so that the first start need not. */
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv } from '../platform/env.ts';
import { runService } from '../platform/service.ts';
import { findTemporal } from './install.ts';

loadDotEnv();
const say = (sentence: string): void => console.log(sentence);
await runService(say, async (service) => {
  const env = readEnv(process.env);
  const program = await findTemporal({ cli: env.TEMPORAL_CLI, cacheDir: env.CACHE_DIR, notice: say, signal: service.signal });
  say(`The Temporal server is ready: ${program}`);
  process.exit(0);
});
