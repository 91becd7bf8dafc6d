/**
 * An agent's money: what it has, how it got there, and whom it paid. Only the agent itself and the admin see this
 * (docs/decisions/reads-of-money.md).
 */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { readPayments } from '../../ledger/payments.ts';
import { postingOf, readBalance, readBalanceAt, readEntries } from '../../ledger/reads.ts';
import type { RouteDeps } from '../deps.ts';
import { onward } from '../routing/paging.ts';
import { route, type Route } from '../routing/route.ts';
import { address, addressOut, addressParams, amount, amountOut, currency, cursor, limit, line, writeCursor,
  type Cursor } from '../wire/fields.ts';
import { balanceOut, entryOut, showBalance, showEntry, showTransaction, transactionOut } from '../wire/registry.ts';

const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i;
/** An unescaped `+` arrives as a blank. */
const readTime = (text: string): Date | null => {
  const written = text.replace(' ', '+');
  const time = new Date(written);
  return RFC3339.test(written) && !Number.isNaN(time.getTime()) && time.getTime() >= 0 ? time : null;
};
const moment = z.string().optional()
  .refine((text) => text === undefined || text === '' || readTime(text) !== null,
    { error: 'must be a time such as 2026-01-31T12:00:00Z', params: { code: 'invalid_timestamp' } })
  .transform((text) => (text === undefined || text === '' ? null : readTime(text)))
  .meta({ type: 'string', format: 'date-time', description: 'The balance as it was then, replayed from the postings.' });

/** The posting before which a page begins; null for the first. @throws SuretyError invalid_cursor. */
function beforeOf(given: Cursor | undefined): bigint | null {
  const before = given === undefined ? null : postingOf(given.id);
  if (given !== undefined && before === null) throw new SuretyError('invalid_cursor', 'This is not a cursor of this list.');
  return before;
}

export function walletRoutes(deps: RouteDeps): Route[] {
  return [...bookRoutes(deps), ...transactionRoutes(deps), ...creditRoutes(deps), ...payoutRoutes()];
}

function bookRoutes({ reads }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/agents/:address/balance', access: 'owner', tag: 'Wallet',
      summary: 'The balance now, or at a moment in the past.',
      params: addressParams, query: z.object({ at: moment, currency }),
      answer: z.object({ balance: balanceOut, at: z.string().optional() }),
      errors: ['invalid_timestamp', 'unknown_currency', 'range_too_large'],
      handler: async ({ params, query: { at, currency: asset } }) => {
        if (at === null) return { body: { balance: showBalance(await readBalance(reads, params.address, asset)) } };
        return { body: { balance: showBalance(await readBalanceAt(reads, params.address, at, asset)), at: at.toISOString() } };
      },
    }),
    route({
      method: 'get', path: '/v1/agents/:address/ledger', access: 'owner', tag: 'Wallet',
      summary: 'Every movement of the balance, newest first.',
      params: addressParams, query: z.object({ limit: limit(200, 50), cursor, currency }),
      answer: z.object({ entries: z.array(entryOut), nextCursor: z.string().optional(), hasMore: z.boolean().optional() }),
      errors: ['invalid_cursor', 'unknown_currency'],
      handler: async ({ params, query }) => {
        const before = beforeOf(query.cursor);
        const { entries: rows, more } = await readEntries(reads, params.address, { limit: query.limit, before, asset: query.currency });
        const { next_cursor: nextCursor } = onward({ rows, more }, (last) => writeCursor(last.createdAt, last.id));
        // Clients of the first system know these two by other names, and only where there is more.
        return { body: { entries: rows.map((entry) => showEntry(entry, params.address)),
          ...(nextCursor === undefined ? {} : { nextCursor, hasMore: true }) } };
      },
    }),
  ];
}

function transactionRoutes({ reads }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/agents/:address/transactions', access: 'agent', tag: 'Wallet',
      summary: 'Settled payments of an agent: its own see all, others see those with themselves.',
      description: 'Follow `nextCursor` while there is one: a page can be short, even empty, and not the last.',
      params: addressParams, query: z.object({ limit: limit(1_000, 100), cursor, currency }),
      answer: z.object({ transactions: z.array(transactionOut), count: z.number().int(), nextCursor: z.string().optional(),
        hasMore: z.boolean().optional() }), errors: ['invalid_cursor', 'unknown_currency'],
      handler: async ({ params, query, caller, isAdmin }) => {
        const counterparty = isAdmin || caller.address === params.address ? null : caller.address;
        const before = beforeOf(query.cursor) ?? undefined;
        const { payments, next } = await readPayments(reads, params.address,
          { counterparty, limit: query.limit, before, asset: query.currency });
        const transactions = payments.map(showTransaction);
        // The time in a cursor is for people; the page goes on by the number.
        const rest = next === null ? {} : { nextCursor: writeCursor(payments.at(-1)?.createdAt ?? new Date(), next), hasMore: true };
        return { body: { transactions, count: transactions.length, ...rest } };
      },
    }),
    route({
      method: 'post', path: '/v1/transactions', access: 'agent', tag: 'Wallet',
      summary: 'Claims a payment made elsewhere. Refused until payments elsewhere can be checked.',
      body: z.object({ txHash: line(200), from: address, to: address, amount, serviceId: z.string().max(100).optional() }),
      answerStatus: 501, errors: ['invalid_amount', 'invalid_address', 'forbidden', 'self_trade', 'not_configured'],
      handler: ({ body, caller }) => {
        if (body.from !== caller.address) throw new SuretyError('forbidden', 'You can only speak of payments that you made.');
        if (body.from === body.to) throw new SuretyError('self_trade', 'An agent cannot pay itself.');
        throw new SuretyError('not_configured',
          'This platform counts only payments it settled itself; claims about others are not recorded.');
      },
    }),
  ];
}

function creditRoutes({ reads }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/agents/:address/credit', access: 'owner', tag: 'Wallet',
      summary: 'The credit line; zero until credit is offered.',
      params: addressParams, answer: z.object({ address: addressOut, limit: amountOut, used: amountOut, available: amountOut }),
      handler: async ({ params }) => {
        const { creditLimit, creditUsed } = await readBalance(reads, params.address);
        const available = formatMicros(creditLimit - creditUsed);
        return { body: { address: params.address, limit: formatMicros(creditLimit), used: formatMicros(creditUsed), available } };
      },
    }),
    route({
      method: 'post', path: '/v1/agents/:address/credit/apply', access: 'owner', tag: 'Wallet',
      summary: 'Asks for a credit line. Not offered yet.',
      params: addressParams, body: z.looseObject({}), answerStatus: 503, errors: ['not_configured'],
      handler: () => {
        // Clients of the first system know this one by 503.
        throw new SuretyError('not_configured', 'Credit is not offered yet.', { status: 503 });
      },
    }),
  ];
}

/** Money that nobody could send on must not be held: until withdrawals can be finished they are refused at the door. */
function payoutRoutes(): Route[] {
  return [
    route({
      method: 'post', path: '/v1/agents/:address/withdraw', access: 'owner', tag: 'Wallet',
      summary: 'Asks for money to be sent out. Not offered yet.',
      params: addressParams, body: z.object({ amount }), answerStatus: 503, errors: ['invalid_amount', 'withdrawals_disabled'],
      handler: () => {
        throw new SuretyError('withdrawals_disabled', 'Withdrawals are not offered yet; nothing was held.');
      },
    }),
    route({
      method: 'post', path: '/v1/agents/:address/payouts', access: 'owner', tag: 'Wallet',
      summary: 'Sends money to an address on the chain. Not offered yet.',
      params: addressParams, body: z.object({ to: address, amount, clientRef: line(200) }), answerStatus: 503,
      errors: ['invalid_amount', 'invalid_address', 'withdrawals_disabled'],
      handler: () => {
        throw new SuretyError('withdrawals_disabled', 'Payouts are not offered yet; nothing was sent or held.');
      },
    }),
  ];
}
