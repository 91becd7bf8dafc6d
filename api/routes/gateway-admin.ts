/** The operator's view of the gateway: what is overdue, and the two things that can be done about it. */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import { sessionOf } from '../../domain/session.ts';
import { OVERDUE_MS } from '../../ledger/audit.ts';
import { sessionKind } from '../../payments/kinds.ts';
import { SuretyError } from '../../domain/errors.ts';
import type { RouteDeps } from '../deps.ts';
import { sessionOut, showSession } from '../wire/gateway.ts';
import { pipelineSummaryOut, showPipelineLine } from '../wire/pipeline.ts';
import { route, type Route } from '../routing/route.ts';
import { amountOut, idParams, limit, timeOut } from '../wire/fields.ts';


export function gatewayAdminRoutes({ gateway, payments, prisma }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/admin/gateway/stuck', access: 'admin', tag: 'Admin',
      summary: 'Sessions that should have ended a minute ago, or with a call that old, and pipelines without a sign of life for as long; '
        + 'oldest first. Normally none.',
      query: z.object({ limit: limit(1_000, 100) }),
      answer: z.object({ sessions: z.array(sessionOut), count: z.number().int().describe('Of the sessions.'),
        pipelines: z.array(pipelineSummaryOut.extend({ updatedAt: timeOut })) }),
      handler: async ({ query }) => {
        const before = new Date(Date.now() - OVERDUE_MS);
        // Distinguished in SQL: Prisma would read every such call and leave out the rest here.
        const calls = await prisma.$queryRaw<{ id: string }[]>`
          SELECT DISTINCT c.session_id AS id FROM gateway_call c LEFT JOIN long_call l ON l.id = c.id
           WHERE c.state = 'accepted' AND c.accepted_at < ${before} AND (l.id IS NULL OR l.deadline < ${before}) LIMIT ${query.limit}`;
        const ids = await prisma.payment.findMany({
          where: { kind: sessionKind.rules.kind, deadline: { not: null },
            OR: [{ deadline: { lt: before } }, { id: { in: calls.map(({ id }) => id) } }] },
          orderBy: { deadline: 'asc' }, take: query.limit, select: { id: true },
        });
        const sessions = (await payments.byIds(ids.map(({ id }) => id))).map(sessionOf);
        const pipelines = await prisma.pipeline.findMany({ where: { endedAt: null, updatedAt: { lt: before } },
          orderBy: { updatedAt: 'asc' }, take: query.limit });
        return {
          body: {
            sessions: sessions.map(showSession), count: sessions.length,
            pipelines: pipelines.map((row) => ({ ...showPipelineLine(row), updatedAt: row.updatedAt.toISOString() })),
          },
        };
      },
    }),
    route({
      method: 'post', path: '/v1/admin/gateway/sessions/:id/resolve', aliases: ['/v1/admin/gateway/sessions/:id/close'],
      access: 'admin', tag: 'Admin',
      summary: 'Ends a session: what no call under way needs goes back to its buyer.',
      params: idParams,
      answer: z.object({ resolved: z.boolean(), sessionId: z.string(), totalRefunded: amountOut, session: sessionOut }),
      errors: ['not_found', 'unavailable'],
      handler: async ({ params }) => {
        const session = await gateway.endSession(params.id);
        const refunded = session.maxTotalMicros - session.spentMicros - session.reservedMicros;
        return { body: { resolved: true, sessionId: session.id, totalRefunded: formatMicros(refunded), session: showSession(session) } };
      },
    }),
    route({
      method: 'post', path: '/v1/admin/gateway/sessions/:id/retry-settlement', access: 'admin', tag: 'Admin',
      summary: 'Drives the calls of a session that nobody drives, without waiting for the sweeper.',
      params: idParams, answer: z.object({ retried: z.boolean(), sessionId: z.string(), openCalls: z.number().int() }),
      errors: ['not_found'],
      handler: async ({ params }) => {
        const meter = await prisma.meter.findUnique({ where: { id: params.id }, select: { id: true } });
        if (meter === null) throw new SuretyError('not_found', 'There is no such session.');
        const open = await prisma.gatewayCall.findMany({ where: { sessionId: meter.id, state: 'accepted' },
          select: { id: true }, take: 1_000 });
        await gateway.adoptCalls(open.map((call) => call.id));
        return { body: { retried: open.length > 0, sessionId: meter.id, openCalls: open.length } };
      },
    }),
  ];
}
