/** Which way the steps of payments went, and how many payments ever had a workflow, from the platform's own metrics. */
import { setTimeout as delay } from 'node:timers/promises';

export interface PathCounts {
  readonly workflow: number;
  readonly direct: number;
  /** Ended payments with a workflow. */
  readonly started: number;
  readonly unstarted: number;
}

/** What was counted since the platform began. */
export async function readPaths({ baseUrl }: { readonly baseUrl: string }): Promise<PathCounts> {
  // Answers of this route are half a second old at most.
  await delay(600);
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
  const sum = (metric: string, label: string): number =>
    text
      .split('\n')
      .filter((line) => line.startsWith(`${metric}{`) && line.includes(`="${label}"`))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  return {
    workflow: sum('surety_payment_steps_total', 'workflow'),
    direct: sum('surety_payment_steps_total', 'direct'),
    started: sum('surety_payment_lives_total', 'started'),
    unstarted: sum('surety_payment_lives_total', 'unstarted'),
  };
}

/** What was counted between two moments. */
export function pathsBetween(before: PathCounts, after: PathCounts): PathCounts {
  return {
    workflow: after.workflow - before.workflow,
    direct: after.direct - before.direct,
    started: after.started - before.started,
    unstarted: after.unstarted - before.unstarted,
  };
}
