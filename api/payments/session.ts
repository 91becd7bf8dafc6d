/**
 * A gateway session: opened, its calls, ended. A session may have a million calls, so each is one entry, at the time it was
 * accepted, with its attempts and postings inside; the call's own timeline has them in order.
 */
import type pg from 'pg';
import { formatMicros } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import { readTimelinePostings } from '../../ledger/timeline.ts';
import { readSessionCalls, type TimelineCall } from '../../ledger/timeline-gateway.ts';
import { sessionKind as onEngine } from '../../payments/kinds.ts';
import { callInOneSentence, callKind, callRefs } from './call.ts';
import { engineKind } from './engine.ts';
import { dateOf, rolesOf, type KindDeps, type PaymentKind } from './kind.ts';
import { postingEntry, money, type Entry, type Place, type Source } from './timeline.ts';

/** More than a page of calls can have: capture, fee, release and a few moves each. */
const POSTINGS_OF_A_CALL = 8;

const closing = 'Calls are under way: they keep what was reserved for them, and the rest went back to the buyer.';
const ended = 'The session has ended; what its calls did not need is back with the buyer.';

const session = engineKind(onEngine, ({ heldMicros, returnedMicros, deadlineMs, meter }) => {
  const [spent, reserved] = [meter?.usedMicros ?? 0n, meter?.reservedMicros ?? 0n];
  const remaining = deadlineMs !== null && meter?.isOpen === true ? heldMicros - spent - reserved : 0n;
  return { total: heldMicros, spent, reserved, remaining, refunded: returnedMicros };
}, {
  open: ({ heldMicros }, { asset }) => `The session was opened with a budget of ${money(heldMicros, asset)}.`,
  close: ({ state }) => `The session was closed. ${state === 'closing' ? closing : ended}`,
  clock: ({ state }) => `Its time was up. ${state === 'closing' ? closing : ended}`,
  finish: `The last call has ended. ${ended}`,
}, (pool, payment) => [calls(pool, payment)]);

export const sessionKind: PaymentKind = {
  ...session,
  find: async (deps, id) => (await session.find(deps, id)) ?? singleCall(deps, id),
};

/** What stands in for the session of a single call is shown with that call. */
async function singleCall(deps: KindDeps, id: string): ReturnType<PaymentKind['find']> {
  const [call] = await readSessionCalls(deps.reads, id, { atMicros: 0n, id: '' }, 1);
  return call === undefined ? null : callKind.find(deps, call.id);
}

/** The calls of a session, each with its postings, which a page looks up all at once. */
function calls(pool: pg.Pool, { id, buyer }: Payment): Source {
  return async (after, limit) => {
    const page = await readSessionCalls(pool, id, placeAmongCalls(after), limit);
    const refs = new Map(page.flatMap((call) => callRefs(call).map((ref) => [ref, call.id] as const)));
    const moved = page.length === 0 ? [] : await readTimelinePostings(pool, [...refs.keys()], { limit: page.length * POSTINGS_OF_A_CALL });
    const roleOf = rolesOf([{ role: 'buyer', address: buyer }]);
    const byCall = new Map<string | undefined, object[]>(page.map((call) => [call.id, []]));
    for (const posting of moved) {
      const { atMicros, what, data } = postingEntry(posting, roleOf);
      byCall.get(refs.get(posting.part))?.push({ at: dateOf(atMicros).toISOString(), what, ...data });
    }
    return page.map((call) => callEntry(call, byCall.get(call.id) ?? []));
  };
}

function callEntry(call: TimelineCall, moved: readonly object[]): Entry {
  const { id, state, seller, acceptedAtMicros, finishedAtMicros, priceMicros, feeMicros, workflowId, attempts } = call;
  return {
    atMicros: acceptedAtMicros, kind: 'call', id, what: callInOneSentence(call),
    data: {
      callId: id, state, seller, price: formatMicros(priceMicros), fee: formatMicros(feeMicros), workflowId,
      finishedAt: finishedAtMicros === null ? null : dateOf(finishedAtMicros).toISOString(), attempts, postings: moved,
    },
  };
}

/** Calls come last among things of one microsecond. */
function placeAmongCalls({ atMicros, key }: Place): { atMicros: bigint; id: string } {
  return { atMicros, id: key.startsWith('4') ? key.slice(1) : '' };
}
