/**
 * Long files first, so that both workers end together. Jest knows how long a file took the last time; in a fresh clone, as in CI, it
 * would go by the size of the file, and a crash test is small and long.
 */
import { createRequire } from 'node:module';

const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

/** About how long files take that have not run here yet; the first that fits counts. */
const guesses = [
  [/[\\/]test[\\/]crash[\\/]/, 40_000],
  [/[\\/]runtime[\\/]embedded|[\\/]pipeline[\\/]slow|[\\/]demo[\\/]demo/, 30_000],
  [/[\\/](escrow|stream|multistep)[\\/]workflow/, 20_000],
  [/[\\/]runtime[\\/]|races|[\\/]escrow[\\/]table|[\\/]gateway[\\/]waiting/, 15_000],
  [/[\\/](gateway|pipeline|escrow|multistep|stream|workflows)[\\/]/, 5_000],
];
const OTHER_MS = 2_000;

export default class LongestFirst extends Sequencer {
  time(test) {
    return super.time(test) ?? guesses.find(([where]) => where.test(test.path))?.[1] ?? OTHER_MS;
  }
}
