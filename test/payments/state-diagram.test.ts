/** The pictures of the documents are made from the rules. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { longCallDiagram, pipelineDiagram, stateDiagram } from '../../domain/state-diagram.ts';
import type { Rules } from '../../domain/payment.ts';
import { paymentKinds } from '../../payments/kinds.ts';

const diagramsOf = (kind: string): string[] => {
  const page = readFileSync(path.join(import.meta.dirname, '../../docs', `${kind}.md`), 'utf8');
  return [...page.matchAll(/^```mermaid\n(stateDiagram-v2\n[\s\S]*?)^```/gm)].map(([, text = '']) => text);
};

test.each(paymentKinds)('the diagram of docs/$rules.kind.md is made from the rules; run `npm run docs:diagrams`', ({ rules }) => {
  expect(diagramsOf(rules.kind)).toEqual([stateDiagram(rules)]);
});

test('that of docs/pipelines.md is made from the rules; run `npm run docs:diagrams`', () => {
  expect(diagramsOf('pipelines')).toEqual([pipelineDiagram()]);
});

test('that of docs/long-calls.md is made from the rules; run `npm run docs:diagrams`', () => {
  expect(diagramsOf('long-calls')).toEqual([longCallDiagram()]);
});

test('a diagram has every way from state to state: by whom, by the clock, and to which ends', () => {
  const rules: Rules<object, object, undefined, 'laid' | 'hatched' | 'cold', 'hatch' | 'look' | 'judge'> = {
    kind: 'egg', noun: 'egg', bucket: 'pending', opens: { to: 'laid' }, read: () => undefined,
    steps: {
      hatch: { by: ['seller'], only: '', operator: null }, look: { by: ['buyer', 'seller'], only: '', operator: null },
      judge: { by: ({ arbiter }) => (arbiter === null ? ['arbiter', 'platform'] : ['arbiter']), only: '', operator: null },
    },
    states: {
      laid: {
        funds: 'held_pending', time: 'brooding', until: (_egg, nowMs) => nowMs + 1,
        clock: { to: 'cold', moves: 'giveBack', resolution: 'left_alone' },
        on: { hatch: { to: 'hatched', moves: 'paySeller' }, look: { to: 'laid' }, judge: { to: ['hatched', 'cold'] } },
      },
      hatched: { funds: 'settled_safe', end: true }, cold: { funds: 'returned', end: true },
    },
  };
  expect(stateDiagram(rules).trimEnd().split('\n')).toEqual([
    'stateDiagram-v2',
    '  [*] --> laid: open',
    '  laid --> hatched: hatch (seller)',
    '  laid --> laid: look (buyer, seller)',
    '  laid --> hatched: judge (arbiter, platform)',
    '  laid --> cold: judge (arbiter, platform)',
    '  laid --> cold: time of brooding is up (left_alone)',
    '  hatched --> [*]',
    '  cold --> [*]',
  ]);
});
