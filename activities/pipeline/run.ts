/**
 * Drives pipelines from step to step. The same functions serve the head start in the API's process, the activities of the workflow,
 * and the sweeper: each step is begun once, guarded by its row, and those who come later wait for whoever drives it.
 */
import { LRUCache } from 'lru-cache';
import { SuretyError } from '../../domain/errors.ts';
import { fillPrevious } from '../../domain/prev.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Logger } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { OpenCall } from '../gateway/call.ts';
import type { Driver } from '../gateway/drive.ts';
import { openCallOf, type PipelineRow, type StepRow } from './rows.ts';
import type { PipelineStore } from './store.ts';

/** How a step ended: it delivered (with this answer; undefined: it is in the row), it was given up, or it never began because the pipeline goes no further. */
export type StepEnd = { readonly tag: 'delivered'; readonly responseJson: string | null | undefined } | { readonly tag: 'given_up' } | { readonly tag: 'stopped' };

/** What the head start knows of a pipeline it has just written: nothing needs to be read again. */
export interface OpenPipeline {
  readonly id: string;
  readonly calls: readonly OpenCall[];
}

export interface PipelineRunner {
  /** Buys step after step and ends the pipeline. Rejects only when the database stays away: rows and sweeper know the rest. */
  run(pipeline: OpenPipeline): Promise<PipelineRow>;
  /** The same for a pipeline that was left somewhere on its way. */
  resume(id: string, steps: number): Promise<PipelineRow>;
  /** Sees one step to its end; joins whoever is at it in this process. */
  step(id: string, step: number): Promise<StepEnd>;
  /** Ends the pipeline if its steps say so. */
  finish(id: string): Promise<PipelineRow>;
  /** Begins no further step in this process: others will. */
  stop(): void;
}

export interface RunDeps {
  readonly store: PipelineStore;
  readonly driver: Driver;
  readonly crash: Crash;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const POLL_MS_MIN = 20;
const POLL_MS_MAX = 500;
/** A workflow that asks a moment later hears of a quick step without a question to the database. */
const ENDS_REMEMBERED = 5_000;

/** Sees to it that each step is at work once in this process, and never again after it has ended. */
function createJoiner(crash: Crash): (id: string, step: number, begin: () => Promise<StepEnd>) => Promise<StepEnd> {
  const underWay = new Map<string, Promise<StepEnd>>();
  const ended = new LRUCache<string, StepEnd>({ max: ENDS_REMEMBERED });
  return (id, step, begin) => {
    const key = `${id}:${step}`;
    const known = ended.get(key);
    if (known !== undefined) return Promise.resolve(known);
    let running = underWay.get(key);
    if (running === undefined) {
      running = begin().then((end) => {
        crash.at('step-ended');
        // Answers may be large, and whoever needs one later reads its row.
        ended.set(key, end.tag === 'delivered' ? { tag: 'delivered', responseJson: undefined } : end);
        return end;
      }).finally(() => underWay.delete(key));
      underWay.set(key, running);
    }
    return running;
  };
}

export function createPipelineRunner(deps: RunDeps): PipelineRunner {
  const { store, crash } = deps;
  const joined = createJoiner(crash);
  let stopped = false;

  const refuseWhenStopped = (): void => {
    if (stopped) throw new SuretyError('draining', 'This process is stopping; another one goes on with the pipeline.');
  };

  /** @param known answer of the step before; undefined: to be read. */
  async function begin(call: OpenCall, id: string, step: number, known: string | null | undefined): Promise<StepEnd> {
    refuseWhenStopped();
    const previousJson = known === undefined && step > 0 ? (await store.step(id, step - 1))?.response : known;
    const filled = fillPrevious(call.paramsJson, previousJson ?? null);
    if (!filled.ok) {
      await store.finish(id, { step, message: filled.reason });
      return { tag: 'given_up' };
    }
    const outcome = await store.startStep(id, step, filled.json);
    crash.at('step-started');
    switch (outcome) {
      case 'started': return drive(deps, { ...call, paramsJson: filled.json }, id, step);
      case 'stopped': return { tag: 'stopped' };
      case 'elsewhere': return follow(deps, id, step);
    }
  }

  async function step(id: string, index: number): Promise<StepEnd> {
    return joined(id, index, async () => {
      const row = await store.step(id, index);
      if (row === null) throw new SuretyError('not_found', 'There is no such step.');
      if (row.state !== 'planned') return endOf(row) ?? follow(deps, id, index);
      return begin(openCallOf(row), id, index, undefined);
    });
  }

  const finish = async (id: string): Promise<PipelineRow> => {
    crash.at('before-finish');
    const row = await store.finish(id);
    crash.at('pipeline-finished');
    return row;
  };

  return {
    step, finish,
    async run({ id, calls }) {
      let previousJson: string | null | undefined;
      for (const [index, call] of calls.entries()) {
        const end: StepEnd = await joined(id, index, () => (index === 0 ? drive(deps, call, id, index) : begin(call, id, index, previousJson)));
        if (end.tag !== 'delivered') break;
        previousJson = end.responseJson;
      }
      return finish(id);
    },
    async resume(id, steps) {
      for (let index = 0; index < steps; index += 1) if ((await step(id, index)).tag !== 'delivered') break;
      return finish(id);
    },
    stop: () => {
      stopped = true;
    },
  };
}

/** A step that was begun by this process. */
async function drive(deps: RunDeps, call: OpenCall, id: string, step: number): Promise<StepEnd> {
  const end = await deps.driver.drive(call);
  switch (end.tag) {
    case 'settled': case 'delivered': return { tag: 'delivered', responseJson: end.responseJson };
    case 'released': return { tag: 'given_up' };
    case 'elsewhere': return follow(deps, id, step);
  }
}

/** A step that somebody else has begun, or whose driver is gone: waits for its end, and takes it over where nobody is at it. */
async function follow({ driver, store }: RunDeps, id: string, step: number): Promise<StepEnd> {
  for (let pauseMs = POLL_MS_MIN; ; pauseMs = Math.min(POLL_MS_MAX, pauseMs * 2)) {
    const row = await store.step(id, step);
    if (row === null) throw new SuretyError('not_found', 'There is no such step.');
    if (row.state === 'planned') return { tag: 'stopped' };
    const end = endOf(row);
    if (end !== null) return end;
    await driver.adopt([row.id]);
    const here: Promise<unknown> | undefined = driver.underWay(row.id);
    await (here ?? new Promise((resolve) => setTimeout(resolve, pauseMs)));
  }
}

/** Null while its seller is at work. */
function endOf({ state, response }: StepRow): StepEnd | null {
  switch (state) {
    case 'settled': case 'delivered': return { tag: 'delivered', responseJson: response };
    case 'released': return { tag: 'given_up' };
    case 'accepted': case 'planned': return null;
  }
}
