/** Proof that the books are right, for the admin. */
import type pg from 'pg';
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { replayAccounts } from '../../ledger/replay.ts';
import type { Env } from '../../platform/env.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';
import { address, amountOut, limit, queryFlag, timeOut } from '../wire/fields.ts';

const replayOut = z.object({
  agentAddr: z.string(), match: z.boolean(), replayAvailable: amountOut, replayPending: amountOut, replayEscrowed: amountOut,
  actualAvailable: amountOut, actualPending: amountOut, actualEscrowed: amountOut,
});
const findingOut = z.object({ invariant: z.string(), detail: z.string(), count: z.number().int() });
/** Normally there are none. */
const findings = z.array(findingOut).meta({ examples: [[]] });

/** The figures clients of the first system read, from the findings of the audit. */
function reportOf(audit: Awaited<ReturnType<typeof auditBooks>>, startedAt: number): Record<string, unknown> {
  const countOf = (...names: string[]): number => audit.findings.filter(({ invariant }) => names.includes(invariant))
    .reduce((sum, { count }) => sum + count, 0);
  return {
    healthy: audit.ok, ledgerMismatches: countOf('I2'), stuckEscrows: countOf('I11'), staleStreams: countOf('I10'),
    orphanedHolds: countOf('I6'),
    invariantViolations: audit.findings.reduce((sum, { count }) => sum + count, 0), findings: audit.findings,
    // Nanoseconds, as the first system has it under this name.
    durationMs: Math.round((performance.now() - startedAt) * 1_000_000), timestamp: new Date().toISOString(),
  };
}

/** Reads every posting, for the admin alone: it may take longer than other reads. */
async function replay(reads: pg.Pool, { POSTGRES_STATEMENT_TIMEOUT: timeoutMs }: Env, options: Parameters<typeof replayAccounts>[1]) {
  const client = await reads.connect();
  let broken = true;
  try {
    await client.query('BEGIN READ ONLY');
    await client.query(`SET LOCAL statement_timeout = ${timeoutMs}`);
    const accounts = await replayAccounts(client, options);
    await client.query('COMMIT');
    broken = false;
    return accounts;
  } finally {
    // A connection whose transaction has failed is not given to the next.
    client.release(broken);
  }
}

export function bookRoutes({ reads, env }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/admin/reconcile', aliases: ['/v1/admin/ledger/reconcile'], access: 'admin', tag: 'Admin',
      summary: 'Proves the books: every account beside its postings, and every invariant of the ledger.',
      query: z.object({ discrepancies: queryFlag, limit: limit(10_000, 1_000) }),
      answer: z.object({ results: z.array(replayOut), count: z.number().int(), ok: z.boolean(), findings }),
      handler: async ({ query }) => {
        const [audit, replays] =
          await Promise.all([auditBooks(reads), replay(reads, env, { onlyMismatches: query.discrepancies, limit: query.limit })]);
        const results = replays.map((row) => ({
          agentAddr: row.owner, match: row.match,
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
        return { body: { report: reportOf(await auditBooks(reads), startedAt) } };
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
