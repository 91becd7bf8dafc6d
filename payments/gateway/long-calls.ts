/** Long calls as the HTTP edge sees them: accepted like every call, and then nobody waits. Steps are taken at once; the workflow hears. */
import { actOnLongCall } from '../../activities/long-call/act.ts';
import { longCallOf, longEventOf } from '../../activities/long-call/rows.ts';
import type { LongCallStore } from '../../activities/long-call/store.ts';
import { SuretyError } from '../../domain/errors.ts';
import type { CallRequest, GatewayPort, Session } from '../../domain/gateway.ts';
import { longCallRules, type LongCall, type LongCallAnswer, type LongCallPort } from '../../domain/long-call.ts';
import { DEFAULT_ASSET } from '../../domain/money.ts';
import type { Refusal } from '../../domain/payment.ts';
import type { CallLinks } from '../../platform/call-link.ts';
import { workflowIdFor } from '../../workflows/contracts/ids.ts';
import { acceptCall, type AcceptDeps, type SessionTermsForCall } from './calls.ts';
import { boundToSession, singleCallTerms } from './gateway.ts';
import type { LongCallWorkflows } from './long-call-workflow.ts';

export interface LongCallDeps extends Pick<AcceptDeps, 'offers' | 'crash' | 'feeBps'> {
  readonly store: LongCallStore;
  readonly gatewayStore: AcceptDeps['store'];
  /** An agent's own session. Errors: not_found, forbidden. */
  readonly session: GatewayPort['session'];
  readonly workflows: LongCallWorkflows;
  readonly links: CallLinks;
}

const POLL_MS_MIN = 25;
const POLL_MS_MAX = 500;

export function createLongCalls(deps: LongCallDeps): LongCallPort {
  const { store, workflows, links } = deps;

  async function call(id: string): Promise<LongCall> {
    const row = await store.row(id);
    if (row === null) throw new SuretyError('not_found', 'There is no such long call.');
    return longCallOf(row);
  }

  return {
    async open({ buyer, tenantId, sessionId, baseUrl }, request) {
      const terms = sessionId === null ? singleCallTerms(buyer, maxPriceOf(request)) : termsIn(await deps.session(buyer, sessionId));
      const opened = await open(deps, { terms, isSingle: sessionId === null, tenantId, baseUrl },
        sessionId === null ? request : boundToSession(request, sessionId));
      return { call: await call(opened.id), replayed: opened.replayed };
    },
    async read(id) {
      const row = await store.row(id);
      return row === null ? null : longCallOf(row);
    },
    events: async (id, { after, limit }) => (await store.events(id, after, limit)).map(longEventOf),
    async changed(id, version, timeoutMs) {
      const untilMs = Date.now() + timeoutMs;
      for (let pauseMs = POLL_MS_MIN; Date.now() + pauseMs < untilMs; pauseMs = Math.min(POLL_MS_MAX, pauseMs * 2)) {
        if (((await store.version(id)) ?? 0) > version) return;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
    async step(id, input, actor): Promise<LongCallAnswer> {
      const { row, replayed, refusal } = await actOnLongCall(store, id, input, actor, false);
      deps.crash.at('long-ended');
      if (refusal !== null) throw refused(refusal, longCallOf(row));
      if (!replayed) workflows.soon(id);
      return { call: longCallOf(row), replayed };
    },
    isLinkOf: ({ id, seller }, token) => links.isGood(token, { callId: id, seller }),
  };
}

interface Opening {
  readonly terms: SessionTermsForCall;
  readonly isSingle: boolean;
  readonly tenantId: string | null;
  readonly baseUrl: string;
}

/** Writes the call, or finds the one that the same key has bought before, and has its workflow started. */
async function open(deps: LongCallDeps, { terms, isSingle, tenantId, baseUrl }: Opening,
    request: CallRequest): Promise<{ readonly id: string; readonly replayed: boolean }> {
  const { store, workflows } = deps;
  const limit = isSingle ? { micros: terms.maxTotalMicros, asset: DEFAULT_ASSET } : null;
  const started = workflows.takePlace();
  const accepting: AcceptDeps = {
    ...deps, store: { ...deps.gatewayStore, release: ({ id }) => giveBackUnheard(store, id) },
    promises: { join: (id) => ({ workflowId: workflowIdFor('gatewayCall', id), confirm: () => undefined }) },
  };
  const { call, accepted } = await acceptCall(accepting, terms, request, (one) => store.open(one, { limit, tenantId, baseUrl, started }))
    .catch((error: unknown): never => {
      if (started) workflows.leavePlace();
      throw error;
    });
  if (call === null) {
    if (started) workflows.leavePlace();
    return { id: accepted.existingId ?? '', replayed: true };
  }
  const row = await store.row(call.id);
  if (row !== null) void workflows.begin(row);
  else if (started) workflows.leavePlace();
  return { id: call.id, replayed: false };
}

/** The database went away while the call was written: the caller was answered that nothing happened. */
async function giveBackUnheard(store: LongCallStore, id: string): Promise<'released' | 'missing'> {
  const row = await store.row(id);
  if (row === null) return 'missing';
  const errorMessage = 'The platform could not confirm this call, so it was not carried out.';
  await store.end({ id, attempt: row.attempt, step: 'given_up', role: 'platform', data: { reason: errorMessage },
    release: { id, errorCode: 'unavailable', errorMessage, log: [] } }, false);
  return 'released';
}

function termsIn(session: Session): SessionTermsForCall {
  return { ...session, usedMicros: session.spentMicros };
}

function maxPriceOf({ maxPriceMicros }: CallRequest): NonNullable<CallRequest['maxPriceMicros']> {
  if (maxPriceMicros === null) throw new SuretyError('invalid_amount', 'maxPrice: is needed for a call without a session.');
  return maxPriceMicros;
}

/** 403 where it is somebody else's step; otherwise with where the money is. */
function refused({ code, message }: Refusal, { state, id }: LongCall): SuretyError {
  if (code === 'unauthorized') {
    return new SuretyError(code, message, { status: 403, recovery: 'Use a key of the party whose step this is.' });
  }
  return new SuretyError(code, message, { fundsStatus: longCallRules.states[state].funds, body: { callId: id, status: state } });
}
