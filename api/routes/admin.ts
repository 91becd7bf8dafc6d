/** What the admin of the platform does by hand: credit deposits and take entries back. The books themselves are in books.ts. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { deposit, reverse } from '../../ledger/admin.ts';
import { latestAudit } from '../../ledger/audit/runs.ts';
import { once } from '../../ledger/once.ts';
import { postingOf } from '../../ledger/reads.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';
import { address, addressOut, amount, amountOut, currency, currencyOut, line, timeOut } from '../wire/fields.ts';

/** One transaction must not be credited twice under two spellings. */
const txHash = line(200).transform((text) => (/^0x[0-9a-f]+$/i.test(text) ? text.toLowerCase() : text));

export function adminRoutes(deps: RouteDeps): Route[] {
  return [depositRoute(deps), ...reversalRoutes(deps), creditRoute(deps), stateRoute(deps)];
}

function depositRoute({ pool }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/admin/deposits', access: 'admin', tag: 'Admin', movesMoney: true,
    summary: 'Credits money that arrived from outside. The agent need not be registered.',
    body: z.object({ agentAddress: address, amount, currency, txHash }),
    answer: z.object({ status: z.literal('credited'), message: z.string().meta({ examples: ['1.500000 USDC credited.'] }),
      entryId: z.string(), amount: amountOut, currency: currencyOut, agentAddress: addressOut }), answerStatus: 201,
    errors: ['invalid_address', 'invalid_amount', 'unknown_currency', 'duplicate_deposit', 'idempotency_mismatch'],
    handler: async ({ body, caller, idempotencyClaim }) => {
      const spec = { owner: caller?.address ?? 'admin', claim: idempotencyClaim(), resourceId: `deposit:${body.txHash}` };
      const { answer } = await once(pool, spec, async (client) => {
        const posting = await deposit(client,
          { owner: body.agentAddress, asset: body.currency, amountMicros: body.amount, txHash: body.txHash });
        return { status: 'credited', message: `${formatMicros(body.amount)} ${body.currency} credited.`, entryId: `entry_${posting}`,
          amount: formatMicros(body.amount), currency: body.currency, agentAddress: body.agentAddress };
      });
      return { status: 201, body: answer };
    },
  });
}

function reversalRoutes({ pool }: RouteDeps): Route[] {
  const reason = line(1_000);
  const answer = z.object({ status: z.literal('reversed'),
    message: z.string().meta({ examples: ['The entry was taken back on both sides.'] }), entryId: z.string(), reversalId: z.string() });
  const errors = ['entry_not_found', 'already_reversed', 'not_reversible', 'insufficient_balance', 'fee_not_covered',
    'idempotency_mismatch'] as const;

  async function takeBack(entryId: string, why: string,
      spec: { owner: string; claim: ReturnType<Parameters<Route['handler']>[0]['idempotencyClaim']> }) {
    const posting = postingOf(entryId);
    if (posting === null) throw new SuretyError('entry_not_found', 'There is no ledger entry with this id.');
    const { answer: body } = await once(pool, { ...spec, resourceId: `reversal:${posting}` }, async (client) => {
      const id = await reverse(client, posting, why);
      return { status: 'reversed', message: 'The entry was taken back on both sides.', entryId, reversalId: `entry_${id}` };
    });
    return { status: 201, body };
  }
  return [
    route({
      method: 'post', path: '/v1/admin/reversals', access: 'admin', tag: 'Admin', movesMoney: true,
      summary: 'Takes a deposit or a payment back, on both sides at once; the buyer of a payment gets its fee back too.',
      body: z.object({ entryId: line(100), reason }), answer, answerStatus: 201, errors,
      handler: ({ body, caller, idempotencyClaim }) =>
        takeBack(body.entryId, body.reason, { owner: caller?.address ?? 'admin', claim: idempotencyClaim() }),
    }),
    route({
      method: 'post', path: '/v1/admin/ledger/reverse/:entryId', access: 'admin', tag: 'Admin', movesMoney: true,
      summary: 'The same with the entry in the path.',
      params: z.object({ entryId: z.string() }), body: z.object({ reason: reason.default('reversed by the admin') }), answer,
      answerStatus: 201, errors,
      handler: ({ params, body, caller, idempotencyClaim }) =>
        takeBack(params.entryId, body.reason, { owner: caller?.address ?? 'admin', claim: idempotencyClaim() }),
    }),
  ];
}

function creditRoute({ reads }: RouteDeps): Route {
  return route({
    method: 'get', path: '/v1/credit/active', access: 'admin', tag: 'Admin',
    summary: 'Agents with a credit line.',
    answer: z.object({ credits: z.array(z.object({ address: addressOut, limit: amountOut, used: amountOut, available: amountOut })),
      count: z.number().int() }),
    handler: async () => {
      const { rows } = await reads.query<{ owner: string; credit_limit: string; credit_used: string }>(
        'SELECT owner, credit_limit, credit_used FROM account WHERE credit_limit > 0 ORDER BY owner, asset LIMIT 1000',
      );
      const credits = rows.map((row) => ({
        address: row.owner, limit: formatMicros(row.credit_limit), used: formatMicros(row.credit_used),
        available: formatMicros(BigInt(row.credit_limit) - BigInt(row.credit_used)),
      }));
      return { body: { credits, count: credits.length } };
    },
  });
}

function stateRoute({ pool, reads, env, lifecycle }: RouteDeps): Route {
  return route({
    method: 'get', path: '/v1/admin/state', access: 'admin', tag: 'Admin',
    summary: 'What this process is doing now, and what the latest audit of the books has found.',
    answer: z.object({ state: z.looseObject({}), timestamp: timeOut }),
    handler: async () => {
      const shown = ({ totalCount, idleCount, waitingCount }: typeof pool, maxOpen: number) => ({
        open_connections: totalCount, in_use: totalCount - idleCount, idle: idleCount, max_open: maxOpen, waiting: waitingCount,
      });
      const [db, dbReads] = [shown(pool, env.POSTGRES_MAX_OPEN_CONNS), shown(reads, env.POSTGRES_READ_CONNS)];
      const audit = await latestAudit(reads);
      return { body: { state: { db, dbReads, audit, requests: { inFlight: lifecycle.inFlight(), draining: lifecycle.isDraining() } },
        timestamp: new Date().toISOString() } };
    },
  });
}
