/** What an operator asks Temporal, on a real server: the search attributes of sessions, and every query that the docs show. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { letExpire } from '../support/builders-gateway.ts';
import { sessionKind } from '../../payments/kinds.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

/** Ids of the workflows a query finds. */
async function found(query: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { workflowId } of platform().temporal.client.workflow.list({ query })) ids.push(workflowId);
  return ids.sort();
}

/** Temporal indexes a moment after the fact. */
const becomes = (query: string, ids: readonly string[]): Promise<void> =>
  eventually(async () => expect(await found(query)).toEqual(ids.toSorted()), { withinMs: 15_000, everyMs: 200 });

test('the sessions of a buyer are found: all, those that still run, and the ended ones by how they ended', async () => {
  const buyer = await platform().aTrader('3.00');
  const [open, closed] = [await platform().aSession({}, buyer), await platform().aSession({}, buyer)];
  const expired = await platform().aSession({}, buyer);
  await platform().aSession();
  await platform().closeSession(closed);
  await letExpire(platform().db.pool, expired.token);
  await platform().runtime.ports.payments.closeExpired(sessionKind);
  const mine = `WorkflowType = 'gatewaySession' AND Buyer = '${buyer.address}'`;
  const id = ({ token }: { token: string }): string => `gateway-session-${token}`;
  await becomes(`${mine} AND ExecutionStatus = 'Running'`, [id(open)]);
  await becomes(`${mine} AND ExecutionStatus = 'Completed'`, [id(closed), id(expired)]);
  await becomes(`${mine} AND PaymentState = 'active' AND ExecutionStatus = 'Running'`, [id(open)]);
  await becomes(`${mine} AND PaymentState = 'closed'`, [id(closed)]);
  await becomes(`${mine} AND PaymentState = 'expired'`, [id(expired)]);
  await becomes(`${mine} AND AmountUsd >= 1 AND ExecutionStatus != 'Terminated'`, [id(open), id(closed), id(expired)]);
}, 60_000);

const pages = ['operations.md', 'changing-workflows.md'];
const shown = pages.flatMap((page) =>
  [...readFileSync(path.join(import.meta.dirname, '../../docs', page), 'utf8').matchAll(/--query "([^"]+)"/g)].map((match) =>
  [page, match[1] ?? ''] as const));

test('the docs show queries', () => {
  for (const page of pages) expect(shown.filter(([where]) => where === page).length).toBeGreaterThan(1);
});

test.each(shown)('%s: the server understands %s', async (_page, query) => {
  await expect(platform().temporal.client.workflow.count(query)).resolves.toHaveProperty('count');
});

test('a query that the server does not understand is not taken for one that finds nothing', async () => {
  await expect(platform().temporal.client.workflow.count(`Seler = '0x'`)).rejects.toThrow();
});
