/** The rules of pipelines as a table: every state, every action, everybody. */
import { hasEnded, pipelineActions, pipelineRules, refusalOf, stateRefusal, undoPauseMs,
  type PipelineAction } from '../../domain/pipeline-rules.ts';
import { pipelineStates, type PipelineState } from '../../domain/pipeline.ts';
import { addressOf } from '../support/app.ts';

const buyer = addressOf(1);
/** In which states an action is possible, and where it leads. */
const possible: Readonly<Record<PipelineAction, Partial<Record<PipelineState, PipelineState>>>> = {
  cancel: { running: 'cancelling' },
  'retry-undo': { undoing: 'undoing', failed: 'undoing', cancelled: 'undoing' },
};
const rows = pipelineStates.flatMap((state) => pipelineActions.map((action) => ({ state, action, to: possible[action][state] })));

test.each(rows)('$action while it is $state leads to $to', ({ state, action, to }) => {
  expect(pipelineRules.states[state].on[action]).toBe(to);
  const pipeline = { state, buyer, failedUndos: 1 };
  const message = expect.stringMatching(new RegExp(`^The pipeline is ${state}, and then`)) as string;
  const refusal = to === undefined ? { code: 'invalid_state', message } : null;
  expect(stateRefusal(state, action)).toEqual(refusal);
  for (const by of [buyer, buyer.toUpperCase().replace('0X', '0x'), null]) expect(refusalOf(pipeline, action, by)).toEqual(refusal);
  for (const by of [addressOf(2), '']) expect(refusalOf(pipeline, action, by)).toEqual(
    { code: 'unauthorized', message: expect.stringMatching(/^Only the buyer may/) });
});

test('compensations are called again only where one was given up', () => {
  expect(refusalOf({ state: 'failed', buyer, failedUndos: 0 }, 'retry-undo', buyer)).toMatchObject({ code: 'invalid_state' });
  expect(refusalOf({ state: 'running', buyer, failedUndos: 0 }, 'cancel', buyer)).toBeNull();
});

test('nothing leads out of an end but asking for compensations again, and every other state leads somewhere by itself', () => {
  for (const state of pipelineStates) {
    expect(Object.keys(pipelineRules.states[state].leads).length === 0).toBe(hasEnded(state));
    if (hasEnded(state)) expect(Object.keys(pipelineRules.states[state].on)).toEqual(state === 'completed' ? [] : ['retry-undo']);
  }
});

test('the pauses between two tries of a compensation double, up to a quarter of an hour', () => {
  const pauses = Array.from({ length: 20 }, (_, n) => undoPauseMs(n + 1));
  expect(pauses.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
  expect(pauses.at(-1)).toBe(900_000);
  expect(pauses.every((pause, n) => n === 0 || pause >= (pauses[n - 1] ?? 0))).toBe(true);
});
