import { existsSync } from 'node:fs';

/** Adds the variables of a `.env` file in the working directory to the environment; those already set win. */
export function loadDotEnv(): void {
  if (existsSync('.env')) process.loadEnvFile('.env');
}
