import { createRequire } from 'node:module';

/** Of this platform, from package.json. */
export const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
