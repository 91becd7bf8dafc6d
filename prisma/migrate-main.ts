/** `npm run migrate`: brings the database up to date, DATABASE_URL or that of the platform which runs on DATA_DIR now. */
import { readConnections } from '../platform/data-dir.ts';
import { loadDotEnv } from '../platform/dotenv.ts';
import { readEnv } from '../platform/env.ts';
import { migrate } from './migrate.ts';

try {
  loadDotEnv();
  const env = readEnv(process.env);
  const url = env.DATABASE_URL ?? (await readConnections(env.DATA_DIR))?.databaseUrl;
  if (url === undefined) throw new Error('Set DATABASE_URL. (`npm start` migrates its embedded database by itself.)');
  const applied = await migrate(url);
  console.log(applied.length === 0 ? 'The database is up to date.' : `Applied: ${applied.join(', ')}.`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
