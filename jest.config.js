/** ESM and TypeScript as they are: swc strips the types, imports keep their `.ts` endings. Run through test/run.ts, which starts the servers. */
export default {
  rootDir: import.meta.dirname,
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }] },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/\\.surety'],
  testSequencer: '<rootDir>/test/sequencer.js',
  testTimeout: 20_000,
};
