/** Every case there is. A new one is a file beside this and a line here. */
import type { BenchCase } from '../case.ts';
import { escrowCase } from './escrow.ts';
import { gatewayCase } from './gateway.ts';
import { hotCase } from './hot.ts';
import { longCallsCase } from './long-calls.ts';
import { pipelineCase } from './pipeline.ts';
import { sessionsCase } from './sessions.ts';
import { batchedTicksCase, ticksCase } from './ticks.ts';

/** The setup is made and used by the same case, so nobody in between needs its type. */
export const benchCases: readonly BenchCase[] = [gatewayCase, hotCase, longCallsCase, sessionsCase, escrowCase, pipelineCase, ticksCase,
  batchedTicksCase];

/** @throws Error that lists the names there are. */
export function findCase(name: string): BenchCase {
  const found = benchCases.find((one) => one.name === name);
  if (found === undefined) throw new Error(`There is no case "${name}". Cases: ${benchCases.map((one) => one.name).join(', ')}.`);
  return found;
}
