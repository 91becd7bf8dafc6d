/** What one may know of streams, how much to hold for one, and the operator's broom. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { recommendHold } from '../../domain/recommend-hold.ts';
import { streamBounds } from '../../domain/stream.ts';
import type { StreamModel } from '../../prisma/generated/models.ts';
import type { RouteDeps } from '../deps.ts';
import { adviceExample, listExample, oneExample, ticksExample } from '../wire/examples/stream.ts';
import { route, type Caller, type Route } from '../routing/route.ts';
import { addressParams, cursor, limit, writeCursor, type Cursor } from '../wire/fields.ts';
import { showStream, showTick, streamOf, streamOut, tickOf, tickOut } from '../wire/stream.ts';

/** Larger questions are mistakes, and their answers no amounts. */
const TICKS_MAX = 1e12;
const HOLD_MAX = 999_999_999_999;
const aboveZero = z.number().positive();

const questionBody = z.object({
  pricePerTick: aboveZero.max(HOLD_MAX), tickRate: aboveZero.describe('Ticks a second.'), durationSec: aboveZero,
  confidence: z.number().optional().describe('How sure the deposit must suffice, between 0 and 1; 0.95 otherwise.'),
}).refine(({ tickRate, durationSec }) => tickRate * durationSec > 0 && tickRate * durationSec <= TICKS_MAX,
{ error: `tickRate × durationSec must be above zero and at most ${TICKS_MAX}`, path: ['durationSec'] });
const adviceOut = z.object({ recommendedHold: z.number(), expectedCost: z.number(), efficiency: z.number(), confidence: z.number(),
  expectedTicks: z.number(), ticks: z.number().int() });

const streamParams = z.object({ id: z.string().max(64) });
const paging = { count: z.number().int(), has_more: z.boolean(), next_cursor: z.string().optional() };

/** Ticks are paged by their number. */
const seqCursor = z.string().optional()
  .refine((text) => text === undefined || (/^[0-9]{0,10}$/.test(text) && Number(text) <= streamBounds.seqMax),
  { error: 'is not a cursor of this list', params: { code: 'invalid_cursor' } })
  .transform((text) => Number(text ?? 0)).describe('As the previous page returned it: the number of its last tick.');

const strangerError = (message: string): SuretyError =>
  new SuretyError('unauthorized', message, { status: 403, recovery: 'Use a key of a party of this stream.' });

interface Asking { readonly caller: Caller | null; readonly isAdmin: boolean }

/** The stream, if the asker is a party of it or the admin. Errors: not_found, unauthorized (403). */
async function visibleStream({ prisma }: RouteDeps, { caller, isAdmin }: Asking, id: string): Promise<StreamModel> {
  const row = await prisma.stream.findUnique({ where: { id } });
  if (row === null) throw new SuretyError('not_found', 'There is no such stream.');
  if (!isAdmin && row.buyer !== caller?.address
    && row.seller !== caller?.address) throw strangerError('Only the buyer and the seller may see a stream.');
  return row;
}

/** The streams of an agent after the cursor, newest first: those it buys and those it sells, each by its own index. */
async function streamsOf({ prisma }: RouteDeps, agent: string, after: Cursor | undefined, take: number): Promise<StreamModel[]> {
  const older = after === undefined ? {} : { OR: [{ createdAt: { lt: after.at } }, { createdAt: after.at, id: { lt: after.id } }] };
  const side = (party: 'buyer' | 'seller') =>
    prisma.stream.findMany({ where: { [party]: agent, ...older }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take });
  const rows = (await Promise.all([side('buyer'), side('seller')])).flat();
  return rows.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1)).slice(0, take);
}

export function streamReadRoutes(deps: RouteDeps): Route[] {
  return [...readRoutes(deps), ...adviceRoutes(deps)];
}

function readRoutes(deps: RouteDeps): Route[] {
  const { prisma } = deps;
  return [
    route({
      method: 'get', path: '/v1/streams/:id', access: 'agent_or_admin', tag: 'Streams', summary: 'One stream, for its parties.',
      params: streamParams, answer: z.object({ stream: streamOut }), example: oneExample, errors: ['not_found'],
      handler: async ({ params, ...asking }) => ({ body: { stream: showStream(streamOf(await visibleStream(deps, asking, params.id))) } }),
    }),
    route({
      method: 'get', path: '/v1/streams/:id/ticks', access: 'agent_or_admin', tag: 'Streams',
      summary: 'The ticks of a stream, oldest first, for its parties.',
      params: streamParams, query: z.object({ limit: limit(1_000, 100), cursor: seqCursor }),
      answer: z.object({ ticks: z.array(tickOut), ...paging }), example: ticksExample, errors: ['not_found', 'invalid_cursor'],
      handler: async ({ params, query, ...asking }) => {
        await visibleStream(deps, asking, params.id);
        const rows = await prisma.streamTick.findMany({ where: { streamId: params.id, seq: { gt: query.cursor } }, orderBy: { seq: 'asc' },
          take: query.limit + 1 });
        const page = rows.slice(0, query.limit);
        const last = page.at(-1);
        const more = rows.length > page.length && last !== undefined;
        return { body: { ticks: page.map((row) => showTick(tickOf(row))), count: page.length, has_more: more,
          ...(more ? { next_cursor: String(last.seq) } : {}) } };
      },
    }),
    route({
      method: 'get', path: '/v1/agents/:address/streams', access: 'agent_or_admin', tag: 'Streams',
      summary: 'The streams that an agent buys or sells, newest first.',
      params: addressParams, query: z.object({ limit: limit(200, 50), cursor }),
      answer: z.object({ streams: z.array(streamOut), ...paging }), example: listExample, errors: ['invalid_cursor'],
      handler: async ({ params, query, caller, isAdmin }) => {
        if (!isAdmin && caller?.address !== params.address) throw strangerError('Only the agent itself may list its streams.');
        const rows = await streamsOf(deps, params.address, query.cursor, query.limit + 1);
        const page = rows.slice(0, query.limit);
        const last = page.at(-1);
        const more = rows.length > page.length && last !== undefined;
        return { body: { streams: page.map((row) => showStream(streamOf(row))), count: page.length, has_more: more,
          ...(more ? { next_cursor: writeCursor(last.createdAt, last.id) } : {}) } };
      },
    }),
  ];
}

function adviceRoutes({ streams }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/streams/recommend-hold', access: 'agent', tag: 'Streams',
      summary: 'How much to hold so that the deposit suffices with the wanted confidence, when ticks come at random at this rate.',
      body: questionBody, example: adviceExample, answer: adviceOut, errors: ['invalid_amount'],
      handler: ({ body }) => {
        const advice = recommendHold(body);
        if (advice.recommendedHold > HOLD_MAX) throw new SuretyError('invalid_amount',
          'The deposit would be larger than one payment can be.', { recovery: 'Ask for a shorter time or a lower price.' });
        return { body: advice };
      },
    }),
    route({
      method: 'post', path: '/v1/admin/streams/force-close-stale', aliases: ['/v1/admin/streams/force-close'], access: 'admin',
      tag: 'Admin', movesMoney: true,
      summary: 'Ends every stream that has been silent for longer than its terms allow, without waiting for its workflow.',
      answer: z.object({ closedCount: z.number().int() }), errors: ['unavailable'],
      handler: async () => ({ body: { closedCount: await streams.closeStale() } }),
    }),
  ];
}
