/** `npm run docs:settings`: writes `.env.example` and the README's settings table from the schema in platform/env.ts. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { envExample, settingsTable } from '../platform/env-docs.ts';

const file = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
const between = /(<!-- settings -->)[\s\S]*?(<!-- \/settings -->)/;

writeFileSync(file('.env.example'), envExample());
if (existsSync(file('README.md'))) {
  const readme = readFileSync(file('README.md'), 'utf8');
  if (between.test(readme)) writeFileSync(file('README.md'),
    readme.replace(between, (_all, open: string, close: string) => `${open}\n${settingsTable()}${close}`));
}
