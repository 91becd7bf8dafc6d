/** Metered streams: open, tick, top up, close. Steps are taken by the workflow; the rules are those of domain/stream.ts. */
import { z } from 'zod';
import { SuretyError, type ErrorCode } from '../../domain/errors.ts';
import { DEFAULT_ASSET, formatMicros } from '../../domain/money.ts';
import { streamBounds, type StreamTerms } from '../../domain/stream.ts';
import { shownTick } from '../../domain/tick.ts';
import { streamKind } from '../../payments/kinds.ts';
import type { RouteDeps } from '../deps.ts';
import { batchExample, closeExample, openExample, tickExample, topUpExample } from '../wire/examples/stream.ts';
import { byAgent, sayingPrice, shownAs } from '../routing/payment-route.ts';
import { route, type Answer, type Caller, type Route } from '../routing/route.ts';
import { address, amount, emptyIsAbsent, idParams, line, paragraph } from '../wire/fields.ts';
import { afterTicksOut, showAfterTicks, streamOut, tickOut } from '../wire/stream.ts';
import { streamReading } from './stream-reads.ts';

const { staleTimeoutSecsDefault, staleTimeoutSecsMax, ticksAtOnceMax, metadataCharsMax, reasonCharsMax, seqMax } = streamBounds;

const staleTimeoutSecs = z.number().int().max(staleTimeoutSecsMax).optional()
  .transform((secs) => (secs === undefined || secs <= 0 ? staleTimeoutSecsDefault : secs))
  .describe(`The stream ends by itself when it has not ticked for so long; ${staleTimeoutSecsDefault} when left out or not above zero, ` +
    'at most 30 days.');

const openBody = z.object({
  buyerAddr: address.describe('Your own address.'), sellerAddr: address,
  holdAmount: amount.describe('The deposit. All of it is held; what is not ticked comes back.'),
  pricePerTick: amount.describe('What a tick costs when it names no amount, and the most that the seller may ask for one.'),
  serviceId: z.preprocess(emptyIsAbsent, line(64).optional()), sessionKeyId: z.preprocess(emptyIsAbsent, line(64).optional())
    .describe('Not offered yet.'), staleTimeoutSecs,
});

const seq = z.number().int().min(1).max(seqMax, `a stream counts at most ${seqMax} ticks`);
/** Empty text means none, as clients of the first system send it. */
const metadata = paragraph(metadataCharsMax).nullish().transform((text) => (text === undefined || text === '' ? null : text));
const tickFields = { amount: z.preprocess(emptyIsAbsent, amount.optional()).transform((micros) => micros ?? null)
  .describe('The price per tick when left out.'), metadata };

const tickBody = z.object({
  seq: seq.nullish().transform((number) => number ?? null)
    .describe('Number of this tick; counting begins with 1. With it a tick that is sent twice counts once.'), ...tickFields,
});

const batchBody = z.object({
  fromSeq: seq.nullish().transform((number) => number ?? null).describe('Number of the first of these ticks; the next when left out.'),
  ticks: z.array(z.strictObject(tickFields)).min(1).max(ticksAtOnceMax).optional(),
  count: z.number().int().min(1).max(ticksAtOnceMax).optional().describe('So many ticks at the agreed price, instead of `ticks`.'),
}).refine(({ ticks, count }) => (ticks === undefined) !== (count === undefined),
{ error: 'give either `ticks` or `count`', path: ['ticks'] });

const closeBody = z.object({ reason: paragraph(reasonCharsMax).nullish()
  .transform((text) => (text === undefined || text === '' ? null : text)) });

const replay = (replayed: boolean): Pick<Answer, 'headers'> => (replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {});

const tickErrors: readonly ErrorCode[] = [
  'not_found', 'stream_closed', 'sequence_mismatch', 'stream_full', 'invalid_amount', 'hold_exhausted', 'idempotency_mismatch',
  'idempotency_in_progress', 'unavailable',
];

export function streamRoutes(deps: RouteDeps): Route[] {
  return [openRoute(deps), ...tickRoutes(deps), ...moneyRoutes(deps)];
}

/** What the schema alone cannot say. Errors: unauthorized, self_trade, invalid_amount, validation_error. */
function checkTerms(body: z.output<typeof openBody>, caller: Caller): void {
  if (body.buyerAddr !== caller.address) {
    throw new SuretyError('unauthorized', 'A stream is opened by its buyer.',
      { status: 403, recovery: 'Use a key of the buyer, or name yourself as buyerAddr.' });
  }
  if (body.sellerAddr === body.buyerAddr) throw new SuretyError('self_trade', 'Buyer and seller of a stream must be different agents.');
  if (body.pricePerTick > body.holdAmount) {
    throw new SuretyError('invalid_amount', 'The deposit must pay at least one tick: pricePerTick is more than holdAmount.',
      { recovery: 'Hold more, or agree on a lower price.' });
  }
  if (body.sessionKeyId !== undefined) {
    const message = 'session keys are not offered yet';
    throw new SuretyError('validation_error', `sessionKeyId: ${message}`, { details: [{ field: 'sessionKeyId', message }] });
  }
}

function openRoute({ payments }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/streams', access: 'agent', tag: 'Streams', movesMoney: true,
    summary: 'Opens a stream: the deposit is held, ticks use it up, and what is left comes back when the stream ends.',
    body: openBody, answer: z.object({ stream: streamOut }), answerStatus: 201, example: openExample,
    errors: ['insufficient_balance', 'invalid_amount', 'self_trade', 'idempotency_mismatch', 'busy', 'unavailable'],
    handler: async ({ caller, body, idempotencyClaim }) => {
      checkTerms(body, caller);
      const { buyerAddr: buyer, sellerAddr: seller, holdAmount: amountMicros, pricePerTick } = body;
      const terms: StreamTerms = {
        serviceId: body.serviceId ?? null, sessionKeyId: body.sessionKeyId ?? null, pricePerTickMicros: pricePerTick.toString(),
        staleTimeoutMs: body.staleTimeoutSecs * 1_000,
      };
      const wish = { buyer, seller, arbiter: null, tenantId: caller.tenantId, asset: DEFAULT_ASSET, amountMicros, terms, lookup: null };
      const outcome = await payments.open(streamKind, wish, idempotencyClaim()).catch(sayingPrice(amountMicros, DEFAULT_ASSET));
      return { ...(await shownAs(streamReading, outcome)), status: 201 };
    },
  });
}

function tickRoutes({ ticks }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/streams/:id/tick', access: 'agent', tag: 'Streams', movesMoney: true,
      summary: 'Records one tick, by buyer or seller. Exactly once when it carries its number; never above the deposit.',
      description: 'Send `seq` and, when an answer was lost, the same request again: a number that was recorded is answered 409 ' +
        '`sequence_mismatch` with `recordedTick` and `expectedSeq`. The seller may ask at most the agreed price for a tick.',
      params: idParams, body: tickBody, example: tickExample, answer: z.object({ tick: tickOut, ...afterTicksOut }), errors: tickErrors,
      handler: async ({ caller, params, body, idempotencyClaim }) => {
        const recorded = await ticks.tick({
          streamId: params.id, agent: caller.address, seq: body.seq, amountMicros: body.amount, metadata: body.metadata,
          idempotency: idempotencyClaim(),
        });
        return { body: { tick: shownTick(recorded.tick), ...showAfterTicks(recorded.stream) }, ...replay(recorded.replayed) };
      },
    }),
    route({
      method: 'post', path: '/v1/streams/:id/ticks', access: 'agent', tag: 'Streams', movesMoney: true,
      summary: `Records 1 to ${ticksAtOnceMax} ticks together, all or none; for meters that count quickly.`,
      description: 'A deposit that is too small for all of them is answered 402 `hold_exhausted` with `affordable`, the number of ticks ' +
        'from the front that it could pay.',
      params: idParams, body: batchBody, example: batchExample,
      answer: z.object({ accepted: z.number().int(), firstSeq: z.number().int(), lastSeq: z.number().int(), ...afterTicksOut }),
      errors: tickErrors,
      handler: async ({ caller, params, body, idempotencyClaim }) => {
        const listed = body.ticks?.map((tick) => ({ amountMicros: tick.amount, metadata: tick.metadata })) ?? null;
        const { firstSeq, lastSeq, stream, replayed } = await ticks.tickBatch({
          streamId: params.id, agent: caller.address, fromSeq: body.fromSeq, count: listed?.length ?? body.count ?? 0, ticks: listed,
          idempotency: idempotencyClaim(),
        });
        return { body: { accepted: lastSeq - firstSeq + 1, firstSeq, lastSeq, ...showAfterTicks(stream) }, ...replay(replayed) };
      },
    }),
  ];
}

function moneyRoutes({ payments }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/streams/:id/close', access: 'agent', tag: 'Streams', movesMoney: true,
      summary: 'Ends a stream, by buyer or seller: what was ticked is paid and the rest goes back, in one step.',
      params: idParams, body: closeBody, example: closeExample, answer: z.object({ stream: streamOut }),
      errors: ['not_found', 'unauthorized', 'already_closed', 'idempotency_mismatch', 'busy', 'unavailable'],
      handler: async ({ caller, params: { id }, body, idempotencyClaim }) => shownAs(streamReading,
        await payments.step(streamKind, { id, step: 'close', actor: byAgent(caller), input: body, claim: idempotencyClaim() })),
    }),
    route({
      method: 'post', path: '/v1/streams/:id/top-up', access: 'agent', tag: 'Streams', movesMoney: true,
      summary: 'Adds to the deposit, by the buyer; a paused stream goes on.',
      params: idParams, body: z.object({ amount }), example: topUpExample, answer: z.object({ stream: streamOut }),
      errors: [
        'not_found', 'unauthorized', 'stream_closed', 'invalid_amount', 'insufficient_balance', 'idempotency_mismatch', 'busy',
        'unavailable',
      ],
      handler: async ({ caller, params: { id }, body: { amount: more }, idempotencyClaim }) => {
        const order = { id, step: 'topup', actor: byAgent(caller), input: { amount: formatMicros(more) }, claim: idempotencyClaim() };
        return shownAs(streamReading, await payments.step(streamKind, order).catch(sayingPrice(more, DEFAULT_ASSET)));
      },
    }),
  ];
}
