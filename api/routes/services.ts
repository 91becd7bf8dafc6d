/** What agents sell, and how buyers find it. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { DURATION_SECS_MAX } from '../../domain/long-call.ts';
import { isAmountText, parseAmount, ZERO } from '../../domain/money.ts';
import { discover, sortOrders, type ListingPlace, type SortOrder } from '../../registry/discovery.ts';
import type { RouteDeps } from '../deps.ts';
import { cutPage, onward, pagingOut } from '../routing/paging.ts';
import { route, type Route } from '../routing/route.ts';
import {
  addressParams, amount, limit, line, offset, paragraph, placeCursor, queryFlag, serviceType, writePlace,
} from '../wire/fields.ts';
import { listingOut, metadata, serviceOut, showListing, showService } from '../wire/registry.ts';

const endpoint = z.union([z.literal(''), z.url({ protocol: /^https?$/, error: 'must be an http or https address' }).max(2_000)], {
  error: 'must be an http or https address, or empty',
}).meta({ description: 'Where the gateway sends paid requests. Empty: listed, but nobody can call it.' });

const fields = {
  type: serviceType, name: line(200), price: amount, description: paragraph(10_000), endpoint, metadata,
  active: z.boolean(),
  idempotent: z.boolean()
    .meta({ description: 'You work on one Idempotency-Key once. Only then may a call be sent to you again after a crash.' }),
  refundable: z.boolean()
    .meta({ description: 'Your work may be given back unpaid when the pipeline that bought it does not complete. Such requests say so.' }),
  maxDurationSecs: z.number().int().min(1).max(DURATION_SECS_MAX).nullable()
    .meta({ description: 'The longest time your work takes, up to a day: you answer 202 and complete the call later. Null: no longer than '
      + 'any call may take.' }),
};
const newService = z.object({
  ...fields, description: fields.description.default(''), endpoint: fields.endpoint.default(''), metadata: metadata.default({}),
  active: fields.active.default(true), idempotent: fields.idempotent.default(false),
  refundable: fields.refundable.default(false), maxDurationSecs: fields.maxDurationSecs.optional(),
});
const changedService = z.object(fields).partial();
const serviceParams = addressParams.extend({ serviceId: z.string() });

/** Bounds of a price range; zero is a bound, though it is no price. */
const bound = z.string().optional()
  .refine((text) => text === undefined || text === '' || isAmountText(text, true),
    { error: 'must be a decimal string such as "0.10"', params: { code: 'invalid_amount' } })
  .transform((text) => (text === undefined || text === '' ? undefined : isAmountText(text) ? parseAmount(text) : ZERO));

const sortAliases = { cheapest: 'price', best_value: 'value', budget: 'value', '': 'price' } as const;
const sortBy = z.enum([...sortOrders, 'cheapest', 'best_value', 'budget', '']).default('price')
  .transform((name): SortOrder => (name in sortAliases ? sortAliases[name as keyof typeof sortAliases] : (name as SortOrder)))
  .meta({ description: 'price (also cheapest), reputation, or value (also best_value, budget): score for each USDC.' });

const discovery = z.object({
  type: z.string().max(100).optional(), minPrice: bound, maxPrice: bound, sortBy, limit: limit(1_000, 100), offset,
  cursor: placeCursor(/^([a-z]+)\|(-?[0-9.e+-]{1,30})\|(-?[0-9.e+-]{1,30})\|([\x21-\x7b\x7d\x7e]{1,100})$/),
  includeInactive: queryFlag, verifiedOnly: queryFlag,
});

export function serviceRoutes(deps: RouteDeps): Route[] {
  return [discoveryRoute(deps), ...ownerRoutes(deps)];
}

function discoveryRoute({ reads }: RouteDeps): Route {
  return route({
    method: 'get', path: '/v1/services', access: 'public', tag: 'Services', cacheSecs: 30,
    summary: 'Services on offer, sorted before they are cut into pages.',
    query: discovery,
    answer: z.object({ services: z.array(listingOut), ...pagingOut, query: z.record(z.string(), z.unknown()) }),
    errors: ['invalid_amount', 'invalid_cursor'],
    handler: async ({ query, req }) => {
      const { minPrice, maxPrice, type, cursor, ...rest } = query;
      const listings = cutPage(await discover(reads, { ...rest, type: type || undefined, minPriceMicros: minPrice, maxPriceMicros: maxPrice,
        after: placeIn(cursor, query.sortBy), limit: query.limit + 1 }), query.limit);
      const asked = (name: string): string => (typeof req.query[name] === 'string' ? req.query[name] : '');
      return {
        body: {
          services: listings.rows.map(showListing), count: listings.rows.length,
          ...onward(listings, ({ place }) => writePlace([query.sortBy, place.first, place.second, place.id])),
          query: { type: type ?? '', minPrice: asked('minPrice'), maxPrice: asked('maxPrice'), sortBy: query.sortBy,
            verifiedOnly: query.verifiedOnly },
        },
      };
    },
  });
}

/** A cursor leads on in the order in which it was given out. */
function placeIn(cursor: readonly string[] | undefined, sortBy: SortOrder): ListingPlace | null {
  if (cursor === undefined) return null;
  const [order, first = '', second = '', id = ''] = cursor;
  if (order !== sortBy || [first, second].some((value) => !Number.isFinite(Number(value)))) throw notOfThisList();
  // A price is a whole number.
  if (!/^[0-9]{1,18}$/.test(sortBy === 'price' ? first : second)) throw notOfThisList();
  return { first, second, id };
}
const notOfThisList = (): SuretyError => new SuretyError('invalid_cursor', 'This is not a cursor of this list.');

function ownerRoutes({ services }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/agents/:address/services', access: 'owner', tag: 'Services',
      summary: 'Offers a service. Buyers can call it as soon as this is answered.',
      params: addressParams, body: newService, answer: serviceOut, answerStatus: 201,
      errors: ['invalid_amount', 'invalid_endpoint', 'agent_not_found'],
      handler: async ({ params, body: { price, ...rest } }) =>
        ({ status: 201, body: showService(await services.add(params.address, { ...rest, priceMicros: price })) }),
    }),
    route({
      method: 'put', path: '/v1/agents/:address/services/:serviceId', access: 'owner', tag: 'Services',
      summary: 'Changes what is given and keeps the rest.',
      params: serviceParams, body: changedService, answer: serviceOut,
      errors: ['invalid_amount', 'invalid_endpoint', 'not_found'],
      handler: async ({ params, body: { price, ...rest } }) => {
        const changes = price === undefined ? rest : { ...rest, priceMicros: price };
        return { body: showService(await services.update(params.address, params.serviceId, changes)) };
      },
    }),
    route({
      method: 'delete', path: '/v1/agents/:address/services/:serviceId', access: 'owner', tag: 'Services',
      summary: 'Takes a service off the market. Calls under way are finished.',
      params: serviceParams, answerStatus: 204, errors: ['not_found'],
      handler: async ({ params }) => {
        await services.remove(params.address, params.serviceId);
        return { status: 204 };
      },
    }),
  ];
}
