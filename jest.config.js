/** ESM and TypeScript as they are: swc strips the types, imports keep their `.ts` endings. test/run.ts runs it and starts the servers. */
export default {
  rootDir: import.meta.dirname,
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }] },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/\\.surety'],
  testSequencer: '<rootDir>/test/sequencer.js',
  // A worker that leaves something open never exits and is reported; one that only has much to free takes longer than jest's half a second.
  workerGracefulExitTimeout: 10_000,
  testTimeout: 20_000,
};
