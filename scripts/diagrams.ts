/** `npm run docs:diagrams`: draws the state diagrams of the pages about payments anew, from the tables of rules in domain/. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { longCallDiagram, pipelineDiagram, stateDiagram } from '../domain/state-diagram.ts';
import { paymentKinds } from '../payments/kinds.ts';

const pages = [...paymentKinds.map(({ rules }) => [rules.kind, stateDiagram(rules)] as const), ['pipelines', pipelineDiagram()] as const,
  ['long-calls', longCallDiagram()] as const];

for (const [name, diagram] of pages) {
  const page = fileURLToPath(new URL(`../docs/${name}.md`, import.meta.url));
  const text = readFileSync(page, 'utf8');
  writeFileSync(page, text.replace(/(?<=^```mermaid\n)stateDiagram-v2\n[\s\S]*?(?=^```)/m, () => diagram));
}
