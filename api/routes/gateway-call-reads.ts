/** One call of the gateway, short or long, for its buyer and its seller. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import type { LongCallEvent } from '../../domain/long-call.ts';
import type { RouteDeps } from '../deps.ts';
import { oneCallExample } from '../wire/examples/gateway.ts';
import { idParams, limit, placeCursor, writePlace } from '../wire/fields.ts';
import { logOut, showLog } from '../wire/gateway.ts';
import { longEventOut, longOut, showLong, showLongEvent } from '../wire/long-call.ts';
import { cutPage, onward, onwardOut } from '../routing/paging.ts';
import { waitMs } from '../routing/prefer.ts';
import { route, type Route } from '../routing/route.ts';

/** `Prefer: wait=N` waits no longer than this. */
const WAIT_MS_MAX = 25_000;

const callOut = logOut.extend({
  sessionId: z.string().optional().describe('For the buyer.'),
  response: z.unknown().describe('What the seller answered; for the buyer, once it is paid.'),
  long: longOut.optional().describe('Of a call that is not waited for.'),
});

export function gatewayCallReadRoutes({ longCalls, prisma, env }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/gateway/calls/:id', access: 'agent', tag: 'Gateway',
      summary: 'One call: its state, its attempts, and where the money is; of a long call also what has happened so far.',
      description: 'With `Prefer: wait=N` the answer waits up to N seconds (25 at most) for something to happen to a long call. A seller '
        + 'sees neither the session nor other sellers.',
      headers: [{ name: 'Prefer', description: '`wait=N`: wait up to N seconds for a change of a long call.' }],
      params: idParams, query: z.object({ limit: limit(1_000, 100), cursor: placeCursor(/^([0-9]{1,9})$/) }),
      answer: z.object({ call: callOut, events: z.array(longEventOut).describe('Of a long call, oldest first.'), ...onwardOut }),
      example: oneCallExample, errors: ['not_found', 'forbidden', 'invalid_cursor'],
      handler: async ({ caller, params: { id }, query, req }) => {
        const parties = await prisma.gatewayCall.findUnique({ where: { id }, select: { buyer: true, seller: true } });
        if (parties === null) throw new SuretyError('not_found', 'There is no such call.');
        const isBuyer = parties.buyer === caller.address;
        if (!isBuyer && parties.seller !== caller.address) throw new SuretyError('forbidden', 'Only buyer and seller may see a call.');
        const before = await longCalls.read(id);
        const patienceMs = waitMs(req, Math.min(WAIT_MS_MAX, Math.max(0, env.REQUEST_TIMEOUT - 1_000)));
        const waits = before !== null && patienceMs > 0 && (before.state === 'asking' || before.state === 'begun');
        if (waits) await longCalls.changed(id, before.version, patienceMs);
        // The events first: the row read after them is at least as far.
        const page = cutPage(before === null ? []
          : await longCalls.events(id, { after: Number(query.cursor?.[0] ?? 0), limit: query.limit + 1 }), query.limit);
        const [row, long] = [await prisma.gatewayCall.findUniqueOrThrow({ where: { id } }), waits ? await longCalls.read(id) : before];
        const { sessionId, attempts, ...shown } = showLog(row);
        // Nobody reads what is not paid for: the answer of a refundable step of a pipeline appears with its payment.
        const response: unknown = row.response === null || row.state !== 'settled' || !isBuyer ? null : JSON.parse(row.response);
        return {
          body: {
            call: { ...shown, ...(isBuyer ? { sessionId } : {}),
              attempts: attempts.filter(({ seller }) => isBuyer || seller === caller.address),
              response, ...(long === null ? {} : { long: showLong(long) }) },
            events: page.rows.filter((event) => isBuyer || isOwn(event, caller.address)).map(showLongEvent),
            ...onward(page, ({ version }) => writePlace([version])),
          },
          ...(waits ? { headers: { 'Preference-Applied': `wait=${patienceMs / 1_000}` } } : {}),
        };
      },
    }),
  ];
}

/** A seller does not hear who else was asked. */
function isOwn({ data }: LongCallEvent, seller: string): boolean {
  return data['seller'] === undefined || data['seller'] === seller;
}
