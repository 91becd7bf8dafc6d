/**
 * Asks the sellers of a long call in their order, until one works on it. Whoever does this (the activity of its workflow, or the sweeper)
 * is the only one: that a seller is asked is written before it is.
 */
import type { Crash } from '../../platform/crash.ts';
import type { CallLinks } from '../../platform/call-link.ts';
import type { Candidate } from '../gateway/call.ts';
import { forward, type ForwardDeps, type Forwarded } from '../gateway/forward.ts';
import type { Asked } from '../../domain/long-call-messages.ts';
import type { LongCallRow } from './rows.ts';
import type { LongCallStore } from './store.ts';

export interface AskDeps extends ForwardDeps {
  readonly store: LongCallStore;
  readonly links: CallLinks;
  readonly crash: Crash;
  /** How long a seller may take for its first answer. */
  readonly sellerTimeoutMs: number;
}

/** @param heard whether the workflow learns of it by whoever asks. @param tick called now and then while somebody is waited for. */
interface Asking {
  readonly heard: boolean;
  readonly tick: () => Promise<void>;
}

/** Longer than the answer of a seller is waited for: nobody else asks meanwhile, and soon after this process has died somebody may. */
const LEASE_SPARE_MS = 2_000;

/** Sees to it that a seller has been asked. Never twice at one seller, unless it works once for one key. */
export async function askSellers(deps: AskDeps, id: string, asking: Asking): Promise<Asked['outcome']> {
  for (;;) {
    const outcome = await deps.store.ask(id, deps.sellerTimeoutMs + LEASE_SPARE_MS, asking.heard);
    deps.crash.at('long-asking');
    switch (outcome) {
      case 'begun': case 'over': return 'begun';
      case 'waits': return 'waits';
      case 'busy': await asking.tick(); break;
      case 'ask': {
        const row = await deps.store.row(id);
        const came = row === null ? 'begun' : await askOne(deps, row, asking);
        if (came !== 'next') return came;
      }
    }
  }
}

/** Asks the seller of the present attempt, and writes down what it answers. `next`: the call has gone on to another one. */
async function askOne(deps: AskDeps, row: LongCallRow, { heard }: Asking): Promise<Asked['outcome'] | 'next'> {
  const { store } = deps;
  const { id, attempt } = row;
  const candidate = row.candidates[attempt];
  if (candidate === undefined) return 'begun';
  const forwarded = await send(deps, row, candidate);
  deps.crash.at('long-answered');
  if (forwarded.tag === 'delivered' && forwarded.httpStatus === 202) {
    await store.answered(id, attempt, 'begun', { latencyMs: forwarded.latencyMs }, heard);
    deps.crash.at('long-begun');
    return 'begun';
  }
  if (forwarded.tag === 'delivered') {
    const { httpStatus, responseJson, latencyMs, log } = forwarded;
    await store.end({ id, attempt, step: 'completed', role: 'seller', data: { at: 'once' },
      delivery: { id, attempt, httpStatus, responseJson, latencyMs, log: [log] } }, heard);
    return 'begun';
  }
  if (isLost(forwarded)) {
    await store.answered(id, attempt, 'answer_lost', { outcome: forwarded.log.outcome, message: forwarded.log.message }, heard);
    return candidate.idempotent ? 'again' : 'waits';
  }
  // Asked before with an answer that was lost, it may be at work all the same: only a word of its own says that it is not.
  if (row.asks > 1 && forwarded.log.httpStatus === null) {
    await store.answered(id, attempt, 'answer_lost', { outcome: forwarded.log.outcome, message: forwarded.log.message }, heard);
    return 'again';
  }
  return moveOn(deps, row, forwarded, heard);
}

/** Nobody knows whether the seller works: the connection broke, or its first answer did not come in time. */
function isLost({ mayHaveWorked, log }: Extract<Forwarded, { tag: 'failed' }>): boolean {
  return mayHaveWorked && (log.outcome === 'timeout' || log.outcome === 'reset' || log.outcome === 'aborted');
}

/** The next seller whose price the budget still allows; without one the money goes back. */
async function moveOn({ store }: AskDeps, row: LongCallRow, failed: Extract<Forwarded, { tag: 'failed' }>,
    heard: boolean): Promise<'begun' | 'next'> {
  const { id, attempt, candidates } = row;
  for (let to = attempt + 1; to < candidates.length; to += 1) {
    const moved = await store.next(row, to, [failed.log], heard);
    if (moved !== 'budget_exceeded') return moved === 'moved' ? 'next' : 'begun';
  }
  await store.end({ id, attempt, guard: 'not_begun', step: 'given_up', role: 'platform', data: { reason: failed.reason },
    release: { id, errorCode: 'proxy_failed', errorMessage: `${failed.reason}.`, log: [failed.log] } }, heard);
  return 'begun';
}

/** The signed request of every call, with what a seller needs for one that takes long. */
async function send(deps: AskDeps, row: LongCallRow, candidate: Candidate): Promise<Forwarded> {
  const deadlineMs = row.deadline.getTime();
  const token = deps.links.tokenFor({ callId: row.id, seller: candidate.seller, deadlineMs });
  return forward(deps, { id: row.id, buyer: row.buyer, paramsJson: row.params, refundable: row.refundable }, candidate,
    Math.max(1, Math.min(deps.sellerTimeoutMs, deadlineMs - Date.now())), {
      Prefer: 'respond-async', 'X-Payment-Deadline': row.deadline.toISOString(),
      'X-Payment-Complete': `${row.base_url}/v1/gateway/calls/${row.id}/complete?token=${token}`,
    });
}
