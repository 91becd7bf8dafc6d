/**
 * Drives pipelines from step to step. The same functions serve the head start in the API's process, the activities of the workflow,
 * and the sweeper: each step is begun once, guarded by its row, and those who come later wait for whoever drives it.
 */
import { LRUCache } from 'lru-cache';
import { SuretyError } from '../../domain/errors.ts';
import type { Crash } from '../../platform/crash.ts';
import type { OpenCall } from '../gateway/call.ts';
import { openCallOf, type PipelineRow } from './rows.ts';
import { createStepper, endOf, follow, type StepDeps, type StepEnd } from './step.ts';

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
  /**
   * Begins no further step of this pipeline in this process until the returned function is called, or for half a minute: somebody wants to
   * stop it, and that cannot be written yet.
   */
  hold(id: string): () => void;
  /** Begins no further step in this process: others will. */
  stop(): void;
}

/** A workflow that asks a moment later hears of a quick step without a question to the database. */
const ENDS_REMEMBERED = 5_000;
const HELD_MAX = 5_000;
/** Longer than the longest pause between two tries to write a wish. */
const HELD_MS = 30_000;

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
        ended.set(key, end.tag === 'delivered' ? { tag: 'delivered', responseJson: undefined, by: end.by } : end);
        return end;
      }).finally(() => underWay.delete(key));
      underWay.set(key, running);
    }
    return running;
  };
}

export function createPipelineRunner(deps: StepDeps): PipelineRunner {
  const { store, crash } = deps;
  const joined = createJoiner(crash);
  const held = new LRUCache<string, true>({ max: HELD_MAX, ttl: HELD_MS });
  let stopped = false;
  const { begin, drive } = createStepper(deps, (id) => stopped || held.has(id));

  async function step(id: string, index: number): Promise<StepEnd> {
    return joined(id, index, async () => {
      const row = await store.step(id, index);
      if (row === null) throw new SuretyError('not_found', 'There is no such step.');
      if (row.state !== 'planned') return endOf(row) ?? follow(deps, id, index);
      return begin(openCallOf(row), { id, step: index, calls: null }, undefined);
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
      type Before = { readonly tag: 'delivered'; readonly responseJson: null; readonly begun?: OpenCall };
      let last: Promise<StepEnd | Before> =
        Promise.resolve({ tag: 'delivered', responseJson: null, ...(calls[0] === undefined ? {} : { begun: calls[0] }) });
      // Claimed before any of them begins: the statement that pays one begins the next, and nobody in this process may think it abandoned.
      for (const [index, call] of calls.entries()) {
        const before = last;
        const place = { id, step: index, calls };
        last = joined(id, index, async () => {
          const end = await before;
          if (end.tag !== 'delivered') return { tag: 'stopped' };
          return end.begun === undefined ? begin(call, place, end.responseJson) : drive(end.begun, place);
        });
        // Whoever waits for the last hears of the first that failed.
        last.catch(() => undefined);
      }
      const end = await last;
      return ('ended' in end ? end.ended : undefined) ?? finish(id);
    },
    async resume(id, steps) {
      for (let index = 0; index < steps; index += 1) if ((await step(id, index)).tag !== 'delivered') break;
      return finish(id);
    },
    hold(id) {
      held.set(id, true);
      return () => void held.delete(id);
    },
    stop: () => {
      stopped = true;
    },
  };
}
