/**
 * A local activity keeps its workflow task, one of forty slots of its queue, for as long as it is tried. So each gives up soon, and what is
 * not done then is an ordinary activity.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { msToNumber } from '@temporalio/common/lib/time.js';
import { patiently, quickly } from '../../workflows/payment.ts';

const folder = fileURLToPath(new URL('../../workflows/', import.meta.url));
const calls = readdirSync(folder).filter((name) => name.endsWith('.ts')).flatMap((name) =>
  [...readFileSync(folder + name, 'utf8').matchAll(/proxyLocalActivities<[^(]+>\((quickly|\{[^;]*\})\);/g)]
    .map(([, options = '']) => [name, options] as const));
/** The timeout of a workflow task, in which all tries of a local activity should end. */
const TASK_MS = 10_000;

test('there are local activities in every workflow of a payment', () => {
  const sources = readdirSync(folder).filter((name) => name.endsWith('.ts'));
  const all = sources.filter((name) => readFileSync(folder + name, 'utf8').includes('proxyLocalActivities<'));
  expect(calls.map(([name]) => name).sort()).toEqual(all.sort());
  expect(calls.length).toBeGreaterThan(6);
});

test.each(calls)('%s tries its local activities a few times only', (_name, options) => {
  if (options !== 'quickly') expect(options).toMatch(/maximumAttempts: [1-4]\b/);
});

test('what they share ends within a workflow task, and the patient ones never give up', () => {
  expect(quickly.retry?.maximumAttempts).toBeLessThanOrEqual(4);
  expect(msToNumber(quickly.scheduleToCloseTimeout ?? '1h')).toBeLessThan(TASK_MS);
  expect(patiently.retry?.maximumAttempts).toBeUndefined();
  expect(patiently.scheduleToCloseTimeout).toBeUndefined();
});
