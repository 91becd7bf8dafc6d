/**
 * Sees to it that workflows hear what was done without them, and that payments which need a workflow get one. Requests never wait for it:
 * a notice in Postgres remembers what a workflow has still to hear, and whichever process comes first tells it later.
 */
import type { Payment } from '../domain/payment.ts';
import type { Notice, Notices } from '../ledger/notices.ts';
import type { PaymentStore } from '../ledger/payment-store.ts';
import { viewOf } from '../activities/payment/activities.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { newAttempt } from './attempts.ts';
import type { Capacity } from './capacity.ts';
import type { PaymentKind } from './kind.ts';
import type { Messages } from './messages.ts';

export interface KeeperDeps {
  readonly store: PaymentStore;
  readonly notices: Notices;
  readonly messages: Messages;
  readonly capacity: Capacity;
  readonly kinds: readonly PaymentKind[];
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface PaymentKeeper {
  /** Lets the workflow know in a moment, in which more may happen: what is over by then without a workflow needs none. */
  soon(id: string): void;
  /** Temporal has confirmed that the workflow knows this. Never rejects. */
  confirmed(id: string, version: number): void;
  /** One round over what a crash, or an absence of Temporal, has left behind. */
  sweep(): Promise<void>;
  /** Tells now what would be told in a moment, and waits so long at most. */
  flush(timeoutMs: number): Promise<void>;
}

/** A payment that begins and ends within this time costs Temporal nothing. */
const QUIET_MS = 500;
/** While Temporal has no room, or does not answer. */
const AGAIN_MS = 50;
/** More than this are left to the sweep. */
const WAITING_MAX = 2_000;
/** Whoever wrote a notice is believed to be seeing to it for so long. */
const NOTICE_AGE_MS = 3_000;
const LEASE_MS = 15_000;
const NOTICES_AT_ONCE = 50;
const FORGET_MAX = 256;
/** The pause between rounds doubles up to this while Temporal does not answer. */
const BACKOFF_MS_MAX = 30_000;

/** Has the workflow of a payment hear where it stands, or gives it one. Rejects when Temporal or Postgres does not answer. */
function createTeller({ store, notices, messages, kinds }: KeeperDeps): (id: string) => Promise<void> {
  /** The workflow of a payment that is there, started from its row. */
  async function start(kind: PaymentKind, payment: Payment): Promise<void> {
    // Before it is sent: a start whose answer is lost may have come through.
    if (!payment.workflowStarted) await store.markStarted([payment.id]);
    const { id, workflowId, state, version } = payment;
    const began = await messages.start({
      kind,
      workflowId,
      startId: newAttempt(),
      about: payment,
      state,
      open: null,
      view: viewOf(payment),
    });
    // One that was there may know less than this.
    if (began === 'was there') await messages.moved(workflowId, version);
    await notices.forget([{ id, version }]);
  }

  return async (id) => {
    const found = await store.read(id);
    const kind = kinds.find(({ rules }) => rules.kind === found?.payment.kind);
    if (found === null || kind === undefined) return;
    const { payment } = found;
    const ended = payment.deadlineMs === null;
    if (!payment.workflowStarted) {
      // Over, and nothing was ever promised to Temporal.
      if (!ended) await start(kind, payment);
      return;
    }
    if ((await messages.moved(payment.workflowId, payment.version)) === 'missing' && !ended) await start(kind, payment);
    // A start that comes through late reads the row and finds the end.
    else await notices.forget([{ id, version: payment.version }]);
  };
}

/** Things under way that a stopping process waits for. */
function createPending() {
  const pending = new Set<Promise<unknown>>();
  return {
    add(promise: Promise<unknown>): void {
      const settled = promise
        .then(
          () => undefined,
          () => undefined,
        )
        .finally(() => pending.delete(settled));
      pending.add(settled);
    },
    all: () => Promise.all(pending),
  };
}

/** What Temporal has confirmed, gathered for a moment: a payment that goes on in it is forgotten once, and many share a statement. */
function createConfirmations(forget: (all: Notice[]) => void) {
  const known = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (known.size > 0) forget([...known].map(([id, version]) => ({ id, version })));
    known.clear();
  };
  return {
    flush,
    add(id: string, version: number): void {
      known.set(id, Math.max(version, known.get(id) ?? 0));
      if (known.size >= FORGET_MAX) flush();
      else timer ??= setTimeout(flush, QUIET_MS).unref();
    },
  };
}

export function createPaymentKeeper(deps: KeeperDeps): PaymentKeeper {
  const { notices, capacity, log, metrics } = deps;
  const tell = createTeller(deps);
  const waiting = new Map<string, NodeJS.Timeout>();
  const pending = createPending();
  const confirmations = createConfirmations((all) => {
    pending.add(notices.forget(all).catch((error: unknown) => failed(error, all[0]?.id ?? '')));
  });

  const failed = (error: unknown, id: string): void => {
    log.warn({ err: error, paymentId: id }, 'A workflow could not hear of its payment; the sweep tries again.');
    metrics.backgroundError('payment-keeper');
  };

  /** Takes a place among what Temporal is asked at once. `no room`: there was none. Never rejects: what failed stays noted in Postgres. */
  async function tellIfRoom(id: string): Promise<'told' | 'failed' | 'no room'> {
    if (!capacity.take()) return 'no room';
    try {
      await tell(id);
      capacity.answered();
      return 'told';
    } catch (error) {
      capacity.timedOut();
      failed(error, id);
      return 'failed';
    } finally {
      capacity.release();
    }
  }

  function wait(id: string, ms: number): void {
    waiting.set(
      id,
      setTimeout(() => {
        waiting.delete(id);
        const told = tellIfRoom(id);
        pending.add(told);
        void told.then((came) => {
          if (came === 'no room' && !capacity.isOpen()) wait(id, AGAIN_MS);
        });
      }, ms).unref(),
    );
  }

  return {
    confirmed: confirmations.add,
    soon(id) {
      if (!waiting.has(id) && waiting.size < WAITING_MAX) wait(id, QUIET_MS);
    },
    sweep: createSweep(deps, tellIfRoom),
    async flush(timeoutMs) {
      for (const [id, timer] of waiting) {
        clearTimeout(timer);
        waiting.delete(id);
        pending.add(tellIfRoom(id));
      }
      confirmations.flush();
      await Promise.race([pending.all(), new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    },
  };
}

/** Rounds over notices that nobody has seen to. While Temporal does not answer, the pauses between them double. */
function createSweep(
  { notices, kinds, capacity }: KeeperDeps,
  tellIfRoom: (id: string) => Promise<'told' | 'failed' | 'no room'>,
): () => Promise<void> {
  let failures = 0;
  let pausedUntilMs = 0;
  return async () => {
    if (Date.now() < pausedUntilMs) return;
    const claimed = await notices.claim(
      kinds.map(({ rules }) => rules.kind),
      { ageMs: NOTICE_AGE_MS, leaseMs: LEASE_MS, limit: NOTICES_AT_ONCE },
    );
    let answered = claimed.length === 0;
    for (const { id } of claimed) {
      // One after the other: requests go first, and a Temporal that is slow is not asked by fifty at once.
      const came = await tellIfRoom(id);
      answered ||= came === 'told';
      if (came !== 'told' && capacity.isOpen()) break;
    }
    failures = answered ? 0 : failures + 1;
    pausedUntilMs = answered ? 0 : Date.now() + Math.min(BACKOFF_MS_MAX, 1_000 * 2 ** failures);
  };
}
