import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Which folder may import which; the table of architecture §2. A folder may always import itself. */
export const layers = {
  domain: [],
  platform: ['domain'],
  prisma: ['platform'],
  ledger: ['prisma', 'platform', 'domain'],
  events: ['prisma', 'platform', 'domain'],
  trust: ['prisma', 'platform', 'domain'],
  registry: ['prisma', 'platform', 'domain'],
  policy: ['registry', 'prisma', 'platform', 'domain'],
  activities: ['ledger', 'registry', 'policy', 'trust', 'events', 'prisma', 'platform', 'domain'],
  workflows: ['domain'],
  temporal: ['workflows', 'platform', 'domain'],
  payments: ['temporal', 'workflows', 'activities', 'registry', 'policy', 'ledger', 'prisma', 'platform', 'domain'],
  workers: ['payments', 'temporal', 'workflows', 'activities', 'ledger', 'registry', 'policy', 'trust', 'events', 'prisma', 'platform',
    'domain'],
  api: ['payments', 'temporal', 'registry', 'policy', 'trust', 'events', 'ledger', 'prisma', 'platform', 'domain'],
};
const folders = [...Object.keys(layers), 'demo', 'bench', 'test'];

const layering = Object.entries(layers).map(([folder, allowed]) => ({
  files: [`${folder}/**/*.ts`],
  // Composition roots build the world and may reach everything.
  ignores: ['**/main.ts', '**/*-main.ts'],
  rules: {
    '@typescript-eslint/no-restricted-imports': ['error', {
      patterns: folders.filter((other) => other !== folder && !allowed.includes(other)).map((other) => ({
        regex: `^(\\.\\./)+${other}/`,
        message: `${folder}/ may not import ${other}/ (see docs/architecture.md, layers).`,
        // Workflows need the types of the activities they call, and nothing else of them.
        allowTypeImports: folder === 'workflows' && other === 'activities',
      })),
    }],
  },
}));

export default tseslint.config(
  { ignores: ['node_modules/', 'dist/', 'prisma/generated/', '.surety*/', 'coverage/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'no-console': 'error',
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'max-lines': ['error', { max: 300, skipBlankLines: false, skipComments: false }],
    },
  },
  ...layering,
  { files: ['test/**/*.ts'], rules: { 'max-lines-per-function': 'off' } },
  { files: ['**/main.ts', '**/*-main.ts', 'demo/**/*.ts', 'bench/**/*.ts', 'test/run.ts'], rules: { 'no-console': 'off' } },
  // What the SDK loads with `require`.
  { files: ['**/*.cjs'], languageOptions: { sourceType: 'commonjs', globals: { require: 'readonly', exports: 'readonly' } },
    rules: { '@typescript-eslint/no-require-imports': 'off' } },
  { files: ['scripts/**/*.mjs', '*.js'], rules: { 'no-console': 'off' }, languageOptions: {
    globals: { process: 'readonly', console: 'readonly', URL: 'readonly', Buffer: 'readonly', performance: 'readonly' } } },
);
