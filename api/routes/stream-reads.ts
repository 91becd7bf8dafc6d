/** What one may know of streams, how much to hold for one, and the end of all that are silent by hand of the operator. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { recommendHold } from '../../domain/recommend-hold.ts';
import { asStream, streamBounds } from '../../domain/stream.ts';
import { shownTick } from '../../domain/tick.ts';
import { streamKind } from '../../payments/kinds.ts';
import type { RouteDeps } from '../deps.ts';
import { adviceExample, listExample, oneExample, ticksExample } from '../wire/examples/stream.ts';
import { readRoutes, visiblePayment, type Reading } from '../routing/payment-route.ts';
import { route, type Route } from '../routing/route.ts';
import { idParams, limit } from '../wire/fields.ts';
import { showStream, streamOut, tickOut } from '../wire/stream.ts';

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

const paging = { count: z.number().int(), has_more: z.boolean(), next_cursor: z.string().optional() };

/** Ticks are paged by their number. */
const seqCursor = z.string().optional()
  .refine((text) => text === undefined || (/^[0-9]{0,10}$/.test(text) && Number(text) <= streamBounds.seqMax),
  { error: 'is not a cursor of this list', params: { code: 'invalid_cursor' } })
  .transform((text) => Number(text ?? 0)).describe('As the previous page returned it: the number of its last tick.');

/** How streams are read; the routes of their steps answer in the same way. */
export const streamReading: Reading = {
  kind: streamKind, tag: 'Streams', path: '/v1/streams/:id', names: ['stream', 'streams'], schema: streamOut,
  show: (payment) => showStream(asStream(payment)),
  summaries: ['One stream, for its parties.', 'The streams that an agent buys or sells, newest first.'],
  examples: [oneExample, listExample], only: 'Only the buyer and the seller may see a stream.',
};

export function streamReadRoutes(deps: RouteDeps): Route[] {
  return [...readRoutes(deps, streamReading), ticksRoute(deps), ...adviceRoutes(deps)];
}

function ticksRoute({ payments, ticks }: RouteDeps): Route {
  return route({
    method: 'get', path: '/v1/streams/:id/ticks', access: 'agent_or_admin', tag: 'Streams',
    summary: 'The ticks of a stream, oldest first, for its parties.',
    params: idParams, query: z.object({ limit: limit(1_000, 100), cursor: seqCursor }),
    answer: z.object({ ticks: z.array(tickOut), ...paging }), example: ticksExample,
    errors: ['not_found', 'unauthorized', 'invalid_cursor'],
    handler: async ({ params: { id }, query, caller, isAdmin }) => {
      await visiblePayment(payments, streamReading, id, { caller, isAdmin });
      const found = await ticks.ticksOf(id, { afterSeq: query.cursor, limit: query.limit + 1 });
      const page = found.slice(0, query.limit);
      const last = page.at(-1);
      const more = found.length > page.length && last !== undefined;
      const next = more ? { next_cursor: String(last.seq) } : {};
      return { body: { ticks: page.map(shownTick), count: page.length, has_more: more, ...next } };
    },
  });
}

function adviceRoutes({ payments }: RouteDeps): Route[] {
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
      handler: async () => ({ body: { closedCount: await payments.closeExpired(streamKind) } }),
    }),
  ];
}
