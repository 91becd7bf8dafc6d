/** Proof that the books are right, for the admin. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { auditBooks, OVERDUE_MS, type Audit, type Finding } from '../../ledger/audit.ts';
import type { Figure } from '../../ledger/audit/rule.ts';
import { replayAccounts } from '../../ledger/replay.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';
import { address, amountOut, currencyOut, limit, queryFlag, timeOut } from '../wire/fields.ts';

const replayOut = z.object({
  agentAddr: z.string(), currency: currencyOut, match: z.boolean(), replayAvailable: amountOut, replayPending: amountOut,
  replayEscrowed: amountOut,
  actualAvailable: amountOut, actualPending: amountOut, actualEscrowed: amountOut,
});
const findingOut = z.object({ invariant: z.string(), detail: z.string(), count: z.number().int() });
/** Normally there are none. */
const findings = z.array(findingOut).meta({ examples: [[]] });

/** Which findings count for one is said by the rules themselves. */
const figures = ['ledgerMismatches', 'stuckEscrows', 'staleStreams', 'orphanedHolds'] as const satisfies Figure[];

/** The figures clients of the first system read, from the findings of the audit. */
function reportOf({ ok, findings: found }: Audit, startedAt: number): Record<string, unknown> {
  const sum = (some: readonly Finding[]): number => some.reduce((total, { count }) => total + count, 0);
  return {
    healthy: ok, ...Object.fromEntries(figures.map((figure) => [figure, sum(found.filter(({ counts }) => counts === figure))])),
    invariantViolations: sum(found), findings: found,
    // Nanoseconds, as the first system has it under this name.
    durationMs: Math.round((performance.now() - startedAt) * 1_000_000), timestamp: new Date().toISOString(),
  };
}

export function bookRoutes({ reads }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/admin/reconcile', aliases: ['/v1/admin/ledger/reconcile'], access: 'admin', tag: 'Admin',
      summary: 'Proves the books: every account beside its postings, and every invariant of the ledger.',
      query: z.object({ discrepancies: queryFlag, limit: limit(10_000, 1_000) }),
      answer: z.object({ results: z.array(replayOut), count: z.number().int(), ok: z.boolean(), findings }),
      handler: async ({ query }) => {
        const [audit, replays] = await Promise.all([auditBooks(reads, { overdueMs: OVERDUE_MS }),
          replayAccounts(reads, { onlyMismatches: query.discrepancies, limit: query.limit })]);
        const results = replays.map((row) => ({
          agentAddr: row.owner, currency: row.asset, match: row.match,
          replayAvailable: formatMicros(row.replayAvailable), replayPending: formatMicros(row.replayPending),
          replayEscrowed: formatMicros(row.replayEscrowed),
          actualAvailable: formatMicros(row.actualAvailable), actualPending: formatMicros(row.actualPending),
          actualEscrowed: formatMicros(row.actualEscrowed),
        }));
        return { body: { results, count: results.length, ok: audit.ok, findings: audit.findings } };
      },
    }),
    route({
      method: 'post', path: '/v1/admin/reconcile', access: 'admin', tag: 'Admin',
      summary: 'Checks every invariant now and reports how many rows break each.',
      body: z.looseObject({}),
      answer: z.object({ report: z.looseObject({ healthy: z.boolean(), findings, timestamp: timeOut }) }),
      handler: async () => {
        const startedAt = performance.now();
        return { body: { report: reportOf(await auditBooks(reads, { overdueMs: OVERDUE_MS }), startedAt) } };
      },
    }),
    route({
      method: 'get', path: '/v1/admin/audit', aliases: ['/v1/admin/ledger/audit'], access: 'admin', tag: 'Admin',
      summary: 'The log of who changed which account. Not kept yet; the postings themselves are.',
      query: z.looseObject({ agent: address.optional() }), answerStatus: 501, errors: ['missing_agent', 'not_configured'],
      handler: ({ query }) => {
        if (query.agent === undefined) throw new SuretyError('missing_agent', 'The log is read agent by agent; name one in `agent`.');
        throw new SuretyError('not_configured', 'No audit log is kept beside the ledger; read the ledger of the agent.');
      },
    }),
  ];
}
