/**
 * Pipelines: what they do by themselves, and who may do what with one. The table is the rules; nothing repeats them, and the diagram in
 * docs/pipelines.md is made from it. Facts of the first system: contract alancoin-payments 5.4.
 */
import { pipelineStates, type PipelineState } from './pipeline.ts';
import type { Refusal } from './payment.ts';

/** What people can do with a pipeline; also the names of its updates and signals, after `surety-`. */
export const pipelineActions = ['cancel', 'retry-undo'] as const;
export type PipelineAction = (typeof pipelineActions)[number];
/** In which capacity somebody acts. An operator at Temporal, and the admin, act for the platform. */
type Actor = 'buyer' | 'platform';

/** What holds of an action in every state. */
interface ActionRule {
  readonly by: readonly Actor[];
  /** Refusal of anybody else. */
  readonly only: string;
  /** For "… and then it is not possible to …". */
  readonly verb: string;
  /** What else stands in its way. */
  readonly unless?: (pipeline: Judged) => Refusal | null;
}

interface StateRule {
  /** Nothing more happens by itself. */
  readonly end?: true;
  /** Where it leads by itself, and when. */
  readonly leads: Partial<Readonly<Record<PipelineState, string>>>;
  readonly on: Partial<Readonly<Record<PipelineAction, PipelineState>>>;
}

/** What the rules look at. */
export interface Judged {
  readonly state: PipelineState;
  readonly buyer: string;
  /** Compensations that were given up. */
  readonly failedUndos: number;
}

const undoAgain = { 'retry-undo': 'undoing' } as const;

export const pipelineRules: {
  readonly opens: PipelineState;
  readonly actions: Readonly<Record<PipelineAction, ActionRule>>;
  readonly states: Readonly<Record<PipelineState, StateRule>>;
} = {
  opens: 'running',
  actions: {
    cancel: { by: ['buyer', 'platform'], only: 'Only the buyer may cancel a pipeline.', verb: 'cancel it' },
    'retry-undo': {
      by: ['buyer', 'platform'], only: 'Only the buyer may have compensations called again.', verb: 'call compensations again',
      unless: ({ failedUndos }) => (failedUndos > 0 ? null
        : { code: 'invalid_state', message: 'No compensation of this pipeline was given up, so there is none to call again.' }),
    },
  },
  states: {
    running: {
      on: { cancel: 'cancelling' },
      leads: {
        completed: 'every step has delivered and is paid', undoing: 'a step failed, others are to be undone', failed: 'a step failed',
      },
    },
    cancelling: {
      on: {},
      leads: { undoing: 'the step under way has ended, steps are to be undone', cancelled: 'the step under way has ended' },
    },
    undoing: {
      on: undoAgain,
      leads: { failed: 'every compensation was accepted or given up', cancelled: 'the same, where it was cancelled' },
    },
    completed: { end: true, leads: {}, on: {} },
    failed: { end: true, leads: {}, on: undoAgain },
    cancelled: { end: true, leads: {}, on: undoAgain },
  },
};

/** Why an action is impossible in this state, whoever asks; null when it is not. What the validators of the workflow ask. */
export function stateRefusal(state: PipelineState, action: PipelineAction): Refusal | null {
  if (pipelineRules.states[state].on[action] !== undefined) return null;
  const { verb } = pipelineRules.actions[action];
  return { code: 'invalid_state', message: `The pipeline is ${state}, and then it is not possible to ${verb}.` };
}

/** Why this is refused; null when it may be done. @param by address of whoever asks; null for the platform. */
export function refusalOf(pipeline: Judged, action: PipelineAction, by: string | null): Refusal | null {
  const rule = pipelineRules.actions[action];
  const actor: Actor | null = by === null ? 'platform' : by.toLowerCase() === pipeline.buyer ? 'buyer' : null;
  if (actor === null || !rule.by.includes(actor)) return { code: 'unauthorized', message: rule.only };
  return stateRefusal(pipeline.state, action) ?? rule.unless?.(pipeline) ?? null;
}

/** Will nothing change any more by itself? */
export function hasEnded(state: PipelineState): boolean {
  return pipelineRules.states[state].end ?? false;
}

/** The states as arrows, for the diagram: each way with who may take it, or what leads there. */
export function pipelineArrows(): readonly { readonly from: string; readonly to: string; readonly label?: string }[] {
  const ways = pipelineStates.flatMap((from) => {
    const { leads, on, end } = pipelineRules.states[from];
    const acts = Object.entries(on).map(([action, to]) =>
      ({ from, to, label: `${action} (${pipelineRules.actions[action as PipelineAction].by.join(', ')})` }));
    return [...acts, ...Object.entries(leads).map(([to, label]) => ({ from, to, label })), ...(end ? [{ from, to: '[*]' }] : [])];
  });
  return [{ from: '[*]', to: pipelineRules.opens, label: 'open' }, ...ways];
}

/** The longest pause between two tries of a compensation: short enough that a repaired endpoint is found again while people look. */
const UNDO_PAUSE_MS_MAX = 15 * 60_000;
const UNDO_PAUSE_MS_MIN = 500;

/** Milliseconds until a compensation that did not work is called again; they double. @param attempt from 1, the try that failed. */
export function undoPauseMs(attempt: number): number {
  return Math.min(UNDO_PAUSE_MS_MAX, UNDO_PAUSE_MS_MIN * 2 ** (attempt - 1));
}
