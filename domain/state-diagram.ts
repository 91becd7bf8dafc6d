/** Rules of a kind of payment as a picture: the diagrams of docs/ are made from the tables, so they cannot say anything else. */
import { isEnd } from './decide.ts';
import { longCallArrows } from './long-call.ts';
import type { AnyRules, Role } from './payment.ts';
import { pipelineArrows } from './pipeline-rules.ts';

/** States and what leads from one to another, as a mermaid `stateDiagram-v2`: each step with who may take it, and the clock. */
export function stateDiagram(rules: AnyRules): string {
  const lines = Object.keys(rules.states).flatMap((state) => (isEnd(rules, state) ? [arrow(state, '[*]')] : waysFrom(rules, state)));
  return drawn([arrow('[*]', rules.opens.to, 'open'), ...lines]);
}

/** The same of pipelines, whose rules are a table of another form: they go on by themselves, not by the clock. */
export function pipelineDiagram(): string {
  return drawn(pipelineArrows().map(({ from, to, label }) => arrow(from, to, label)));
}

/** The same of long calls. */
export function longCallDiagram(): string {
  return drawn(longCallArrows().map(({ from, to, label }) => arrow(from, to, label)));
}

function drawn(lines: readonly string[]): string {
  return ['stateDiagram-v2', ...lines.map((line) => `  ${line}`), ''].join('\n');
}

function waysFrom(rules: AnyRules, state: string): string[] {
  const rule = rules.states[state];
  if (rule === undefined || 'end' in rule) return [];
  const steps = Object.entries(rule.on).flatMap(([step, transition]) => {
    const label = `${step} (${rolesOf(rules, step).join(', ')})`;
    return targetsOf(transition).map((to) => arrow(state, to, label));
  });
  const why = rule.clock.resolution === undefined ? '' : ` (${rule.clock.resolution})`;
  return [...steps, ...targetsOf(rule.clock).map((to) => arrow(state, to, `time of ${rule.time} is up${why}`))];
}

function arrow(from: string, to: string, label?: string): string {
  return `${from} --> ${to}${label === undefined ? '' : `: ${label}`}`;
}

function targetsOf(transition: { readonly to: string | readonly string[] } | undefined): readonly string[] {
  const to = transition?.to ?? [];
  return typeof to === 'string' ? [to] : to;
}

/** Everybody who may take a step of some payment: with an arbiter or without. */
function rolesOf(rules: AnyRules, step: string): readonly Role[] {
  const by = rules.steps[step]?.by ?? [];
  if (typeof by !== 'function') return by;
  const among = (arbiter: string | null): readonly Role[] => by({ arbiter });
  return [...new Set([...among('an arbiter'), ...among(null)])];
}
