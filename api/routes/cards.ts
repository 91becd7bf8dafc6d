/** One-time virtual cards: issue, charge, cancel, read. The workflow takes the steps; the rules are those of domain/card.ts. */
import { z } from 'zod';
import { cardExpiry } from '../../domain/card-number.ts';
import type { CardPayment, CardTerms } from '../../domain/card.ts';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import { cardKind } from '../../payments/kinds.ts';
import type { CardSecret } from '../../platform/card-secrets.ts';
import { cardOut, chargeBody, issueBody, issuedOut, showCard } from '../wire/card.ts';
import type { RouteDeps } from '../deps.ts';
import { byAgent, readRoutes, sayingPrice, shownAs, type Reading } from '../routing/payment-route.ts';
import { cancelExample, chargeExample, issueExample, listExample, oneExample } from '../wire/examples/card.ts';
import { claimOf } from '../routing/idempotency.ts';
import { createMissLimit } from '../middleware/rate-limit.ts';
import { idParams } from '../wire/fields.ts';
import { route, type Route } from '../routing/route.ts';

const stepErrors = ['invalid_state', 'idempotency_mismatch', 'busy', 'unavailable'] as const;
const oneCard = z.object({ card: cardOut });

/** Numbers are nine random digits: whoever could try them all would find cards. */
const UNKNOWN_NUMBERS_A_MINUTE = 10;
/** Even among a hundred million cards it takes nine tries one time in a billion. */
const NUMBER_TRIES = 9;

export function cardRoutes(deps: RouteDeps): Route[] {
  return [issueRoute(deps), chargeRoute(deps), cancelRoute(deps), ...readRoutes(deps, reading)];
}

function issueRoute(deps: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/cards', access: 'agent', tag: 'Cards', movesMoney: true,
    summary: 'Sets money aside behind a number that can be charged once: by one merchant, by who sells a type of service, or by anybody.',
    description: 'Number, cvv and expiry are in this answer only. One repeated for an Idempotency-Key is without; `notice` says so.',
    body: issueBody, answer: z.object({ card: issuedOut, notice: z.string().optional() }), answerStatus: 201, example: issueExample,
    errors: [...stepErrors, 'insufficient_balance', 'self_trade', 'validation_error', 'invalid_amount', 'unknown_currency',
      'invalid_address'],
    handler: async ({ caller, body, idempotencyClaim }) => {
      const { merchant = null, category = null, description = null, expiresIn: lifeMs, amount: amountMicros, currency: asset } = body;
      if (merchant === caller.address) throw new SuretyError('self_trade', 'An agent cannot issue a card for itself.');
      const { number, cvv, lookup, last4, check } = await newSecret(deps);
      const terms: CardTerms = { merchant, category, description, lifeMs, last4, check };
      const { address: buyer, tenantId } = caller;
      const wish = { buyer, seller: null, arbiter: null, tenantId, asset, amountMicros, terms, lookup };
      const { payment, replayed } = await deps.payments.open(cardKind, wish, idempotencyClaim()).catch(sayingPrice(amountMicros, asset));
      const card = showCard(asCard(payment));
      if (!replayed) return { status: 201, body: { card: { ...card, number, cvv, expiry: cardExpiry(payment.createdAtMs) } } };
      const notice = 'Number, cvv and expiry were shown once, in the first answer. If it was lost, cancel the card and issue another.';
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
    description: 'Wrong merchant, details or amount count as wrong tries; the fifth blocks the card. Unknown numbers: ten a minute.',
    body: chargeBody, answer: oneCard, example: chargeExample,
    errors: [
      ...stepErrors, 'not_found', 'wrong_merchant', 'wrong_card_details', 'above_card_limit', 'self_trade',
      'validation_error', 'invalid_amount',
    ],
    handler: async ({ caller, body: { number, amount, description, cvv, expiry }, idempotencyKey }) => {
      await misses.check(caller.address);
      const id = await payments.idByLookup(cardKind, cards.lookupOf(number));
      const card = id === null ? null : await payments.read(id);
      if (id === null || card === null) {
        await misses.count(caller.address);
        throw new SuretyError('not_found', 'There is no card with this number.', { recovery: 'Compare the number with that of the card.' });
      }
      const { check, category } = asCard(card).terms;
      const credentials = cards.judge({ number, cvv, expiry }, { check, issuedAtMs: card.createdAtMs });
      const said = { amount: formatMicros(amount), description, credentials };
      const offers = (type: string): boolean => catalogue.offers(type).some(({ seller }) => seller === caller.address);
      const input = category === null ? said : { ...said, inCategory: offers(category) };
      // Not the hash of the body: a hash without a key would give the number away to whoever tries all of them.
      const claim = claimOf(idempotencyKey, { method: 'post', path: `/v1/cards/${id}/charge`, body: said });
      return shownAs(reading, await payments.step(cardKind, { id, step: 'charge', actor: byAgent(caller), input, claim }));
    },
  });
}

function cancelRoute({ payments }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/cards/:id/cancel', access: 'agent', tag: 'Cards', movesMoney: true, params: idParams,
    summary: 'The buyer takes the card back, with all its money.', answer: oneCard, example: cancelExample,
    errors: [...stepErrors, 'not_found', 'unauthorized'],
    handler: async ({ params: { id }, caller, idempotencyClaim }) =>
      shownAs(reading, await payments.step(cardKind, { id, step: 'cancel', actor: byAgent(caller), input: {}, claim: idempotencyClaim() })),
  });
}

/** A payment of this kind has the terms and details of this kind: nobody else writes them. */
const asCard = (payment: Payment): CardPayment => payment as CardPayment;

const reading: Reading = {
  kind: cardKind, tag: 'Cards', path: '/v1/cards/:id', names: ['card', 'cards'], schema: cardOut,
  show: (payment) => showCard(asCard(payment)),
  summaries: ['One card, for its buyer and the merchant who charged it.', 'The cards you issued and those you charged, newest first.'],
  examples: [oneExample, listExample], only: 'Only its buyer and the merchant who charged it may see a card.',
};
