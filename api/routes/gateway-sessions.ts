/** Budget sessions of the gateway: open, read, list, close, log, dry run. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { sessionBounds, strategies, type SessionTerms, type Strategy } from '../../domain/gateway.ts';
import { formatMicros } from '../../domain/money.ts';
import type { RouteDeps } from '../deps.ts';
import { closeExample, logsExample, oneSessionExample, openExample, sessionsExample } from '../wire/examples/gateway.ts';
import { dryRunOut, logOut, sessionOut, showDryRun, showLog, showSession } from '../wire/gateway.ts';
import { route, type Route } from '../routing/route.ts';
import { amount, amountOut, cursor, idParams, limit, serviceType, writeCursor } from '../wire/fields.ts';
import { callRequestBody, toCallRequest } from './gateway-calls.ts';

const { expirySecsDefault, expirySecsMin, expirySecsMax, requestsPerMinuteDefault, requestsPerMinuteMax } = sessionBounds;

/** Zero or less means the default; the code is what clients of the first system know. */
const expiresInSecs = z.number().int()
  .refine((secs) => secs <= 0 || (secs >= expirySecsMin && secs <= expirySecsMax),
    { error: `must be between ${expirySecsMin} and ${expirySecsMax}`, params: { code: 'invalid_amount' } })
  .transform((secs) => (secs <= 0 ? expirySecsDefault : secs));

/** The terms of a payment have 4 kB (payment_terms_are_short). */
const TYPES_LENGTH_MAX = 3_000;

const openBody = z.object({
  maxTotal: amount.describe('The whole budget; it is held at once.'),
  maxPerRequest: amount.optional().describe('Most that one call may cost; the whole budget when left out.'),
  strategy: z.string().max(50).optional().describe(`How sellers are ranked: ${strategies.join(', ')}. Anything else means cheapest.`),
  allowedTypes: z.array(serviceType).max(100)
    .refine((types) => types.join().length <= TYPES_LENGTH_MAX, `must be at most ${TYPES_LENGTH_MAX} characters together`)
    .nullish().describe('Service types that may be bought; all when empty.'),
  expiresInSecs: expiresInSecs.optional(),
  warnAtPercent: z.number().int().optional().describe('Answers say `budgetLow` from this percentage on; outside 0 to 100 means never.'),
  maxRequestsPerMinute: z.number().int().optional(),
});

function termsOf(body: z.output<typeof openBody>): SessionTerms {
  const rpm = body.maxRequestsPerMinute ?? 0;
  const warnAt = body.warnAtPercent ?? 0;
  return {
    maxTotalMicros: body.maxTotal, maxPerRequestMicros: body.maxPerRequest ?? body.maxTotal,
    strategy: strategies.find((name) => name === body.strategy) ?? ('cheapest' satisfies Strategy),
    allowedTypes: body.allowedTypes ?? [], warnAtPercent: warnAt >= 0 && warnAt <= 100 ? warnAt : 0,
    maxRequestsPerMinute: rpm <= 0 ? requestsPerMinuteDefault : Math.min(rpm, requestsPerMinuteMax),
    lifeMs: (body.expiresInSecs ?? expirySecsDefault) * 1_000,
  };
}


export function gatewaySessionRoutes(deps: RouteDeps): Route[] {
  return [...openAndCloseRoutes(deps), ...readRoutes(deps)];
}

function openAndCloseRoutes({ gateway }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/gateway/sessions', access: 'agent', tag: 'Gateway', movesMoney: true,
      summary: 'Opens a session: the budget is held, calls draw on it, and the rest comes back when it ends.',
      body: openBody, answer: z.object({ session: sessionOut, token: z.string() }), answerStatus: 201, example: openExample,
      errors: ['insufficient_balance', 'invalid_amount', 'idempotency_mismatch', 'unavailable'],
      handler: async ({ caller, body, idempotencyClaim }) => {
        const opened = gateway.openSession(caller.address, caller.tenantId, termsOf(body), idempotencyClaim())
            .catch((error: unknown): never => {
          if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
          const price = formatMicros(body.maxTotal);
          throw new SuretyError('insufficient_balance', `There is not enough available money to hold a budget of ${price} USDC.`,
            { cause: error, body: { price, currency: 'USDC', amount: price } });
        });
        const { session, replayed } = await opened;
        return { status: 201, body: { session: showSession(session), token: session.id },
          ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
      },
    }),
    route({
      method: 'delete', path: '/v1/gateway/sessions/:id', access: 'agent', tag: 'Gateway', movesMoney: true,
      summary: 'Ends a session and returns the rest of its budget. Again changes nothing.',
      params: idParams,
      answer: z.object({ session: sessionOut, totalSpent: amountOut, totalRefunded: amountOut, stillReserved: amountOut,
      requestCount: z.number().int() }),
      example: closeExample, errors: ['not_found', 'forbidden', 'unavailable'],
      handler: async ({ caller, params }) => {
        const session = await gateway.closeSession(caller.address, params.id);
        const { maxTotalMicros, spentMicros, reservedMicros, requestCount } = session;
        return {
          body: {
            session: showSession(session), totalSpent: formatMicros(spentMicros),
            totalRefunded: formatMicros(maxTotalMicros - spentMicros - reservedMicros),
            // Calls under way keep their price; it is paid or given back when they end.
            stillReserved: formatMicros(reservedMicros), requestCount,
          },
        };
      },
    }),
    route({
      method: 'post', path: '/v1/gateway/sessions/:id/dry-run', access: 'agent', tag: 'Gateway',
      summary: 'Says what a call would do and cost now, without doing it.',
      params: idParams, body: callRequestBody, answer: z.object({ result: dryRunOut }),
      errors: ['not_found', 'forbidden', 'no_service'],
      handler: async ({ caller, params, body }) =>
        ({ body: { result: showDryRun(await gateway.dryRun(caller.address, params.id, toCallRequest(body, null))) } }),
    }),
  ];
}

function readRoutes({ gateway, prisma }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/gateway/sessions', access: 'agent', tag: 'Gateway', summary: 'Your sessions, newest first.',
      query: z.object({ limit: limit(200, 50), cursor }),
      answer: z.object({ sessions: z.array(sessionOut), count: z.number().int(), has_more: z.boolean(),
        next_cursor: z.string().optional() }), example: sessionsExample,
      handler: async ({ caller, query }) => {
        const { sessions, more } = await gateway.sessionsOf(caller.address, { after: query.cursor?.id ?? null, limit: query.limit });
        const last = sessions.at(-1);
        const next = more && last !== undefined ? { next_cursor: writeCursor(last.createdAt, last.id) } : {};
        return { body: { sessions: sessions.map(showSession), count: sessions.length, has_more: more, ...next } };
      },
    }),
    route({
      method: 'get', path: '/v1/gateway/sessions/:id', access: 'agent', tag: 'Gateway', summary: 'One session.',
      params: idParams, answer: z.object({ session: sessionOut }), example: oneSessionExample, errors: ['not_found', 'forbidden'],
      handler: async ({ caller, params }) => ({ body: { session: showSession(await gateway.session(caller.address, params.id)) } }),
    }),
    route({
      method: 'get', path: '/v1/gateway/sessions/:id/logs', access: 'agent', tag: 'Gateway',
      summary: 'Every call of a session, newest first, with each attempt at a seller.',
      params: idParams, query: z.object({ limit: limit(1_000, 100), cursor }),
      answer: z.object({ logs: z.array(logOut), count: z.number().int(), has_more: z.boolean(), next_cursor: z.string().optional() }),
      example: logsExample, errors: ['not_found', 'forbidden'],
      handler: async ({ caller, params, query }) => {
        const session = await gateway.session(caller.address, params.id);
        const rows = await prisma.gatewayCall.findMany({
          where: { sessionId: session.id }, orderBy: [{ acceptedAt: 'desc' }, { id: 'desc' }], take: query.limit + 1,
          ...(query.cursor === undefined ? {} : { cursor: { id: query.cursor.id }, skip: 1 }),
        });
        const page = rows.slice(0, query.limit);
        const last = page.at(-1);
        const more = rows.length > page.length && last !== undefined;
        return { body: { logs: page.map(showLog), count: page.length, has_more: more,
          ...(more ? { next_cursor: writeCursor(last.acceptedAt, last.id) } : {}) } };
      },
    }),
  ];
}
