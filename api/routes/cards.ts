/** One-time virtual cards: issue, charge, cancel, read. The workflow takes the steps; the rules are those of domain/card.ts. */
import { z } from 'zod';
import { cardExpiry } from '../../domain/card-number.ts';
import type { CardPayment, CardTerms } from '../../domain/card.ts';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import type { PaymentOutcome } from '../../payments/engine.ts';
import { cardKind } from '../../payments/kinds.ts';
import type { CardSecret } from '../../platform/card-secrets.ts';
import { cardOut, chargeBody, issueBody, issuedOut, showCard } from '../card-shapes.ts';
import type { RouteDeps } from '../deps.ts';
import { byAgent, pageOut, pageQuery, readPage, sayingPrice, wrongRole } from '../engine-routes.ts';
import { cancelExample, chargeExample, issueExample, listExample, oneExample } from '../examples/card.ts';
import { claimOf } from '../idempotency.ts';
import { createMissLimit } from '../middleware/rate-limit.ts';
import { route, type Answer, type Route } from '../route.ts';
import { addressParams } from '../schemas.ts';

const stepErrors = ['not_found', 'invalid_state', 'idempotency_mismatch', 'busy', 'unavailable'] as const;
const idParams = z.object({ id: z.string().max(64) });
const oneCard = z.object({ card: cardOut });

/** Numbers are nine random digits: whoever could try them all would find cards. */
const UNKNOWN_NUMBERS_A_MINUTE = 10;
/** Even among a hundred million cards it takes nine tries one time in a billion. */
const NUMBER_TRIES = 9;

export function cardRoutes(deps: RouteDeps): Route[] {
  return [issueRoute(deps), chargeRoute(deps), cancelRoute(deps), ...readRoutes(deps)];
}

function issueRoute(deps: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/cards', access: 'agent', tag: 'Cards', movesMoney: true,
    summary: 'Sets money aside behind a card number that can be charged once: by one merchant, by who sells a type of service, or by anybody.',
    description: 'Number, cvv and expiry are in this answer only. An answer repeated for an Idempotency-Key is without them and says so in `notice`.',
    body: issueBody, answer: z.object({ card: issuedOut, notice: z.string().optional() }), answerStatus: 201, example: issueExample,
    errors: ['insufficient_balance', 'self_trade', 'validation_error', 'invalid_amount', 'invalid_address', 'idempotency_mismatch', 'busy', 'unavailable'],
    handler: async ({ caller, body, idempotencyClaim }) => {
      const { merchant = null, category = null, description = null, expiresIn: lifeMs, amount: amountMicros } = body;
      if (merchant === caller.address) throw new SuretyError('self_trade', 'An agent cannot issue a card for itself.');
      const { number, cvv, lookup, last4, check } = await newSecret(deps);
      const terms: CardTerms = { merchant, category, description, lifeMs, last4, check };
      const wish = { buyer: caller.address, seller: null, arbiter: null, tenantId: caller.tenantId, asset: 'USDC', amountMicros, terms, lookup };
      const { payment, replayed } = await deps.payments.open(cardKind, wish, idempotencyClaim()).catch(sayingPrice(amountMicros));
      const card = showCard(asCard(payment));
      if (!replayed) return { status: 201, body: { card: { ...card, number, cvv, expiry: cardExpiry(payment.createdAtMs) } } };
      const notice = 'Number, cvv and expiry were shown once, in the first answer to this Idempotency-Key. If it was lost, cancel the card and issue another.';
      return { status: 201, body: { card, notice }, headers: { 'Idempotent-Replayed': 'true' } };
    },
  });
}

/** A number that no card has. The unique index judges should two processes choose the same one at the same moment. */
async function newSecret({ cards, payments }: RouteDeps): Promise<CardSecret> {
  for (let tries = 0; tries < NUMBER_TRIES; tries += 1) {
    const secret = cards.make();
    if ((await payments.idByLookup(cardKind, secret.lookup)) === null) return secret;
  }
  throw new SuretyError('busy', 'No free card number was found in time; nothing was held.');
}

function chargeRoute(deps: RouteDeps): Route {
  const { cards, catalogue, payments } = deps;
  const misses = createMissLimit({ missesMax: UNKNOWN_NUMBERS_A_MINUTE, keyPrefix: 'card' });
  return route({
    method: 'post', path: '/v1/cards/charge', access: 'agent', tag: 'Cards', movesMoney: true,
    summary: 'A merchant charges a card with its number: once, up to its amount. The rest goes back to the buyer.',
    description: 'Wrong merchant, wrong details or too high an amount count as wrong tries; the fifth blocks the card. Unknown numbers are limited to ten a minute.',
    body: chargeBody, answer: oneCard, example: chargeExample,
    errors: [...stepErrors, 'wrong_merchant', 'wrong_card_details', 'above_card_limit', 'self_trade', 'validation_error', 'invalid_amount'],
    handler: async ({ caller, body: { number, amount, description, cvv, expiry }, idempotencyKey }) => {
      await misses.check(caller.address);
      const id = await payments.idByLookup(cardKind, cards.lookupOf(number));
      const card = id === null ? null : await payments.read(id);
      if (id === null || card === null) {
        await misses.count(caller.address);
        throw new SuretyError('not_found', 'There is no card with this number.', { recovery: 'Compare the number with that of the card.' });
      }
      const { check, category } = asCard(card).terms;
      const said = { amount: formatMicros(amount), description, credentials: cards.judge({ number, cvv, expiry }, { check, issuedAtMs: card.createdAtMs }) };
      const inCategory = category === null ? {} : { inCategory: catalogue.offers(category).some(({ seller }) => seller === caller.address) };
      // Not the hash of the body: a hash without a key would give the number away to whoever tries all of them.
      const claim = claimOf(idempotencyKey, { method: 'post', path: `/v1/cards/${id}/charge`, body: said });
      return shown(await payments.step(cardKind, { id, step: 'charge', actor: byAgent(caller), input: { ...said, ...inCategory }, claim }));
    },
  });
}

function cancelRoute({ payments }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/cards/:id/cancel', access: 'agent', tag: 'Cards', movesMoney: true, summary: 'The buyer takes the card back, with all its money.',
    params: idParams, answer: oneCard, example: cancelExample, errors: [...stepErrors, 'unauthorized'],
    handler: async ({ params: { id }, caller, idempotencyClaim }) =>
      shown(await payments.step(cardKind, { id, step: 'cancel', actor: byAgent(caller), input: {}, claim: idempotencyClaim() })),
  });
}

function readRoutes({ payments }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/cards/:id', access: 'agent_or_admin', tag: 'Cards', summary: 'One card, for its buyer and the merchant who charged it.',
      params: idParams, answer: oneCard, example: oneExample, errors: ['not_found', 'unauthorized'],
      handler: async ({ params, caller, isAdmin }) => {
        const card = await payments.read(params.id);
        if (card === null || card.kind !== 'card') throw new SuretyError('not_found', 'There is no such card.');
        if (!isAdmin && ![card.buyer, card.seller].includes(caller?.address ?? '')) throw wrongRole('Only its buyer and the merchant who charged it may see a card.');
        return { body: { card: showCard(asCard(card)) } };
      },
    }),
    route({
      method: 'get', path: '/v1/agents/:address/cards', access: 'owner', tag: 'Cards', summary: 'The cards you issued and those you charged, newest first.',
      params: addressParams, query: pageQuery, answer: z.object({ cards: z.array(cardOut), ...pageOut }), example: listExample, errors: ['invalid_cursor'],
      handler: async ({ params, query }) => {
        const { page, rest } = await readPage(payments, cardKind, params.address, query);
        return { body: { cards: page.map((card) => showCard(asCard(card))), ...rest } };
      },
    }),
  ];
}

/** A payment of this kind has the terms and details of this kind: nobody else writes them. */
const asCard = (payment: Payment): CardPayment => payment as CardPayment;

function shown({ payment, replayed }: PaymentOutcome): Answer {
  return { body: { card: showCard(asCard(payment)) }, ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
}
