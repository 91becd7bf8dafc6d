/** What the routes of payments on the engine share: who acts, what a refused role and missing money look like, and reads. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros, type Asset, type Micros } from '../../domain/money.ts';
import type { Actor, Payment } from '../../domain/payment.ts';
import type { PaymentOutcome } from '../../payments/engine.ts';
import type { PaymentKind } from '../../payments/kind.ts';
import type { RouteDeps } from '../deps.ts';
import { listAnswer, pagingOut } from './paging.ts';
import { onlyParties, wrongParty, type Asking } from './parties.ts';
import { route, type Answer, type Caller, type Route } from './route.ts';
import { addressParams, cursor, idParams, limit, writeCursor } from '../wire/fields.ts';

/** The agent behind the key, in the role that its address has. */
export const byAgent = ({ address }: Caller): Actor => ({ address, as: null });

/** Clients of the first system know the wrong role by this code with this status. */
export function wrongRole(message: string): SuretyError {
  return wrongParty(message, 'Use a key of the party whose step this is.');
}

/** Says what it would have cost where there is not enough money. */
export function sayingPrice(amountMicros: Micros, currency: Asset): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
    const price = formatMicros(amountMicros);
    throw new SuretyError('insufficient_balance', `There is not enough available money to hold ${price} ${currency}.`, {
      cause: error, body: { price, currency, amount: price },
    });
  };
}

/** How payments of a kind are read: by whom, in which words, and how they look. */
export interface Reading {
  readonly kind: PaymentKind;
  readonly tag: string;
  /** `/v1/cards/:id`, and other spellings of it. */
  readonly path: string;
  readonly aliases?: readonly string[];
  /** Of the answers, `{"card": …}` and `{"cards": […]}`. */
  readonly names: readonly [one: string, many: string];
  /** The end of the list's path, where it is not the second of these names. */
  readonly list?: string;
  /** Payments on a page of the list at most; 200 when left out. */
  readonly pageMax?: number;
  readonly schema: z.ZodType;
  readonly show: (payment: Payment) => object;
  /** Where a single one is shown with more than in a list. */
  readonly showOne?: (payment: Payment) => Promise<object>;
  readonly summaries: readonly [one: string, many: string];
  readonly examples: readonly [one: object, many: object];
  /** Refusal of those who take no part. */
  readonly only: string;
}

/** A payment as it is after a request. */
export async function shownAs({ names: [one], show, showOne }: Reading, { payment, replayed }: PaymentOutcome): Promise<Answer> {
  const body = { [one]: showOne === undefined ? show(payment) : await showOne(payment) };
  return { body, ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
}

/** The payment with this id, for those who take part in it and the admin. Errors: not_found, unauthorized (403), unavailable. */
export async function visiblePayment(payments: Pick<RouteDeps['payments'], 'read'>, { kind: { rules }, only }: Reading, id: string,
    asking: Asking): Promise<Payment> {
  const payment = await payments.read(id);
  if (payment === null || payment.kind !== rules.kind) throw new SuretyError('not_found', `There is no such ${rules.noun}.`);
  const parties = [payment.buyer, payment.seller, payment.arbiter, ...payment.parts.map(({ payee }) => payee)];
  onlyParties(asking, parties, () => wrongRole(only));
  return payment;
}

/** Reads of a kind: one payment for those who take part in it, and an agent's own, page by page, newest first. */
export function readRoutes({ payments }: Pick<RouteDeps, 'payments'>, reading: Reading): Route[] {
  const { kind, tag, path, aliases = [], names: [one, many], schema, show, summaries, examples } = reading;
  const { list = many, pageMax = 200 } = reading;
  return [
    route({
      method: 'get', path, aliases, access: 'agent_or_admin', tag, summary: summaries[0], params: idParams,
      answer: z.object({ [one]: schema }), example: examples[0], errors: ['not_found', 'unauthorized'],
      handler: async ({ params, ...asking }) =>
        shownAs(reading, { payment: await visiblePayment(payments, reading, params.id, asking), replayed: false }),
    }),
    route({
      method: 'get', path: `/v1/agents/:address/${list}`, access: 'owner', tag, summary: summaries[1], params: addressParams,
      query: z.object({ limit: limit(pageMax, 50), cursor }), answer: z.object({ [many]: z.array(schema), ...pagingOut }),
      example: examples[1], errors: ['invalid_cursor'],
      handler: async ({ params, query }) => {
        const after = query.cursor?.id ?? null;
        const { payments: rows, more } = await payments.listOf(kind, params.address, { after, limit: query.limit });
        return listAnswer({ rows, more }, { name: many, show, cursorAfter: (last) => writeCursor(new Date(last.createdAtMs), last.id) });
      },
    }),
  ];
}
