/**
 * Drives accepted calls to their end. The same function serves the head start in the API's process, the activities of a workflow
 * and the sweeper; a call is driven once in a process, and by one process while its lease holds.
 */
import { randomInt } from 'node:crypto';
import { SuretyError } from '../../domain/errors.ts';
import { isItemError } from '../../ledger/sql-errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { CallEnd, Candidate, OpenCall } from './call.ts';
import { forward, type Forwarded, type ForwardDeps } from './forward.ts';
import type { AttemptLog, Delivery, Settled } from './rows.ts';
import type { GatewayStore } from './store.ts';

export interface DriveDeps extends ForwardDeps {
  readonly store: GatewayStore;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** For all attempts of one drive together. */
  readonly sellerTimeoutMs: number;
  /** How long another process leaves our calls to us without a sign; we give one every third of it. */
  readonly leaseMs: number;
}

/** Writes a delivery down; `settle` is how that is done for a call that stands alone. May be asked again after a loss of the database. */
export type OnDelivery = (delivery: Delivery, settle: (delivery: Delivery) => Promise<Settled>) => Promise<Settled>;

export interface Driver {
  /** Drives a call that this process has accepted or taken over; joins a drive under way. Never rejects. */
  drive(call: OpenCall, onDelivery?: OnDelivery): Promise<CallEnd>;
  /** The drive of this call in this process, if there is one. */
  underWay(callId: string): Promise<CallEnd> | undefined;
  /** Takes over what nobody drives and drives it. */
  adopt(callIds: readonly string[]): Promise<void>;
  /** Resolves when nothing is under way, or the time is up; says whether all ended. */
  drained(timeoutMs: number): Promise<boolean>;
  /** Calls under way. */
  size(): number;
  stop(): void;
}

/** Pause between tries of a money step while the database is away. */
const RETRY_MS = 250;
const RETRY_FACTOR_MAX = 8;
/** How long a driver keeps an outcome that it cannot write. Then the sweeper of whoever lives takes the call over. */
const KEEP_TRYING_MS = 10 * 60_000;

export function createDriver(deps: DriveDeps): Driver {
  const drives = new Map<string, { readonly end: Promise<CallEnd>; readonly startedAtMs: number }>();
  const renewEveryMs = deps.leaseMs / 3;
  const timer = setInterval(() => void renewLeases(), renewEveryMs);
  timer.unref();

  /** Quick calls end before their lease is a third old and cost nothing here. */
  async function renewLeases(): Promise<void> {
    const before = Date.now() - renewEveryMs / 2;
    const slow = [...drives].filter(([, drive]) => drive.startedAtMs < before).map(([id]) => id);
    if (slow.length === 0) return;
    await deps.store.renewLeases(slow).catch((error: unknown) => {
      deps.log.warn({ err: error, calls: slow.length }, 'Leases of calls under way could not be renewed.');
    });
  }

  function drive(call: OpenCall, onDelivery?: OnDelivery): Promise<CallEnd> {
    const known = drives.get(call.id);
    if (known !== undefined) return known.end;
    const { store } = deps;
    const end = driveToEnd(onDelivery === undefined ? deps
      : { ...deps, store: { ...store, settle: (delivery, alone) => onDelivery(delivery, (each) => store.settle(each, alone)) } }, call)
      .catch((error: unknown): CallEnd => {
        deps.log.error({ err: error, callId: call.id }, 'A call could not be ended here; the sweeper will try again.');
        deps.metrics.backgroundError('drive');
        return { tag: 'elsewhere', callId: call.id };
      })
      .finally(() => drives.delete(call.id));
    drives.set(call.id, { end, startedAtMs: Date.now() });
    return end;
  }

  return {
    drive,
    underWay: (callId) => drives.get(callId)?.end,
    async adopt(callIds) {
      const unknown = callIds.filter((id) => !drives.has(id));
      if (unknown.length === 0) return;
      for (const call of await deps.store.takeOver(unknown)) {
        deps.log.info({ callId: call.id }, 'Took over a call whose driver fell silent.');
        void drive(call);
      }
    },
    async drained(timeoutMs) {
      const everything = Promise.all([...drives.values()].map((drive) => drive.end)).then(() => true);
      const late = new Promise<boolean>((resolve) => setTimeout(resolve, timeoutMs, false).unref());
      return Promise.race([everything, late]);
    },
    size: () => drives.size,
    stop: () => clearInterval(timer),
  };
}

/** The story of one call: ask sellers in order, settle with the first that delivers, or give the reservation back. */
async function driveToEnd(deps: DriveDeps, call: OpenCall): Promise<CallEnd> {
  const first = call.candidates[call.attempt];
  if (call.takenOver && call.asked && first !== undefined && !first.idempotent) {
    return giveUp(deps, call, 'execution_unknown',
      `The call was interrupted while ${first.serviceName} was asked, and it does not promise to work only once.`, []);
  }
  const deadlineMs = Date.now() + deps.sellerTimeoutMs;
  let attempt = call.attempt;
  let retries = attempt;
  for (;;) {
    const candidate = call.candidates[attempt];
    const isOurs = candidate === undefined || candidate.idempotent || (await noteAsking(deps, call.id, attempt));
    if (!isOurs) return { tag: 'elsewhere', callId: call.id };
    const leftMs = deadlineMs - Date.now();
    if (candidate === undefined || leftMs <= 0) return giveUp(deps, call, 'proxy_failed', 'No seller was left to ask in time.', []);
    deps.crash.at('before-forward');
    const { forwarded, log } = await forwardTwiceIfCut(deps, call, candidate, leftMs);
    if (forwarded.tag === 'delivered') return settle(deps, call, attempt, retries, forwarded, log);
    retries += 1;
    const next = await failOver(deps, call, attempt, log);
    if (next === 'superseded') return { tag: 'elsewhere', callId: call.id };
    if (next === null) return giveUp(deps, call, 'proxy_failed', `${forwarded.reason}.`, log);
    attempt = next;
  }
}

/**
 * Before somebody is asked who may work twice when asked twice: should this process die before this is written, whoever takes the call over
 * knows that nobody was asked. False: the call is no longer ours to drive.
 */
function noteAsking({ store, crash }: DriveDeps, callId: string, attempt: number): Promise<boolean> {
  crash.at('before-asking');
  return untilWritten((alone) => store.noteAsking({ callId, attempt }, alone));
}

/**
 * A kept connection may be closed by the seller in the very moment it is used again. Where the seller works once for one key, the
 * same request is simply sent again, once; elsewhere it counts as a failure.
 */
async function forwardTwiceIfCut(deps: DriveDeps, call: OpenCall, candidate: Candidate,
    timeoutMs: number): Promise<{ readonly forwarded: Forwarded; readonly log: readonly AttemptLog[] }> {
  const first = await forward(deps, call, candidate, timeoutMs);
  const cut = first.tag === 'failed' && first.log.outcome === 'reset' && candidate.idempotent;
  if (!cut) return { forwarded: first, log: [first.log] };
  const second = await forward(deps, call, candidate, timeoutMs - first.log.latencyMs);
  return { forwarded: second, log: [first.log, second.log] };
}

/** Moves the call to the next seller whose price the budget still allows; null when there is none. */
async function failOver(deps: DriveDeps, call: OpenCall, attempt: number,
    log: readonly AttemptLog[]): Promise<number | 'superseded' | null> {
  for (let next = attempt + 1; next < call.candidates.length; next += 1) {
    deps.crash.at('before-failover');
    const moved = await untilWritten(() => deps.store.nextAttempt(call.id, attempt, next, log));
    deps.crash.at('failed-over');
    if (moved === 'moved') return next;
    // Our own step may have been committed while its answer was lost; then the row names this very attempt, and us as its driver.
    if (moved === 'superseded') return (await untilWritten(() => deps.store.drivesAttempt(call.id, next))) ? next : 'superseded';
  }
  return null;
}

async function settle(deps: DriveDeps, call: OpenCall, attempt: number, retries: number,
    delivered: Extract<Forwarded, { tag: 'delivered' }>, log: readonly AttemptLog[]): Promise<CallEnd> {
  const { httpStatus, responseJson, latencyMs } = delivered;
  const settled = await untilWritten((alone) =>
    deps.store.settle({ id: call.id, attempt, httpStatus, responseJson, latencyMs, log }, alone));
  deps.crash.at('call-settled');
  const candidate = call.candidates[attempt];
  if ((settled.outcome !== 'settled' && settled.outcome !== 'delivered') || candidate === undefined) {
    if (settled.outcome === 'released' || settled.outcome === 'superseded') {
      deps.log.warn({ callId: call.id, seller: candidate?.seller, outcome: settled.outcome },
        'A seller delivered after its call had ended otherwise; the buyer was not charged for this delivery.');
    }
    return { tag: 'elsewhere', callId: call.id };
  }
  const { spentMicros, remainingMicros, requestCount } = settled;
  return { tag: settled.outcome, callId: call.id, responseJson, candidate, latencyMs, retries, spentMicros, remainingMicros, requestCount };
}

async function giveUp(deps: DriveDeps, call: OpenCall, errorCode: string, errorMessage: string,
    log: readonly AttemptLog[]): Promise<CallEnd> {
  deps.crash.at('before-release');
  const released = await untilWritten((alone) => deps.store.release({ id: call.id, errorCode, errorMessage, log }, alone));
  deps.crash.at('call-released');
  return released === 'released' ? { tag: 'released', callId: call.id, errorCode, errorMessage } : { tag: 'elsewhere', callId: call.id };
}

/**
 * Tries a guarded step until the database answers: the outcome in our hands is the only one there is.
 * @param step `alone`: somebody else was in its way, so it should not hold up others that travel with it.
 */
async function untilWritten<T>(step: (alone: boolean) => Promise<T>): Promise<T> {
  const giveUpAtMs = Date.now() + KEEP_TRYING_MS;
  let alone = false;
  for (let tries = 1; ; tries += 1) {
    try {
      return await step(alone);
    } catch (error) {
      const notNow = error instanceof SuretyError && error.code === 'unavailable';
      if (!notNow || Date.now() > giveUpAtMs) throw error;
      alone = isItemError(error);
      // Not all at the same moment when the database is back; and less and less often where each try waits for a lock and holds others.
      const pauseMs = RETRY_MS * (alone ? Math.min(tries, RETRY_FACTOR_MAX) : 1);
      await new Promise((resolve) => setTimeout(resolve, pauseMs + randomInt(pauseMs)));
    }
  }
}
