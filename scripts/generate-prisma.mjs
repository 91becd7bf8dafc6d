// Generates the Prisma client after `npm ci`. Prisma's schema engine is a download that not every machine can reach and that
// generating does not need, so the engine is pointed at a harmless program; migrations are applied by prisma/migrate.ts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const result = spawnSync(process.execPath, ['node_modules/prisma/build/index.js', 'generate'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  env: {
    ...process.env,
    PRISMA_SCHEMA_ENGINE_BINARY: process.env.PRISMA_SCHEMA_ENGINE_BINARY ?? '/bin/true',
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
    CHECKPOINT_DISABLE: '1',
  },
  encoding: 'utf8',
});
if (result.status !== 0) {
  console.error(result.stdout, result.stderr);
  console.error('The Prisma client could not be generated; run `node scripts/generate-prisma.mjs` again to see why.');
  process.exit(1);
}
