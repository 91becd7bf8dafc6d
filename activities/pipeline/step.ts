/** One step of a pipeline: how it begins, how it is driven, and how those wait for it who do not drive it. */
import { SuretyError } from '../../domain/errors.ts';
import { fillPrevious } from '../../domain/prev.ts';
import type { Crash } from '../../platform/crash.ts';
import type { OpenCall } from '../gateway/call.ts';
import type { Driver } from '../gateway/drive.ts';
import type { Delivery, Settled } from '../gateway/rows.ts';
import type { PipelineRow, StepRow } from './rows.ts';
import type { PipelineStore } from './store.ts';

/** How a step ended: it delivered, it was given up, or it never began because the pipeline goes no further. */
export type StepEnd = Delivered | { readonly tag: 'given_up' } | { readonly tag: 'stopped' };

interface Delivered {
  readonly tag: 'delivered';
  /** Undefined: it is in the row. */
  readonly responseJson: string | null | undefined;
  /** The step after it, where the same statement has begun it for this process. */
  readonly begun?: OpenCall;
  /** The pipeline, where the same statement has ended it. */
  readonly ended?: PipelineRow;
  /** Who has delivered, and for how much; kept: to be paid when the pipeline completes. */
  readonly by: { readonly service: string; readonly seller: string; readonly priceMicros: bigint; readonly kept: boolean };
}

/** A step of a pipeline. `calls`: all steps, for a process that sees the whole of it through; null: this step only. */
export interface Place {
  readonly id: string;
  readonly step: number;
  readonly calls: readonly OpenCall[] | null;
}

export interface StepDeps {
  readonly store: PipelineStore;
  readonly driver: Driver;
  readonly crash: Crash;
}

export interface Stepper {
  /** Begins a planned step, if its pipeline goes that far, and drives it. `known`: answer of the step before; undefined: to be read. */
  begin(call: OpenCall, place: Place, known: string | null | undefined): Promise<StepEnd>;
  /** Drives a step that this process has begun. */
  drive(call: OpenCall, place: Place): Promise<StepEnd>;
}

const POLL_MS_MIN = 20;
const POLL_MS_MAX = 500;

/** @param stopped whether this process begins no further step of a pipeline. */
export function createStepper(deps: StepDeps, stopped: (id: string) => boolean): Stepper {
  const { store, crash } = deps;

  async function begin(call: OpenCall, { id, step, calls }: Place, known: string | null | undefined): Promise<StepEnd> {
    if (stopped(id)) throw new SuretyError('draining',
      'This process begins no further step of the pipeline; its workflow goes on with it.');
    const previousJson = known === undefined && step > 0 ? (await store.step(id, step - 1))?.response : known;
    const filled = fillPrevious(call.paramsJson, previousJson ?? null);
    if (!filled.ok) {
      await store.finish(id, { step, message: filled.reason });
      return { tag: 'given_up' };
    }
    const outcome = await store.startStep(id, step, filled.json);
    crash.at('step-started');
    switch (outcome) {
      case 'started': return drive({ ...call, paramsJson: filled.json }, { id, step, calls });
      case 'stopped': return { tag: 'stopped' };
      case 'elsewhere': return follow(deps, id, step);
    }
  }

  async function drive(call: OpenCall, place: Place): Promise<StepEnd> {
    const onward: { begun?: OpenCall; ended?: PipelineRow } = {};
    const end = await deps.driver.drive(call, (delivery, settle) =>
      (stopped(place.id) ? settle(delivery) : pass(place, delivery, settle, onward)));
    switch (end.tag) {
      case 'settled': case 'delivered': {
        const { serviceName: service, seller, priceMicros } = end.candidate;
        const by = { service, seller, priceMicros: BigInt(priceMicros), kept: end.tag === 'delivered' };
        return { tag: 'delivered', responseJson: end.responseJson, by, ...onward };
      }
      case 'released': return { tag: 'given_up' };
      case 'elsewhere': return follow(deps, place.id, place.step);
    }
  }

  /** Writes a delivery down and goes on with the same statement: one flush of the disk in the place of two. */
  async function pass({ id, step, calls }: Place, delivery: Delivery, settle: (delivery: Delivery) => Promise<Settled>,
      onward: { begun?: OpenCall; ended?: PipelineRow }): Promise<Settled> {
    if (calls === null) return settle(delivery);
    const next = calls[step + 1];
    if (next === undefined) {
      crash.at('before-finish');
      const { settled, ended } = await store.pass(id, delivery, null);
      if (ended !== null) onward.ended = ended;
      crash.at('pipeline-finished');
      return settled;
    }
    const filled = fillPrevious(next.paramsJson, delivery.responseJson);
    if (!filled.ok) return settle(delivery);
    const passed = await store.pass(id, delivery, { step: step + 1, paramsJson: filled.json });
    if (passed.next === 'started') onward.begun = { ...next, paramsJson: filled.json };
    crash.at('step-started');
    return passed.settled;
  }

  return { begin, drive };
}

/** A step that somebody else has begun, or whose driver is gone: waits for its end, and takes it over where nobody is at it. */
export async function follow({ driver, store }: StepDeps, id: string, step: number): Promise<StepEnd> {
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
export function endOf({ state, response, service_name: service, seller, price, reserved }: StepRow): StepEnd | null {
  switch (state) {
    case 'settled': case 'delivered': {
      const kept = state === 'delivered';
      const by = { service: service ?? '', seller: seller ?? '', priceMicros: BigInt(kept ? reserved : price), kept };
      return { tag: 'delivered', responseJson: response, by };
    }
    case 'released': return { tag: 'given_up' };
    case 'accepted': case 'planned': return null;
  }
}
