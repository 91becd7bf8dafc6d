/**
 * A gateway session: opened, its calls, ended. A session may have a million calls, so each is one entry, at the time it was
 * accepted, with its attempts and postings inside; the call's own timeline has them in order.
 */
import type pg from 'pg';
import { idPrefixes } from '../../domain/ids.ts';
import { formatMicros } from '../../domain/money.ts';
import { readTimelinePostings } from '../../ledger/timeline.ts';
import { readSessionCalls, readTimelineSession, type TimelineCall, type TimelineSession } from '../../ledger/timeline-gateway.ts';
import { callInOneSentence, callRefs } from './call.ts';
import { dateOf, rolesOf, type FoundPayment, type PaymentKind } from './kind.ts';
import { fixed, postingEntry, postings, usdc, type Entry, type Place, type Source } from './timeline.ts';

/** More than a page of calls can have: capture, fee, release and a few moves each. */
const POSTINGS_OF_A_CALL = 8;

export const sessionKind: PaymentKind = {
  kind: 'session', prefix: idPrefixes.gatewaySession,
  async find({ reads }, id) {
    const session = await readTimelineSession(reads, id);
    return session === null ? null : foundSession(session, reads);
  },
};

function foundSession(session: TimelineSession, pool: pg.Pool): FoundPayment {
  const { maxTotalMicros, spentMicros, reservedMicros } = session;
  const open = session.status === 'active';
  const rest = maxTotalMicros - spentMicros - reservedMicros;
  const parties = [{ role: 'buyer' as const, address: session.buyer }];
  return {
    id: session.id, state: session.status, ended: !open && reservedMicros === 0n, parties, workflowId: session.workflowId,
    amounts: { total: maxTotalMicros, spent: spentMicros, reserved: reservedMicros, remaining: open ? rest : 0n,
      refunded: open ? 0n : rest },
    createdAt: dateOf(session.createdAtMicros), endedAt: session.closedAtMicros === null ? null : dateOf(session.closedAtMicros),
    sources: () => [fixed(sessionEntries(session)), postings(pool, [session.id], rolesOf(parties)), calls(pool, session)],
  };
}

function sessionEntries({ maxTotalMicros, createdAtMicros, closedAtMicros, status, singleCall, spentMicros }: TimelineSession): Entry[] {
  const opened = singleCall ? `Money was set aside for one call of at most ${usdc(maxTotalMicros)}.`
    : `The session was opened with a budget of ${usdc(maxTotalMicros)}.`;
  const begun: Entry = { atMicros: createdAtMicros, kind: 'state', id: 0n, what: opened, data: { state: 'active' } };
  if (closedAtMicros === null) return [begun];
  const why = status === 'expired' ? 'Its time was up, and the session was ended' : singleCall ? 'The session ended with its call'
    : 'The session was closed';
  return [begun, { atMicros: closedAtMicros, kind: 'state', id: 1n, what: `${why}; ${usdc(spentMicros)} of its budget are spent.`,
    data: { state: status } }];
}

/** The calls of a session, each with its postings, which a page looks up all at once. */
function calls(pool: pg.Pool, { id, buyer }: TimelineSession): Source {
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
