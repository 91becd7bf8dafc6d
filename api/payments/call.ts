/** A gateway call: accepted, each attempt at a seller, and how it ended, with the money that moved. */
import { idPrefixes } from '../../domain/ids.ts';
import { readTimelineCall, type CallAttempt, type TimelineCall } from '../../ledger/timeline-gateway.ts';
import { readTimelineLong } from '../../ledger/timeline-long.ts';
import { dateOf, rolesOf, type FoundPayment, type Party, type PaymentKind } from './kind.ts';
import { afterAmong, fixed, postings, money, type Entry, type Source } from './timeline.ts';

export const callKind: PaymentKind = {
  kind: 'call', prefix: idPrefixes.call,
  async find({ reads }, id) {
    const call = await readTimelineCall(reads, id);
    return call === null ? null : foundCall(call, reads);
  },
};

function foundCall(call: TimelineCall, pool: Parameters<typeof postings>[0]): FoundPayment {
  const parties = partiesOf(call);
  return {
    id: call.id, state: call.state, ended: hasEnded(call), parties, workflowId: call.workflowId,
    amounts: { price: call.priceMicros, fee: call.feeMicros, reserved: hasEnded(call) ? 0n : call.reservedMicros },
    createdAt: dateOf(call.acceptedAtMicros), endedAt: call.finishedAtMicros === null ? null : dateOf(call.finishedAtMicros),
    sources(reader) {
      // What was set aside for a call on its own is the buyer's limit, and no business of the seller.
      const holdRefs = call.singleCall && reader !== call.seller ? [call.sessionId] : [];
      return [fixed(callEntries(call)), longEvents(pool, call.id, reader === call.seller ? call.seller : null),
        postings(pool, [...callRefs(call), ...holdRefs], rolesOf(parties))];
    },
  };
}

/** Among the other states of the call, whose numbers begin at 0. */
const LONG_FROM = 1_000n;
/** What the call itself says of its beginning and its end is not said twice. */
const saidByCall = ['accepted', 'completed', 'given_up'];

/**
 * What happened to a long call between its beginning and its end.
 * @param seller who reads, where that is the seller, which does not hear who else was asked.
 */
function longEvents(pool: Parameters<typeof postings>[0], id: string, seller: string | null): Source {
  return async (after, limit) => {
    const place = afterAmong('state', after);
    const events = await readTimelineLong(pool, id, { after: { ...place, id: place.id - LONG_FROM }, limit, without: saidByCall, seller });
    return events.map(({ version, atMicros, step, role, data }) =>
      ({ id: LONG_FROM + BigInt(version), atMicros, kind: 'state', what: longSentence(step, data), data: { step, by: role, ...data } }));
  };
}

function longSentence(step: string, data: Readonly<Record<string, unknown>>): string {
  const who = `${String(data['service'] ?? 'the seller')} (${String(data['seller'] ?? '')})`;
  const why = data['reason'] === undefined ? '' : ` ${String(data['reason'])}`;
  switch (step) {
    case 'asked': return `${who} is asked.`;
    case 'asked_again': return `${who} is asked again: its answer was lost, and it works once for one key.`;
    case 'failed_over': return `The call goes on to ${who}.`;
    case 'answer_lost': return 'The answer of the seller was lost; it may be at work, and is waited for.';
    case 'begun': return 'The seller has begun; the call can no longer be cancelled.';
    case 'progress': return ['The seller is at work', data['percent'] === undefined ? '' : `: ${String(data['percent'])} %`,
      data['note'] === undefined ? '.' : `: ${String(data['note'])}`].join('');
    case 'cancelled': return 'The buyer cancelled the call before its seller began.';
    case 'failed': return `The seller gave the call up.${why}`;
    case 'overdue': return `The time of the seller was up.${why}`;
    default: return `The call was ${step}.`;
  }
}

/** Refs of the postings of a call: its own, and one for each move to a cheaper seller. */
export function callRefs({ id, candidates }: Pick<TimelineCall, 'id' | 'candidates'>): string[] {
  return [id, ...Array.from({ length: Math.max(0, candidates - 1) }, (_, index) => `${id}:${index + 1}`)];
}

function partiesOf({ buyer, seller }: TimelineCall): Party[] {
  return [{ role: 'buyer', address: buyer }, ...(seller === null ? [] : [{ role: 'seller' as const, address: seller }])];
}

function hasEnded({ state }: TimelineCall): boolean {
  return state === 'settled' || state === 'released' || state === 'refused';
}

/** What sets the entries of a call apart from those of other calls in one timeline. */
export interface CallLabel {
  readonly firstId: bigint;
  /** Before each sentence. */
  readonly about: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const alone: CallLabel = { firstId: 0n, about: '', data: {} };

/** The states of a call and the attempts at its sellers. */
export function callEntries(call: TimelineCall, { firstId, about, data }: CallLabel = alone): Entry[] {
  const { acceptedAtMicros, finishedAtMicros, attempts, errorCode } = call;
  const end = { what: endOf(call), data: { state: call.state, ...(errorCode === null ? {} : { reason: errorCode }) } };
  const entries: Omit<Entry, 'id'>[] = [];
  // A step that was given back before it began was never accepted, and a refused call neither.
  if (call.state === 'refused') entries.push({ atMicros: acceptedAtMicros, kind: 'state', ...end });
  else if (call.state !== 'released' || attempts.length > 0 || errorCode !== null) {
    entries.push({ atMicros: acceptedAtMicros, kind: 'state',
      what: `A call for "${call.serviceType}" was accepted; ${sellers(call.candidates)} can be asked.`,
      data: { state: 'accepted', sessionId: call.sessionId } });
  }
  entries.push(...attempts.map((attempt) => attemptEntry(call, attempt)));
  if (finishedAtMicros !== null && call.state !== 'refused') entries.push({ atMicros: finishedAtMicros, kind: 'state', ...end });
  return entries.map((entry, index) =>
    ({ ...entry, id: firstId + BigInt(index), what: about + entry.what, data: { ...entry.data, ...data } }));
}

/** One attempt at a seller, as an entry. */
function attemptEntry(call: TimelineCall, attempt: CallAttempt): Omit<Entry, 'id'> {
  const { seller, serviceId, outcome, httpStatus, message, latencyMs } = attempt;
  const who = seller === call.seller && call.serviceName !== null ? `${call.serviceName} (${seller})` : seller;
  const what = outcome === 'delivered' ? `${who} was asked and delivered within ${latencyMs} ms.`
    : `${who} was asked and ${message ?? 'did not deliver'}.`;
  return { atMicros: startOf(call, attempt), kind: 'attempt', what, data: { seller, serviceId, outcome, httpStatus, message, latencyMs } };
}

/** Attempts are timed by the process that made them; its clock must not move them out of the call. */
function startOf({ acceptedAtMicros, finishedAtMicros }: TimelineCall, { startedAt }: CallAttempt): bigint {
  const startedMs = Date.parse(startedAt);
  const started = Number.isNaN(startedMs) ? acceptedAtMicros : BigInt(startedMs) * 1_000n;
  if (started < acceptedAtMicros) return acceptedAtMicros;
  return finishedAtMicros !== null && started > finishedAtMicros ? finishedAtMicros : started;
}

function endOf({ state, seller, priceMicros, errorMessage }: TimelineCall): string {
  switch (state) {
    case 'settled': return `The call is settled: ${money(priceMicros)} were charged for what ${seller ?? 'the seller'} delivered.`;
    case 'released': return `The call was given up and nothing was charged. ${errorMessage ?? ''}`.trim();
    case 'refused': return `The call was refused. ${errorMessage ?? ''}`.trim();
    case 'delivered': return 'The seller has delivered; its money is kept until the pipeline has ended.';
    default: return `The call is ${state}.`;
  }
}

function sellers(count: number): string {
  return count === 1 ? 'one seller' : `${count} sellers`;
}

/** The whole call in one sentence, for the timeline of its session. */
export function callInOneSentence(call: TimelineCall): string {
  const what = `A call for "${call.serviceType}"`;
  switch (call.state) {
    case 'settled': return `${what} was settled: ${money(call.priceMicros)} for ${call.seller ?? 'the seller'}.`;
    case 'released': return `${what} was given up and cost nothing. ${call.errorMessage ?? ''}`.trim();
    case 'refused': return `${what} was refused. ${call.errorMessage ?? ''}`.trim();
    default: return `${what} is under way; ${money(call.reservedMicros)} are reserved for it.`;
  }
}
