/** Any payment by its id, whatever its kind, with everything that happened to it. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import type { RouteDeps } from '../deps.ts';
import { paymentExample } from '../wire/examples/payment.ts';
import { kindOf } from '../payments/all.ts';
import { dateOf, type FoundPayment, type PaymentKind } from '../payments/kind.ts';
import { BEGINNING, isKey, keyOf, readTimeline, type Entry, type Place } from '../payments/timeline.ts';
import { onward, onwardOut } from '../routing/paging.ts';
import { onlyParties } from '../routing/parties.ts';
import { route, type Route } from '../routing/route.ts';
import { addressOut, amountOut, cursor, limit, timeOut, writeCursor, type Cursor } from '../wire/fields.ts';

const entryOut = z.object({
  at: timeOut, kind: z.enum(['state', 'posting', 'attempt', 'call', 'ticks']), what: z.string().describe('A sentence for people.'),
  data: z.record(z.string(), z.unknown()),
});
const paymentOut = z.object({
  kind: z.string(), id: z.string(), state: z.string(), ended: z.boolean(), amounts: z.record(z.string(), amountOut),
  parties: z.array(z.object({ role: z.enum(['buyer', 'seller', 'arbiter']), address: addressOut })),
  workflowId: z.string().nullable(),
  temporalUrl: z.string().nullable().describe('The workflow in the Temporal UI, where one is configured.'),
  createdAt: timeOut, endedAt: timeOut.nullable(), timeline: z.array(entryOut).describe('Oldest first.'),
});

export function paymentRoutes(deps: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/payments/:id', access: 'agent_or_admin', tag: 'Payments',
      summary: 'Any payment by its id: where it stands, and every state, posting and attempt at a seller in the order they happened.',
      description: 'Only its parties and the admin may look. A seller does not see what the buyer had set aside for a call of its own.',
      params: z.object({ id: z.string().regex(/^[\x21-\x7e]{1,64}$/, 'must be the id of a payment') }),
      query: z.object({ limit: limit(1_000, 100), cursor }),
      answer: z.object({ payment: paymentOut, ...onwardOut }), example: paymentExample,
      errors: ['not_found', 'forbidden', 'invalid_cursor'],
      handler: async ({ params, query, caller, isAdmin }) => {
        const kind = kindOf(params.id);
        const payment = (await kind?.find(deps, params.id)) ?? null;
        if (kind === null || payment === null) throw new SuretyError('not_found', 'There is no such payment.');
        const reader = onlyParties({ caller, isAdmin }, payment.parties.map((party) => party.address),
          () => new SuretyError('forbidden', 'Only those who take part in a payment may see it.'));
        const { entries: rows, more } = await readTimeline(payment.sources(reader), placeOf(query.cursor), query.limit);
        return { body: { payment: { ...showPayment(deps, kind, payment), timeline: rows.map(showEntry) },
          ...onward({ rows, more }, cursorAfter) } };
      },
    }),
  ];
}

function cursorAfter(last: Entry): string {
  return writeCursor(dateOf(last.atMicros), keyOf(last), Number(last.atMicros % 1_000n));
}

function placeOf(at: Cursor | undefined): Place {
  if (at === undefined) return BEGINNING;
  if (!isKey(at.id)) throw new SuretyError('invalid_cursor', 'This is not a cursor of this list.');
  return { atMicros: BigInt(at.at.getTime()) * 1_000n + BigInt(at.micros), key: at.id };
}

function showPayment({ links, env }: RouteDeps, { kind }: PaymentKind, payment: FoundPayment) {
  const { id, state, ended, parties, workflowId, createdAt, endedAt } = payment;
  return {
    kind, id, state, ended,
    amounts: Object.fromEntries(Object.entries(payment.amounts).map(([name, micros]) => [name, formatMicros(micros)])), parties, workflowId,
    temporalUrl: workflowId === null || links.temporalUi === null ? null
      : temporalUrl(links.temporalUi, env.TEMPORAL_NAMESPACE, workflowId),
    createdAt: createdAt.toISOString(), endedAt: endedAt?.toISOString() ?? null,
  };
}

/** Where Temporal's UI shows a workflow; it finds the latest run by itself. */
function temporalUrl(ui: string, namespace: string, workflowId: string): string {
  return `${ui.replace(/\/+$/, '')}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}

function showEntry({ atMicros, kind, what, data }: Entry): z.input<typeof entryOut> {
  return { at: dateOf(atMicros).toISOString(), kind, what, data: { ...data } };
}
