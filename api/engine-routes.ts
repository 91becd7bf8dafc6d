/** What the routes of payments on the engine share: who acts, what a refused role and missing money look like, and pages of lists. */
import { z } from 'zod';
import { SuretyError } from '../domain/errors.ts';
import { formatMicros, type Micros } from '../domain/money.ts';
import type { Actor, Payment } from '../domain/payment.ts';
import type { PaymentKind } from '../payments/kind.ts';
import type { Payments } from '../payments/payments.ts';
import type { Caller } from './route.ts';
import { cursor, limit, writeCursor, type Cursor } from './schemas.ts';

/** The agent behind the key, in the role that its address has. */
export const byAgent = ({ address }: Caller): Actor => ({ address, as: null });

/** Clients of the first system know the wrong role by this code with this status. */
export function wrongRole(message: string): SuretyError {
  return new SuretyError('unauthorized', message, { status: 403, recovery: 'Use a key of the party whose step this is.' });
}

/** Tells what it would have cost where there is not enough money. */
export function sayingPrice(amountMicros: Micros): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
    const price = formatMicros(amountMicros);
    throw new SuretyError('insufficient_balance', `There is not enough available money to hold ${price} USDC.`, {
      cause: error, body: { price, currency: 'USDC', amount: price },
    });
  };
}

/** Query of a list, and what stands beside it in the answer. */
export const pageQuery = z.object({ limit: limit(200, 50), cursor });
export const pageOut = { count: z.number().int(), has_more: z.boolean(), next_cursor: z.string().optional() };

/** A page of an agent's payments of a kind, newest first. */
export async function readPage(
  payments: Payments, kind: PaymentKind, address: string, query: { readonly limit: number; readonly cursor?: Cursor | undefined },
): Promise<{ readonly page: readonly Payment[]; readonly rest: z.input<z.ZodObject<typeof pageOut>> }> {
  const { payments: page, more } = await payments.listOf(kind, address, { after: query.cursor?.id ?? null, limit: query.limit });
  const last = page.at(-1);
  const next = more && last !== undefined ? { next_cursor: writeCursor(new Date(last.createdAtMs), last.id) } : {};
  return { page, rest: { count: page.length, has_more: more, ...next } };
}
